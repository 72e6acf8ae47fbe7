/**
 * What a migration's SQL must not hold: words that begin, end or leave a transaction. All
 * migrations of a version run in one, at one place in the log. A `commit` among them would keep
 * half of them when a later one fails. When one server crashes there, that server alone would keep
 * half of them.
 */

/**
 * Comments, literals, quoted names and dollar-quoted bodies: what looks like a statement in them is
 * none.
 */
const QUOTED =
  /--[^\n]*|\/\*[\s\S]*?\*\/|\be'(?:[^'\\]|\\[\s\S]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|(?<![\w$])\$([a-z_]\w*)?\$[\s\S]*?\$\1\$/gi;
const CONTROL =
  /^(?:commit|abort|end|begin|start\s+transaction|prepare\s+transaction|rollback(?!\s+(?:work\s+|transaction\s+)?to\b))\b/i;
/** The body of a function in standard SQL has statements, and an `end`, of its own. */
const ATOMIC = /\bbegin\s+atomic\b/i;

/** The first statement that begins or ends a transaction; undefined when there is none. */
export function transactionControlIn(sql: string): string | undefined {
  const bare = sql.replace(QUOTED, (quoted) => (/^(?:--|\/\*)/.test(quoted) ? ' ' : "''"));
  const isAtomic = ATOMIC.test(bare);
  for (const statement of bare.split(';')) {
    const [word] = CONTROL.exec(statement.trim()) ?? [];
    if (word === undefined || (isAtomic && word.toLowerCase() === 'end')) continue;
    return word.toLowerCase().replace(/\s+/g, ' ');
  }
  return undefined;
}
