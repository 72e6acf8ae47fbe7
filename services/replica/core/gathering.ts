/**
 * How long a leader gathers commands before it stamps them. Pure.
 *
 * A batch costs much more than a command: writes, envelopes, a merge and a transaction at every
 * server. Commands come in bursts, after the answers to those before. Stamped as they come, a burst
 * makes several small batches. Two rules make it one, both after Nagle's algorithm (RFC 896). A few
 * commands alone wait for nothing.
 *
 * - While clients wait for the answers to the batch before, the leader holds a small one back.
 * - After that it gathers: for half of what commits take longer than the network needs. They take
 *   longer when machines are busy.
 */
import type { LogIndex, MonotonicMs } from '../../../shared/raft/entry.js';

/** No command waits longer for company (milliseconds). */
export const GATHER_MS_MAX = 5;
/** The part of the time that commits take beyond the network's. */
const SHARE = 1 / 2;
/** So many commands, with those of the batch before, wait for nothing. */
const FEW = 3;
/** The batch before says nothing of the load after this time (milliseconds). */
const FORGOTTEN_MS = 200;
/** A batch of so many bytes waits for nothing more. */
const BYTES_MAX = 64 * 1024;
/** A batch of so many commands is not held back: what it costs is little for each of them. */
export const HELD_MAX = 64;
/**
 * Since the batch before (milliseconds): where its answers take longer, other work goes on
 * meanwhile.
 */
export const HOLD_MS_MAX = 25;
/**
 * Nothing is held back where the network takes longer: answers would wait for two round trips
 * (milliseconds).
 */
export const HOLD_ROUND_TRIP_MS_MAX = 5;
/** How much of a new measurement counts. */
const SMOOTHING = 1 / 4;

/** Commands that wait to be stamped. */
export interface Waiting {
  readonly count: number;
  readonly bytes: number;
  /** Whether the clients of the batch before have their answers, as far as is known. */
  readonly isAnswered: boolean;
  /** To the farthest peer, 0 when none is known (milliseconds). */
  readonly roundTripMs: number;
}

export class Gathering {
  /** From stamp to commit, smoothed (milliseconds). */
  private commitMs = 0;
  /** The batch that is measured: its last entry, and when it was stamped. */
  private measured: { readonly index: LogIndex; readonly atMs: MonotonicMs } | null = null;
  private lastCount = 0;
  private lastAtMs: MonotonicMs = Number.NEGATIVE_INFINITY;
  /** When what waits is stamped (milliseconds); null: that is not known yet. */
  private dueMs: MonotonicMs | null = null;
  /** Until when what waits is held back at the latest (milliseconds); null: it is not. */
  private heldUntilMs: MonotonicMs | null = null;

  /** Whether commands that wait are stamped now. `nowMs` is monotonic (milliseconds). */
  isOver({ count, bytes, isAnswered, roundTripMs }: Waiting, nowMs: MonotonicMs): boolean {
    const before = nowMs - this.lastAtMs <= FORGOTTEN_MS ? this.lastCount : 0;
    if (count + before <= FEW || bytes >= BYTES_MAX) return true;
    const untilMs = this.lastAtMs + HOLD_MS_MAX;
    const mayHold = this.dueMs === null && count < HELD_MAX && roundTripMs <= HOLD_ROUND_TRIP_MS_MAX;
    this.heldUntilMs = mayHold && !isAnswered && nowMs < untilMs ? untilMs : null;
    if (this.isHeld) return false;
    this.dueMs ??= nowMs + Math.min(GATHER_MS_MAX, (this.commitMs - roundTripMs) * SHARE);
    return nowMs >= this.dueMs;
  }

  /** What waits is to be looked at when the batch before is answered. */
  get isHeld(): boolean {
    return this.heldUntilMs !== null;
  }

  /** They were stamped, `index` being the last one; or refused, then nothing waits any more. */
  stamped(count: number, index: LogIndex, nowMs: MonotonicMs): void {
    this.release();
    this.lastCount = count;
    this.lastAtMs = nowMs;
    this.measured ??= { index, atMs: nowMs };
  }

  /** Nothing waits, and what was stamped may be lost. */
  reset(): void {
    this.release();
    this.measured = null;
  }

  committed(commitIndex: LogIndex, nowMs: MonotonicMs): void {
    if (this.measured === null || commitIndex < this.measured.index) return;
    this.commitMs += (nowMs - this.measured.atMs - this.commitMs) * SMOOTHING;
    this.measured = null;
  }

  /** When to ask again, or null (milliseconds). */
  nextDueMs(): MonotonicMs | null {
    return this.heldUntilMs ?? this.dueMs;
  }

  private release(): void {
    this.dueMs = null;
    this.heldUntilMs = null;
  }
}
