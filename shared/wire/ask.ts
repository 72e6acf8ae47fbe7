/**
 * Requests of services and operators. The request of the NATS client takes the first message for
 * the answer, also one of a stream that has the subjects of this cluster. Then the real answer is
 * dropped.
 */
import { type Msg, type MsgHdrs, type NatsConnection, RequestError, TimeoutError } from '@nats-io/nats-core';
import { isPubAck } from './pub-ack.js';

export interface AskOptions {
  /** How long to wait (milliseconds). */
  readonly timeout: number;
  readonly headers?: MsgHdrs;
}

/**
 * Asks, and gives the first answer that is none of a stream. @throws TimeoutError when there is
 * none in time, RequestError for all else, with a NoRespondersError as its cause when nobody
 * listens.
 */
export async function ask(
  connection: NatsConnection,
  subject: string,
  payload: string | Uint8Array,
  { timeout, headers }: AskOptions,
): Promise<Msg> {
  const options = { strategy: 'timer', maxWait: timeout, ...(headers !== undefined && { headers }) } as const;
  try {
    for await (const message of await connection.requestMany(subject, payload, options)) {
      if (!isPubAck(message.data)) return message;
    }
  } catch (cause) {
    if (cause instanceof TimeoutError || cause instanceof RequestError) throw cause;
    throw new RequestError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
  throw new TimeoutError();
}
