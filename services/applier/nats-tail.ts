/**
 * The end of the merged log for an applier whose merger is another process: what goes to the stream
 * is heard on its subject, too. A message that is lost, or that the stream has refused, does no
 * harm: there is a hole, and the stream is read.
 */
import type { NatsConnection, Subscription } from '@nats-io/nats-core';
import { DirectMergedLog, type MergedLogTail } from '../../shared/link/merged-log.js';
import type { WindowAnswer } from '../../shared/merge/window.js';
import type { MergedIndex } from '../../shared/raft/entry.js';
import type { WarnOccasionally } from '../../shared/telemetry/log.js';
import { decodeMergedBatch } from '../../shared/wire/merged-batch.js';
import { WireError } from '../../shared/wire/wire-error.js';

export class NatsTail implements MergedLogTail {
  private readonly log = new DirectMergedLog();
  private subscription: Subscription | undefined;

  /** `subject`: the one of the log's stream. */
  constructor(
    private readonly connection: NatsConnection,
    private readonly subject: string,
    private readonly warn: WarnOccasionally,
  ) {}

  /** Listens until `close`. */
  start(): void {
    this.subscription = this.connection.subscribe(this.subject, {
      callback: (error, message) => {
        if (error === null) this.hear(message.data);
        else this.warn('the merged log cannot be heard', error);
      },
    });
  }

  next(wanted: MergedIndex, answer: (found: WindowAnswer) => void): void {
    this.log.next(wanted, answer);
  }

  get end(): MergedIndex | undefined {
    return this.log.end;
  }

  close(): void {
    this.log.close();
    this.subscription?.unsubscribe();
  }

  private hear(data: Uint8Array): void {
    try {
      this.log.push(decodeMergedBatch(data));
    } catch (reason) {
      if (!(reason instanceof WireError)) throw reason;
      this.warn('a message on the subject of the merged log is not a merged batch', reason.message);
    }
  }
}
