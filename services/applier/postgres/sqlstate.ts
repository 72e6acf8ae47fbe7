/** What an error of Postgres says: about the statement and its data, the same on every server, or about the server. */
import postgres from 'postgres';

type PostgresError = InstanceType<typeof postgres.PostgresError>;

/** The server's error within `error`: Drizzle wraps them. */
export function postgresErrorOf(error: unknown): PostgresError | undefined {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    if (at instanceof postgres.PostgresError) return at;
  }
  return undefined;
}

/** The same data gives the same error everywhere: data exceptions, violated constraints, what a trigger raises, a row too large. */
const DETERMINISTIC = /^(22|23|21|44)|^P0001$|^54000$/;

export function isDeterministic(error: unknown): boolean {
  return DETERMINISTIC.test(postgresErrorOf(error)?.code ?? '');
}

/** 25P02: refused because of an earlier error, which alone says something. */
export function isAborted(error: unknown): boolean {
  return postgresErrorOf(error)?.code === '25P02';
}

/** Class 57P is the operator's (shutdown, terminate), class 08 the connection's: the session ends with such an error. */
export function endsSession(error: PostgresError): boolean {
  return error.code.startsWith('57P') || error.code.startsWith('08');
}

/** The table is not there: this is not the database that was opened. */
export function isMissingTable(error: unknown): boolean {
  const code = postgresErrorOf(error)?.code;
  return code === '42P01' || code === '3F000';
}

/** Why a command was rejected, without what may differ between servers (language, version, row contents). */
export function describeRejection(error: unknown): string {
  const cause = postgresErrorOf(error);
  if (cause === undefined) return 'rejected by the database';
  const kind = cause.code.startsWith('23') ? 'integrity constraint violation' : 'data exception';
  const about = [
    cause.constraint_name === undefined ? '' : `constraint ${cause.constraint_name}`,
    cause.column_name === undefined ? '' : `column ${cause.column_name}`,
  ].filter((part) => part !== '');
  return `${kind}, SQLSTATE ${cause.code}${about.length === 0 ? '' : ` (${about.join(', ')})`}`;
}
