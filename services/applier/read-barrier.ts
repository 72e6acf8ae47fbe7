/**
 * Linearizable reads at this server (T6): a barrier at the own replica, then waiting until the
 * state has reached it.
 *
 * One barrier serves all reads that were waiting when it began; reads that come while one is under
 * way share the next. So the number of barriers does not grow with the number of reads.
 */
import type { NatsConnection } from '@nats-io/nats-core';
import type { Index } from '../../shared/raft/entry.js';
import { spanTimeUs } from '../../shared/telemetry/time.js';
import { ask } from '../../shared/wire/ask.js';
import { decodeBarrierReply } from '../../shared/wire/barrier.js';
import { CraftError } from '../../shared/wire/errors.js';
import type { AppliedPositions } from './applied.js';

/** How long a read may wait for its barrier and for the state (milliseconds). */
export const READ_MS_MAX = 5_000;

const NOTHING = new Uint8Array(0);

/** A barrier that was passed; times in microseconds since the Unix epoch. */
export interface Passed {
  /** The positions that the state must have. */
  readonly positions: readonly Index[];
  readonly askedUs: number;
  /** The positions were known. */
  readonly heardUs: number;
  /** The state had them. */
  readonly reachedUs: number;
}

export class ReadBarrier {
  private current: Promise<Passed> | null = null;
  private next: Promise<Passed> | null = null;

  constructor(
    private readonly connection: NatsConnection,
    private readonly subject: string,
    private readonly groups: number,
    private readonly applied: AppliedPositions,
  ) {}

  /**
   * Resolves when the state holds every write acknowledged before the call, with the positions that
   * it must have for that. Rejects with CraftError UNAVAILABLE.
   */
  pass(): Promise<Passed> {
    if (this.current === null) return this.begin();
    // Whatever is under way began before this read, and says nothing about writes since.
    this.next ??= this.current.then(
      () => this.begin(),
      () => this.begin(),
    );
    return this.next;
  }

  private begin(): Promise<Passed> {
    this.next = null;
    const barrier = this.run();
    this.current = barrier;
    const done = () => {
      if (this.current === barrier) this.current = null;
    };
    barrier.then(done, done);
    return barrier;
  }

  private async run(): Promise<Passed> {
    const askedUs = spanTimeUs();
    try {
      const reply = await ask(this.connection, this.subject, NOTHING, { timeout: READ_MS_MAX });
      const positions = decodeBarrierReply(reply.data, this.groups);
      const heardUs = spanTimeUs();
      await this.applied.reach(positions, AbortSignal.timeout(READ_MS_MAX));
      return { positions, askedUs, heardUs, reachedUs: spanTimeUs() };
    } catch (cause) {
      throw new CraftError('UNAVAILABLE', 'no quorum of servers answers, or this server is too far behind', { cause });
    }
  }
}
