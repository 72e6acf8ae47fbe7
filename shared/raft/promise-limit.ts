/**
 * The durable bound on every promise of one server (T2), shared by all its groups.
 *
 * A promise must survive a crash, but writing each one would cost a disk write per close. So one
 * number is durable, the limit. Every promise that this server has told another one of is <= it,
 * and after a restart each group takes the limit as its promise. It is raised ahead of need, riding
 * on log writes where there are any.
 */
import type { Timestamp } from './entry.js';

export class PromiseLimit {
  private wanted: Timestamp;
  private writing: Timestamp;

  /**
   * `durable` is what the log store had at start; `windowUs` how far ahead of the clock the limit
   * is raised (µs).
   */
  constructor(
    private durable: Timestamp,
    private readonly windowUs: number,
  ) {
    this.wanted = durable;
    this.writing = durable;
  }

  /** Whether a promise of `timestamp` would survive a crash now. */
  covers(timestamp: Timestamp): boolean {
    return timestamp <= this.durable;
  }

  /** Asks for the limit to reach `timestamp` with the next write. */
  need(timestamp: Timestamp): void {
    if (timestamp > this.wanted) this.wanted = timestamp;
  }

  /** Whether a promise waits for a higher limit. */
  get isNeeded(): boolean {
    return this.wanted > this.writing;
  }

  get value(): Timestamp {
    return this.durable;
  }

  /**
   * The limit to put into the write that is about to start, or null when there is no reason to
   * raise it. Reasons are: a promise needs it, or the write happens anyway (`rides`) and half of
   * the window is used up. `now` is to be taken from the logs, not from the own clock. A limit that
   * a wrong clock has pushed an hour ahead would keep this server from voting for an hour.
   */
  forWrite(now: Timestamp, rides: boolean): Timestamp | null {
    const runsLow = rides && this.writing < now + this.windowUs / 2;
    if (!this.isNeeded && !runsLow) return null;
    this.writing = Math.max(this.wanted, now + this.windowUs, this.writing);
    return this.writing;
  }

  /** The write that carried `limit` is durable. */
  written(limit: Timestamp): void {
    if (limit > this.durable) this.durable = limit;
  }
}
