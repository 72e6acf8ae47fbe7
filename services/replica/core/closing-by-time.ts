/**
 * When a leader far from the others closes without being asked (T5).
 *
 * On demand, an entry of one group waits until the leaders of the other groups have heard of it and
 * their claims have come back: a round trip. Between far sites that is most of what a client waits
 * for. Therefore such a leader closes up to its clock at an interval while there are commands. A
 * claim is under way when an entry is stamped, and only one way from the farthest leader counts.
 * The better the clocks agree, the sooner it counts. On a fast network, and in an idle cluster,
 * nothing is closed by time.
 */
import type { MonotonicMs, Timestamp } from '../../../shared/raft/entry.js';

/** A network is slow when the round trip to the farthest peer takes this long (milliseconds). */
export const SLOW_NETWORK_MS = 10;
/**
 * Of that round trip a claim follows the one before after this share, but not sooner: an overloaded
 * machine makes round trips long, too.
 */
const SHARE = 1 / 16;
const INTERVAL_MS_MIN = 5;
/**
 * How many round trips after the last command claims go on: what was appended on the way is closed,
 * too.
 */
const ROUND_TRIPS = 4;

export class ClosingByTime {
  private lastCommand: Timestamp = 0;
  private commandAtMs: MonotonicMs = Number.NEGATIVE_INFINITY;
  private closedAtMs: MonotonicMs = Number.NEGATIVE_INFINITY;
  private intervalMs: number | null = null;

  /**
   * At each turn of a server: whether the groups that it leads are to close now. `largestCommand`
   * is the largest timestamp of a command in its logs. `roundTripMs` is the round trip to its
   * farthest peer, 0 when none is known or it leads nothing (milliseconds, like `nowMs`).
   */
  isDue(largestCommand: Timestamp, roundTripMs: number, nowMs: MonotonicMs): boolean {
    if (largestCommand > this.lastCommand) {
      this.lastCommand = largestCommand;
      this.commandAtMs = nowMs;
    }
    const isWanted = roundTripMs >= SLOW_NETWORK_MS && nowMs - this.commandAtMs <= ROUND_TRIPS * roundTripMs;
    this.intervalMs = isWanted ? Math.max(INTERVAL_MS_MIN, roundTripMs * SHARE) : null;
    if (this.intervalMs === null || nowMs - this.closedAtMs < this.intervalMs) return false;
    this.closedAtMs = nowMs;
    return true;
  }

  /** When to ask again, or null (milliseconds). */
  nextDueMs(): MonotonicMs | null {
    return this.intervalMs === null ? null : this.closedAtMs + this.intervalMs;
  }
}
