/**
 * What a handler may send. The driver throws for some values while it writes to its socket, which
 * would look like a broken connection. A statement that ends the transaction would commit half a
 * batch. Both are refused here, as the command's own failure.
 */

/** The protocol counts parameters with 16 bits, and the driver refuses the largest numbers. */
const PARAMETERS_MAX = 65_533;

/**
 * Statements that begin, end or leave the transaction, take the connection over, or change
 * settings. Settings would hold for the commands after this one, as many as happen to be in its
 * batch or to share its session.
 */
const CONTROL =
  /^(?:\s|--[^\n]*\n|\/\*[\s\S]*?\*\/)*(begin|start|commit|end|rollback|abort|savepoint|release|prepare\s+transaction|copy|set|reset|discard)\b/i;

/** What a statement that changes tables has in it; others may have it, too. */
const CHANGES_TABLES = /\b(?:create|drop|alter)\b/i;

/** Whether the statement may create or drop a table. */
export function mayChangeTables(statement: string): boolean {
  return CHANGES_TABLES.test(statement);
}

/** A statement that a handler may not give. */
class StatementError extends Error {
  readonly code = 'STATEMENT';
  constructor(message: string) {
    super(message);
    this.name = 'StatementError';
  }
}

/** @throws StatementError */
export function checkStatement(text: string, parameters: readonly unknown[]): void {
  const control = CONTROL.exec(text)?.[1];
  if (control !== undefined) {
    throw new StatementError(
      `a handler must not use ${control}: its command is a part of a transaction (tx.transaction nests)`,
    );
  }
  if (parameters.length > PARAMETERS_MAX) {
    throw new StatementError(
      `a statement has ${parameters.length} parameters, at most ${PARAMETERS_MAX}: write fewer rows in one statement`,
    );
  }
  for (let at = 0; at < parameters.length; at++) {
    const problem = problemOf(parameters[at]);
    if (problem !== undefined) throw new StatementError(`parameter ${at + 1} is ${problem}`);
  }
}

function problemOf(value: unknown): string | undefined {
  if (value === undefined) return 'undefined: give null, or leave the column out';
  if (value instanceof Date) return 'a Date: give its text (toISOString), or write through a timestamp column';
  if (typeof value === 'symbol' || typeof value === 'function') return `a ${typeof value}`;
  if (typeof value === 'object' && value !== null && !(value instanceof Uint8Array)) {
    return 'an object: give its JSON text, or write through a column of its type';
  }
  return undefined;
}
