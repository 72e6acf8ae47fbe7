/** Error codes of the JetStream API (nats-server's errors.json) that mean something here. */
import { JetStreamApiError } from '@nats-io/jetstream';

const STREAM_NAME_IN_USE = 10_058;
const STREAM_NOT_FOUND = 10_059;
/** Two codes of different ages for one thing. */
const WRONG_LAST_SEQUENCE: readonly number[] = [10_071, 10_164];

export function isStreamNotFound(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND;
}

/** The stream is there, with other options. */
export function isStreamNameInUse(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === STREAM_NAME_IN_USE;
}

/** The stream has gone on past the sequence that a publish expected. */
export function isWrongLastSequence(error: unknown): boolean {
  return error instanceof JetStreamApiError && WRONG_LAST_SEQUENCE.includes(error.code);
}
