/**
 * Bytes from outside are not what the protocol says they are. The receiver counts them and drops
 * them.
 */
export class WireError extends Error {
  readonly code = 'WIRE';
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'WireError';
  }
}
