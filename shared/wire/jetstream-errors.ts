/** Error codes of the JetStream API (nats-server's errors.json) that mean something here. */
import { JetStreamApiError, JetStreamError } from '@nats-io/jetstream';

/** A status, like those of HTTP. */
const NO_MESSAGE = 404;
const STREAM_NAME_IN_USE = 10_058;
const STREAM_NOT_FOUND = 10_059;
/** Two codes of different ages for one thing. */
const WRONG_LAST_SEQUENCE: readonly number[] = [10_071, 10_164];

export function isStreamNotFound(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND;
}

/** A direct read has found no message from the sequence on that was asked for. */
export function isNoMessage(error: unknown): boolean {
  return error instanceof JetStreamError && 'code' in error && error.code === NO_MESSAGE;
}

/** The stream is there, with other options. */
export function isStreamNameInUse(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === STREAM_NAME_IN_USE;
}

/** The stream has gone on past the sequence that a publish expected. */
export function isWrongLastSequence(error: unknown): boolean {
  return error instanceof JetStreamApiError && WRONG_LAST_SEQUENCE.includes(error.code);
}
