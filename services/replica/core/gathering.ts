/**
 * How long a leader gathers commands before it stamps them. Pure.
 *
 * A batch costs much more than a command: writes, envelopes, a merge and a transaction at every
 * server. Commands come in bursts, after the answers to those before. Stamped as they come, a burst
 * makes several small batches. When machines are busy, commits take longer than the network needs.
 * Then the leader waits for half of what they take longer, and the burst makes one batch. As in
 * Nagle's algorithm (RFC 896), a few commands alone wait for nothing.
 */
import type { Index } from '../../../shared/raft/entry.js';

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
/** How much of a new measurement counts. */
const SMOOTHING = 1 / 4;

export class Gathering {
  /** From stamp to commit, smoothed (milliseconds). */
  private commitMs = 0;
  /** The batch that is measured: its last entry, and when it was stamped. */
  private measured: { readonly index: Index; readonly atMs: number } | null = null;
  private lastCount = 0;
  private lastAtMs = Number.NEGATIVE_INFINITY;
  /** When what waits is stamped (milliseconds); null: nothing waits. */
  private dueMs: number | null = null;

  /**
   * Whether commands that wait are stamped now. `roundTripMs`: to the farthest peer, 0 when none is
   * known (milliseconds, monotonic like `nowMs`).
   */
  isOver(count: number, bytes: number, roundTripMs: number, nowMs: number): boolean {
    const before = nowMs - this.lastAtMs <= FORGOTTEN_MS ? this.lastCount : 0;
    if (count + before <= FEW || bytes >= BYTES_MAX) return true;
    this.dueMs ??= nowMs + Math.min(GATHER_MS_MAX, (this.commitMs - roundTripMs) * SHARE);
    return nowMs >= this.dueMs;
  }

  /** They were stamped, `index` being the last one; or refused, then nothing waits any more. */
  stamped(count: number, index: Index, nowMs: number): void {
    this.dueMs = null;
    this.lastCount = count;
    this.lastAtMs = nowMs;
    this.measured ??= { index, atMs: nowMs };
  }

  /** Nothing waits, and what was stamped may be lost. */
  reset(): void {
    this.dueMs = null;
    this.measured = null;
  }

  committed(commitIndex: Index, nowMs: number): void {
    if (this.measured === null || commitIndex < this.measured.index) return;
    this.commitMs += (nowMs - this.measured.atMs - this.commitMs) * SMOOTHING;
    this.measured = null;
  }

  /** When to ask again, or null (milliseconds). */
  nextDueMs(): number | null {
    return this.dueMs;
  }
}
