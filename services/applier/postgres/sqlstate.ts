/**
 * What an error of Postgres says: about the statement and its data, the same on every server, or
 * about the server.
 */
import postgres from 'postgres';

type PostgresError = InstanceType<typeof postgres.PostgresError>;

/** Code of ConnectionLostError. */
export const CONNECTION_LOST = 'CONNECTION_LOST';

/** The error and what it wraps, outermost first. */
function causes(error: unknown): Error[] {
  const found: Error[] = [];
  for (let at = error; at instanceof Error && found.length < 5; at = at.cause) found.push(at);
  return found;
}

/** The server's error within `error`: Drizzle wraps them. */
export function postgresErrorOf(error: unknown): PostgresError | undefined {
  return causes(error).find((one) => one instanceof postgres.PostgresError);
}

/**
 * The same data gives the same error everywhere: data exceptions, violated constraints, what a
 * trigger raises, a row too large.
 */
const DETERMINISTIC = /^(22|23|21|44)|^P0001$|^54000$/;

export function isDeterministic(error: unknown): boolean {
  return DETERMINISTIC.test(postgresErrorOf(error)?.code ?? '');
}

/**
 * Faults of the environment: the connection (08, 57P), resources (53), the system (58), concurrency
 * (40001, 40P01, 55P03). Also a session that may only read (25006) or has waited too long (25P03,
 * 25P04), a cancelled statement (57014), a damaged file (XX001, XX002). What has nothing to do with
 * the command is tried again; every other error is the command's own.
 */
const ENVIRONMENT = /^(08|57P|53|58)|^(40001|40P01|55P03|25006|25P03|25P04|57014|XX001|XX002)$/;

export function isEnvironment(error: unknown): boolean {
  const cause = postgresErrorOf(error);
  if (cause !== undefined) return ENVIRONMENT.test(cause.code);
  return causes(error).some((one) => 'code' in one && one.code === CONNECTION_LOST);
}

/** 25P02: refused because of an earlier error, which alone says something. */
export function isAborted(error: unknown): boolean {
  return postgresErrorOf(error)?.code === '25P02';
}

/**
 * Class 57P is the operator's (shutdown, terminate), class 08 the connection's, 25P03 and 25P04 are
 * time-outs. The session ends with these, and with whatever a server calls FATAL (there is no such
 * database, no such role).
 */
export function endsSession(error: PostgresError): boolean {
  if (error.severity === 'FATAL' || error.severity === 'PANIC') return true;
  return /^(57P|08)|^25P0[34]$/.test(error.code);
}

/** Cancelled, waited too long, or a session that ended, which does not always tell why. */
export function mayBeTimeout(error: unknown): boolean {
  const code = postgresErrorOf(error)?.code;
  if (code !== undefined) return /^(57014|55P03|25P0[34])$/.test(code);
  return isEnvironment(error);
}

/** 25006: the session may only read; after a failover this server is a standby. */
export function isReadOnly(error: unknown): boolean {
  return postgresErrorOf(error)?.code === '25006';
}

/** A table or schema is not there: this may not be the database that was opened. */
export function isMissingTable(error: unknown): boolean {
  const code = postgresErrorOf(error)?.code;
  return code === '42P01' || code === '3F000';
}

/**
 * Why a command was rejected, without what may differ between servers (language, version, row
 * contents).
 */
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

/** Longest message of a failure that is kept (characters). */
const MESSAGE_LENGTH_MAX = 400;

/**
 * Why a command or query failed: what its handler threw in its own words, what Postgres said
 * without what may differ between servers.
 */
export function describeFailure(what: 'command' | 'query', error: unknown): string {
  const cause = postgresErrorOf(error);
  if (cause !== undefined) return `the ${what} failed: SQLSTATE ${cause.code}`;
  const innermost = causes(error).pop();
  const text = innermost === undefined ? String(error) : `${innermost.name}: ${innermost.message}`;
  return `the ${what} failed: ${Buffer.from(text.slice(0, MESSAGE_LENGTH_MAX)).toString()}`;
}
