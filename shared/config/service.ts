/**
 * What `services/main.ts` knows of a service: it starts from the environment, may fail, and can be
 * stopped.
 */
export interface Service {
  readonly name: string;
  /** Resolves with the reason when the service cannot go on by itself; never rejects. */
  readonly failed: Promise<Error>;
  /** Finishes what is in flight, lets go of leadership, closes connections. */
  stop(): Promise<void>;
}

/**
 * The code of wrong configuration: a process ends with exit code 2 for it, with 1 for everything
 * else.
 */
const WRONG_CONFIGURATION = 'CONFIG';

/**
 * Codes of errors that no other try mends, and that concern the whole server: the process ends.
 * Every other error may pass, and stops only the service that has it. Examples are a database, NATS
 * or a disk that is away, a migration that fails, a missing table.
 */
const FINAL: ReadonlySet<unknown> = new Set([
  WRONG_CONFIGURATION,
  // What it was told to use is another cluster's.
  'OTHER_CLUSTER',
  // Another instance has taken over, or is there already: of two that started again each would end
  // the other, for ever.
  'FENCED',
  'MERGER_REPLACED',
  'LOG_STORE_LOCKED',
  'LOG_STORE_FENCED',
  // This is not, or not any more, a log that the server may go on with.
  'DAMAGED_LOG',
  'LOG_STORE_CORRUPT',
  'LOG_STORE_GONE',
  'LOG_STORE_IDENTITY',
  'LOG_STORE_FORMAT',
  'LOG_STORE_LEGACY',
  'LOG_STORE_SYNC',
  // What another try would have to open is still open here.
  'NOT_CLOSED',
  // A defect: nothing that this process has in memory is trusted any more.
  'INVARIANT',
  'LOG_STORE_USAGE',
]);

/**
 * Codes of errors with which a service must not go on, while nothing is wrong with the others: its
 * state is not that of the log. It would show wrong rows between one try and the next, so it stays
 * down until an operator has rebuilt it.
 */
const DOWN: ReadonlySet<unknown> = new Set(['LOG_MISMATCH']);

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

/** No other try mends it, and the process ends. */
export function isFinal(error: unknown): boolean {
  return FINAL.has(codeOf(error));
}

/** The service stays down, and the others of its process go on. */
export function staysDown(error: unknown): boolean {
  return DOWN.has(codeOf(error));
}

/** With what a process ends because of this error. */
export function exitCodeOf(error: unknown): 1 | 2 {
  return codeOf(error) === WRONG_CONFIGURATION ? 2 : 1;
}
