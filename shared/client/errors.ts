/**
 * How a call can fail: one class a failure, each with the stable `code` of the public contract.
 * Every class but OutcomeUnknownError says that the command has not been and will not be executed
 * (T9).
 */
import { CraftError, ErrorCode } from '../wire/errors.js';

export { CraftError, ErrorCode };

/** What the classes with no more than their code have in common. */
function failure(code: ErrorCode, name: string): new (message: string, options?: ErrorOptions) => CraftError {
  return class extends CraftError {
    constructor(message: string, options?: ErrorOptions) {
      super(code, message, options);
      this.name = name;
    }
  };
}

/** The input does not fit the command's schema, or a header is malformed. */
export class InvalidArgumentError extends failure('INVALID_ARGUMENT', 'InvalidArgumentError') {}

/** No command or query of this name in the cluster's state machine. */
export class UnknownCommandError extends failure('UNKNOWN_COMMAND', 'UnknownCommandError') {}

/** More bytes than a command may have. */
export class PayloadTooLargeError extends failure('PAYLOAD_TOO_LARGE', 'PayloadTooLargeError') {}

/** The state machine said no; the same for everyone, and the recorded result of this id. */
export class RejectedError extends failure('REJECTED', 'RejectedError') {}

/** A leader's queues are full. As a final failure only the `cause` of UnavailableError. */
export class OverloadedError extends failure('OVERLOADED', 'OverloadedError') {}

/**
 * The group has no leader where the command went. As a final failure only the `cause` of
 * UnavailableError.
 */
export class NotLeaderError extends failure('NOT_LEADER', 'NotLeaderError') {}

/** Nobody took the command before the deadline; nothing was appended. */
export class UnavailableError extends failure('UNAVAILABLE', 'UnavailableError') {}

/** A fault of the service; nothing was appended. */
export class InternalError extends failure('INTERNAL', 'InternalError') {}

/**
 * The command may or may not have been executed, or may still be. Safe to call again with the same
 * `id`.
 */
export class OutcomeUnknownError extends CraftError {
  constructor(
    message: string,
    /** The command's id; empty for a query. */
    readonly id: string,
    options?: ErrorOptions,
  ) {
    super('TIMEOUT_UNKNOWN', message, options);
    this.name = 'OutcomeUnknownError';
  }
}

const CLASSES: Record<Exclude<ErrorCode, 'TIMEOUT_UNKNOWN'>, new (message: string) => CraftError> = {
  INVALID_ARGUMENT: InvalidArgumentError,
  UNKNOWN_COMMAND: UnknownCommandError,
  PAYLOAD_TOO_LARGE: PayloadTooLargeError,
  REJECTED: RejectedError,
  OVERLOADED: OverloadedError,
  NOT_LEADER: NotLeaderError,
  UNAVAILABLE: UnavailableError,
  INTERNAL: InternalError,
};

/**
 * The error that a reply carries. A code that this version does not know tells nothing about the
 * outcome.
 */
export function errorOf(code: string, message: string, id: string): CraftError {
  if (code in CLASSES) return new CLASSES[code as keyof typeof CLASSES](message);
  return new OutcomeUnknownError(code === 'TIMEOUT_UNKNOWN' ? message : `${code}: ${message}`, id);
}
