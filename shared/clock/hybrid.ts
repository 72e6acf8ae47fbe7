/**
 * Hybrid logical clock of one server (Kulkarni et al., 2014, with the logical part folded into the
 * microseconds).
 *
 * Pure: physical time comes in through `advance`, once a turn. `now()` is strictly increasing and
 * never behind physical time; `observe` moves it past timestamps seen in any group, so that
 * ordinary skew between servers costs neither safety nor latency. `limit` takes it back when it has
 * run away; what must never go back (T1, T2) is each leader's floor.
 */
import type { Timestamp } from '../raft/entry.js';

export class HybridClock {
  private last: Timestamp = 0;
  private physical: Timestamp = 0;

  /**
   * Tells the clock what the machine's clock shows (microseconds). It may go backwards; `now()`
   * does not.
   */
  advance(physical: Timestamp): void {
    this.physical = physical;
  }

  /**
   * A timestamp greater than every one returned or observed before, and at least the physical time.
   */
  now(): Timestamp {
    this.last = Math.max(this.physical, this.last + 1);
    return this.last;
  }

  /**
   * The largest timestamp returned or observed so far, or the physical time when that is later;
   * does not tick.
   */
  peek(): Timestamp {
    return Math.max(this.physical, this.last);
  }

  /**
   * Forgets what lies beyond `timestamp`: readings of a clock that was wrong must not be handed on
   * for ever.
   */
  limit(timestamp: Timestamp): void {
    if (this.last > timestamp) this.last = timestamp;
  }

  /** Every later `now()` is greater than `timestamp`. */
  observe(timestamp: Timestamp): void {
    if (timestamp > this.last) this.last = timestamp;
  }
}
