/**
 * A broken invariant. It stays on in production and stops the process: going on would spread the
 * damage.
 */
export class InvariantError extends Error {
  readonly code = 'INVARIANT';
  constructor(message: string) {
    super(`broken invariant: ${message}`);
    this.name = 'InvariantError';
  }
}

/**
 * Throws InvariantError unless `condition` holds. `message` names the invariant by section or
 * T-number.
 */
export function assert(condition: boolean, message: string | (() => string)): asserts condition {
  if (!condition) throw new InvariantError(typeof message === 'string' ? message : message());
}
