/** The texts of a program, among them its messages and help texts. Pure. */
import ts from 'typescript';
import type { ProseLine } from './prose.js';

/** What stands for an expression in a template. */
const VALUE = 'X';

/**
 * Each text with its line. What `+` joins is one text. SQL and texts of several lines are left out.
 */
export function textsOf(program: string): ProseLine[] {
  const file = ts.createSourceFile('program.ts', program, ts.ScriptTarget.Latest, true);
  const texts: ProseLine[] = [];
  const visit = (node: ts.Node): void => {
    const text = textOf(node);
    if (text === undefined) ts.forEachChild(node, visit);
    else if (!/\n|\b(?:select|from pg_\w+|insert into)\b/.test(text)) {
      texts.push({ line: file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1, text });
    }
  };
  visit(file);
  return texts;
}

function textOf(node: ts.Node): string | undefined {
  if (ts.isStringLiteralLike(node)) return node.text;
  if (ts.isTemplateExpression(node)) {
    return node.head.text + node.templateSpans.map(({ literal }) => `${VALUE}${literal.text}`).join('');
  }
  if (ts.isParenthesizedExpression(node)) return textOf(node.expression);
  if (!ts.isBinaryExpression(node) || node.operatorToken.kind !== ts.SyntaxKind.PlusToken) return undefined;
  const left = textOf(node.left);
  const right = textOf(node.right);
  return left === undefined || right === undefined ? undefined : left + right;
}
