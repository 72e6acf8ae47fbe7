/**
 * Linearizable reads at this server (T6): a barrier at the own replica, then waiting until the
 * state has reached it.
 *
 * One barrier serves all reads that were waiting when it began. Reads that come while one is under
 * way share the next. It begins when no other is under way. Between far sites that takes long:
 * there it begins some milliseconds after the one before. So the number of barriers does not grow
 * with the number of reads.
 */
import type { NatsConnection } from '@nats-io/nats-core';
import type { LogIndex } from '../../shared/raft/entry.js';
import { spanTimeUs } from '../../shared/telemetry/time.js';
import { ask } from '../../shared/wire/ask.js';
import { decodeBarrierReply } from '../../shared/wire/barrier.js';
import { CraftError } from '../../shared/wire/errors.js';
import type { AppliedPositions } from './applied.js';

/** How long a read may wait for its barrier and for the state (milliseconds). */
export const READ_MS_MAX = 5_000;

const NOTHING = new Uint8Array(0);
/** Between the beginnings of two barriers that are under way at once, at least (milliseconds). */
export const OVERLAP_MS = 5;
/** The same, as a part of what the last one took: an overloaded machine makes them long, too. */
const OVERLAP_SHARE = 1 / 8;
/** So many may be under way at once. */
export const UNDER_WAY_MAX = 16;

/** A barrier that was passed; times in microseconds since the Unix epoch. */
export interface Passed {
  /** The positions that the state must have. */
  readonly positions: readonly LogIndex[];
  readonly askedUs: number;
  /** The positions were known. */
  readonly heardUs: number;
  /** The state had them. */
  readonly reachedUs: number;
}

/** A barrier of a replica: the positions that the state must have, one a group. */
export type AskBarrier = (timeoutMs: number) => Promise<readonly LogIndex[]>;

/** Barriers of the replica that answers on `subject`. */
export function barriersOf(connection: NatsConnection, subject: string, groups: number): AskBarrier {
  return async (timeoutMs) => {
    const reply = await ask(connection, subject, NOTHING, { timeout: timeoutMs });
    return decodeBarrierReply(reply.data, groups);
  };
}

interface Next {
  readonly passed: Promise<Passed>;
  readonly begin: () => void;
}

export class ReadBarrier {
  private underWay = 0;
  /** The newest one has been under way for long enough. */
  private mayOverlap = false;
  /** What the one that ended last took (milliseconds). */
  private lastMs = 0;
  /** What reads wait for that came after the newest one began. */
  private next: Next | null = null;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly ask: AskBarrier,
    private readonly applied: AppliedPositions,
  ) {}

  /**
   * Resolves when the state holds every write acknowledged before the call, with the positions that
   * it must have for that. Rejects with CraftError UNAVAILABLE.
   */
  pass(): Promise<Passed> {
    // Whatever is under way began before this read, and says nothing about writes since.
    const next = this.next ?? this.toBegin();
    this.next = next;
    this.beginNext();
    return next.passed;
  }

  private toBegin(): Next {
    let begin: () => void = () => undefined;
    const passed = new Promise<Passed>((resolve) => {
      begin = () => resolve(this.run());
    });
    return { passed, begin };
  }

  private beginNext(): void {
    const { next, underWay, mayOverlap } = this;
    if (next === null || (underWay > 0 && !(mayOverlap && underWay < UNDER_WAY_MAX))) return;
    this.next = null;
    next.begin();
  }

  private async run(): Promise<Passed> {
    this.underWay += 1;
    this.mayOverlap = false;
    clearTimeout(this.timer);
    this.timer = setTimeout(
      () => {
        this.mayOverlap = true;
        this.beginNext();
      },
      Math.max(OVERLAP_MS, this.lastMs * OVERLAP_SHARE),
    );
    this.timer.unref();
    const beganMs = performance.now();
    const askedUs = spanTimeUs();
    try {
      const positions = await this.ask(READ_MS_MAX);
      const heardUs = spanTimeUs();
      await this.applied.reach(positions, AbortSignal.timeout(READ_MS_MAX));
      return { positions, askedUs, heardUs, reachedUs: spanTimeUs() };
    } catch (cause) {
      throw new CraftError('UNAVAILABLE', 'no quorum of servers answers, or this server is too far behind', { cause });
    } finally {
      this.underWay -= 1;
      this.lastMs = performance.now() - beganMs;
      this.beginNext();
    }
  }
}
