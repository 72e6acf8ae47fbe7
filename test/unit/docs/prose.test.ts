/** Pages and comments: how long a line and a sentence may be, and words that have a better one. */
import { expect, it } from 'vitest';
import { filesIn, read } from './files.js';
import { textsOf } from './messages.js';
import { commentLines, commentSentences, markdownLines, type ProseLine, sentencesOf, wordsOf } from './prose.js';

const LINE_MAX = 100;
const WORDS_MAX = 25;
/** In a comment, where the code stands beside it. */
const COMMENT_WORDS_MAX = 30;

/** A server is a server. The better word stands beside each. */
const BETTER = new Map([
  ['whoever', 'name the server, the client or the operator'],
  ['somebody', 'name the server, the client or the operator'],
  ['anybody', 'name the server, the client or the operator'],
  ['everybody', 'all servers, all clients'],
  ['thereby', 'therefore, or a sentence of its own'],
  ['stranger', 'non-member'],
  ['fate', 'outcome'],
]);
const BANNED = new RegExp(`\\b(${[...BETTER.keys()].join('|')})\\b`, 'gi');

/** Pages that still have longer sentences. */
const LONG_SENTENCES = ['CHANGELOG.md'];

const pages = filesIn('', '.md').map((path) => ({ path, lines: markdownLines(read(path)) }));
const programs = ['services', 'shared', 'test', 'deploy']
  .flatMap((folder) => filesIn(folder, '.ts'))
  .filter((path) => !path.endsWith('prose.test.ts') && !path.includes('/generated/'))
  .map((path) => ({ path, lines: commentLines(read(path)) }));

function findings(look: (line: ProseLine) => readonly string[]): string[] {
  return [...pages, ...programs].flatMap(({ path, lines }) =>
    lines.flatMap((line) => look(line).map((problem) => `${path}:${line.line}: ${problem}`)),
  );
}

it('no line of prose is longer than 100 characters', () => {
  expect(pages.length).toBeGreaterThan(10);
  expect(programs.length).toBeGreaterThan(400);
  expect(findings(({ text }) => (text.length > LINE_MAX ? [`${text.length} characters`] : []))).toEqual([]);
});

it('no sentence of a page has more than 25 words', () => {
  const paths = pages.map(({ path }) => path).filter((path) => !LONG_SENTENCES.includes(path));
  const long = paths.flatMap((path) =>
    sentencesOf(read(path)).flatMap((sentence) =>
      wordsOf(sentence) > WORDS_MAX ? [`${path}: ${wordsOf(sentence)} words: ${sentence}`] : [],
    ),
  );
  expect(long).toEqual([]);
});

it('no sentence of a comment has more than 30 words', () => {
  const long = programs.flatMap(({ path }) =>
    commentSentences(read(path)).flatMap(({ line, text }) =>
      wordsOf(text) > COMMENT_WORDS_MAX ? [`${path}:${line}: ${wordsOf(text)} words: ${text}`] : [],
    ),
  );
  expect(long).toEqual([]);
});

it('no sentence of a message or a help text has more than 25 words', () => {
  const paths = programs.map(({ path }) => path).filter((path) => /^(?:services|shared|deploy)\//.test(path));
  const long = paths.flatMap((path) =>
    textsOf(read(path)).flatMap(({ line, text }) =>
      sentencesOf(text).flatMap((sentence) =>
        wordsOf(sentence) > WORDS_MAX ? [`${path}:${line}: ${wordsOf(sentence)} words: ${sentence}`] : [],
      ),
    ),
  );
  expect(long).toEqual([]);
});

it('no word is used that has a better one', () => {
  const better = (word: string) => `${word}: ${BETTER.get(word.toLowerCase())}`;
  expect(findings(({ text }) => (text.match(BANNED) ?? []).map(better))).toEqual([]);
});

it('sees long lines and banned words, and leaves drawings, tables and examples alone', () => {
  const long = 'word '.repeat(21);
  expect(markdownLines(`a\n| ${long}|\n\`\`\`\n${long}\n\`\`\`\n${long}`).map(({ line }) => line)).toEqual([1, 6]);
  const program = ['const a = 1; // code', '/** prose */', ' *     $ example', ' *  a   ──▶ b', ' * more', '  // also'];
  expect(commentLines(program.join('\n')).map(({ line }) => line)).toEqual([2, 5, 6]);
  expect(sentencesOf(`# ${long}\n| ${long}|\nOne, two.\nThree\n- four`).map(wordsOf)).toEqual([0, 2, 1, 1]);
  const comment = [
    '/**',
    ' * One, two.',
    ' * Three',
    ' * four.',
    ' *',
    ' *  - five',
    ' */',
    'const a = 1; // code',
    '// six',
  ];
  expect(commentSentences(comment.join('\n')).map(({ text }) => text)).toEqual([
    'One, two.',
    'Three four.',
    '- five',
    'six',
  ]);
  const messages = `f(\`the \${name} \` + (\`has \${a + b}\` +\n 'failed. Stop'), 1 + 2, \`select 1\`, x + 'end');`;
  expect(textsOf(messages)).toEqual([
    { line: 1, text: 'the X has Xfailed. Stop' },
    { line: 2, text: 'end' },
  ]);
  expect('Whoever asks'.match(BANNED)).toEqual(['Whoever']);
});
