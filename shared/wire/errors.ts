/**
 * The error codes of the public contract and what they promise (T9). Every code but TIMEOUT_UNKNOWN
 * is a definite refusal: the command has not been and will not be executed. TIMEOUT_UNKNOWN says
 * that it may or may not happen, and that asking again with the same id is safe.
 */
export const ErrorCode = {
  INVALID_ARGUMENT: { status: 400, retryable: false },
  UNKNOWN_COMMAND: { status: 404, retryable: false },
  PAYLOAD_TOO_LARGE: { status: 413, retryable: false },
  /** The state machine said no; deterministic, recorded as the command's result. */
  REJECTED: { status: 409, retryable: false },
  OVERLOADED: { status: 429, retryable: true },
  UNAVAILABLE: { status: 503, retryable: true },
  NOT_LEADER: { status: 421, retryable: true },
  TIMEOUT_UNKNOWN: { status: 504, retryable: true },
  INTERNAL: { status: 500, retryable: false },
} as const;
export type ErrorCode = keyof typeof ErrorCode;

/** A failure that goes to the client as it is. */
export class CraftError extends Error {
  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.name = 'CraftError';
  }
  /** Whether the same call may succeed later. */
  get retryable(): boolean {
    return ErrorCode[this.code].retryable;
  }
}
