/**
 * Answers on their way to clients. A command that came alone is answered alone and at once. Answers
 * to commands of batches collect by inbox until `flush`. Those of one transaction, or of one turn
 * of the event loop, travel in one message for each inbox, as far as its size allows.
 */
import type { MsgHdrs, NatsConnection } from '@nats-io/nats-core';
import type { ReplyFormat } from './command.js';
import { messageBytesMax } from './connection.js';
import { CraftError, type ErrorCode } from './errors.js';
import { encodeFailure, encodeSuccess, type Reply, type Success } from './reply.js';
import { encodeFailureFrame, encodeSuccessFrame } from './reply-batch.js';

/** Where the answer to a command goes, as the command in the log has it. */
export interface ReplyAddress {
  /** Empty: nobody waits. */
  readonly reply: string;
  readonly replyFormat: ReplyFormat;
  /** The client's number of a command that came in a batch; 0 for one that came alone. */
  readonly replyNumber: number;
}

export interface AnswersOptions {
  /** Publishes one message, or throws. */
  readonly publish: (subject: string, data: Uint8Array, headers?: MsgHdrs) => void;
  /** What NATS takes in one message now (bytes). */
  readonly messageBytesMax: () => number;
}

/**
 * Answers in one message end here, although NATS would take more: a client reads them in one go.
 */
const ANSWERS_BYTES_MAX = 256 * 1024;

export class Answers {
  private readonly frames = new Map<string, Uint8Array[]>();

  constructor(private readonly options: AnswersOptions) {}

  /** Whether `flush` has something to send. */
  get isWaiting(): boolean {
    return this.frames.size > 0;
  }

  /** Throws, and has then sent nothing, when the answer is larger than a message may be. */
  succeed(to: ReplyAddress, success: Success): void {
    if (to.reply === '') return;
    if (to.replyNumber === 0) this.send(to.reply, encodeSuccess(success, to.replyFormat));
    else this.collect(to.reply, encodeSuccessFrame(to.replyNumber, success));
  }

  /** Throws like `succeed`. */
  fail(to: ReplyAddress, code: ErrorCode, message: string): void {
    if (to.reply === '') return;
    if (to.replyNumber === 0) this.send(to.reply, encodeFailure(code, message, to.replyFormat));
    else this.collect(to.reply, encodeFailureFrame(to.replyNumber, code, message));
  }

  /** Any failure: a CraftError as it is, everything else as INTERNAL without its details. */
  failWith(to: ReplyAddress, error: unknown): void {
    if (error instanceof CraftError) this.fail(to, error.code, error.message);
    else this.fail(to, 'INTERNAL', 'internal error');
  }

  /** Sends what has collected. What `publish` throws is thrown; then the rest is dropped. */
  flush(): void {
    const bytesMax = Math.min(ANSWERS_BYTES_MAX, this.options.messageBytesMax());
    const collected = [...this.frames];
    this.frames.clear();
    for (const [inbox, frames] of collected) {
      for (const part of split(frames, bytesMax)) this.options.publish(inbox, part);
    }
  }

  private send(subject: string, { data, headers }: Reply): void {
    this.options.publish(subject, data, headers);
  }

  private collect(inbox: string, frame: Uint8Array): void {
    if (frame.length > this.options.messageBytesMax()) {
      throw new RangeError(`an answer of ${frame.length} bytes is larger than a message`);
    }
    const frames = this.frames.get(inbox);
    if (frames === undefined) this.frames.set(inbox, [frame]);
    else frames.push(frame);
  }
}

/** Answers that leave over this connection. */
export function answersOver(connection: NatsConnection): Answers {
  return new Answers({
    publish: (subject, data, headers) => connection.publish(subject, data, headers === undefined ? {} : { headers }),
    messageBytesMax: messageBytesMax(connection),
  });
}

/** Messages of at most `bytesMax`, in order; a frame that is larger is one by itself. */
function split(frames: readonly Uint8Array[], bytesMax: number): Uint8Array[] {
  const messages: Uint8Array[] = [];
  let start = 0;
  let bytes = 0;
  for (const [at, { length }] of frames.entries()) {
    if (at > start && bytes + length > bytesMax) {
      messages.push(Buffer.concat(frames.slice(start, at), bytes));
      start = at;
      bytes = 0;
    }
    bytes += length;
  }
  messages.push(Buffer.concat(start === 0 ? frames : frames.slice(start), bytes));
  return messages;
}
