/** Prose of Markdown pages and of comments, for what is checked of it. Pure. */

export interface ProseLine {
  /** Counted from 1. */
  readonly line: number;
  readonly text: string;
}

/** The lines of a page without fenced blocks, tables, and long addresses. */
export function markdownLines(page: string): ProseLine[] {
  let isCode = false;
  return numbered(page).filter(({ text }) => {
    if (/^ *```/.test(text)) {
      isCode = !isCode;
      return false;
    }
    return !isCode && !/^ *\|/.test(text) && !hasLongWord(text);
  });
}

/**
 * The sentences of a page, without headings, tables and fenced blocks. Items of a list and
 * paragraphs end a sentence as a full stop does.
 */
export function sentencesOf(page: string): string[] {
  const text = page.replaceAll(/^( *)```[\s\S]*?^\1```$/gm, '').replaceAll(/^(?: *\||#).*$/gm, '\n');
  return text.split(/\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )/).flatMap(sentencesOfParagraph);
}

function sentencesOfParagraph(paragraph: string): string[] {
  const sentences = paragraph.trim().split(/(?<=[.!?])\s+/);
  return sentences.map((sentence) => sentence.replaceAll(/\s+/g, ' '));
}

export function wordsOf(sentence: string): number {
  return sentence.split(' ').filter((word) => /\w/.test(word)).length;
}

/**
 * The comment lines of a program. Drawings, tables and examples are left out: they have runs of
 * spaces in them, or stand four deep. What stands behind code is code. Nor may a linter's directive
 * be broken.
 */
export function commentLines(program: string): ProseLine[] {
  return numbered(program).filter(({ text }) => {
    const [, content] = /^\s*(?:\/\*\*?|\*|\/\/)( .*)$/.exec(text) ?? [];
    return content !== undefined && !/^ (?: {4}|biome-ignore)|\S {2,}\S|^ +\|/.test(content) && !hasLongWord(content);
  });
}

/**
 * The sentences of the comments of a program, each with the line where its paragraph begins. Empty
 * lines, drawings, items of a list, numbered rules and tags end a paragraph.
 */
export function commentSentences(program: string): ProseLine[] {
  const paragraphs: { line: number; text: string }[] = [];
  let before = 0;
  for (const { line, text } of commentLines(program)) {
    const content = text.replace(/^\s*(?:\/\*\*?|\*|\/\/) */, '').replace(/ *\*\/$/, '');
    const isNew = /^\s*\/\*/.test(text) || /^(?:[-*] |@|[A-Z]?\d+\. )/.test(content);
    const last = paragraphs.at(-1);
    if (last === undefined || isNew || line !== before + 1) paragraphs.push({ line, text: content });
    else last.text += `\n${content}`;
    before = line;
  }
  return paragraphs.flatMap(({ line, text }) =>
    sentencesOfParagraph(text).map((sentence) => ({ line, text: sentence })),
  );
}

function numbered(text: string): ProseLine[] {
  return text.split('\n').map((line, at) => ({ line: at + 1, text: line }));
}

/** An address or a path that no line could hold together with a word before it. */
function hasLongWord(text: string): boolean {
  return /\S{80}/.test(text);
}
