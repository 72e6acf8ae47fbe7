/**
 * Clock of one server as its groups see it: the hybrid clock, bounded by the cluster's reference
 * time. The bound keeps one clock that is far off from harming the cluster: a committed timestamp
 * an hour ahead would stall every merge for an hour.
 *
 * bound = reference time + largest offset + promise window. Nothing beyond it is observed; the
 * groups refuse entries and closes beyond it and do not lead while the own clock, or their floor,
 * is beyond what is allowed.
 */
import type { MonotonicMs, ServerId, Timestamp } from '../raft/entry.js';
import { HybridClock } from './hybrid.js';
import { type ClockSample, ReferenceTime } from './reference.js';

export interface ClockGuardOptions {
  /** Largest distance of the own clock from the reference time while leading (microseconds). */
  readonly offsetUsMax: number;
  /** How far ahead of the clock promises may run (microseconds, T2). */
  readonly promiseWindowUs: number;
}

/** How long an estimate of the reference time is good for (milliseconds). */
const REFERENCE_INTERVAL_MS = 20;
/**
 * When the own clock moves by this much more or less than time passes, it was set (microseconds).
 */
const STEP_US_MIN = 20_000;

export class ClockGuard {
  private readonly hybrid = new HybridClock();
  private readonly reference = new ReferenceTime();
  private physical: Timestamp = 0;
  private referenceOffsetUs = 0;
  private earliestOffsetUs = 0;
  private referenceAtMs: MonotonicMs = Number.NEGATIVE_INFINITY;
  private nowMs: MonotonicMs | null = null;

  constructor(private readonly options: ClockGuardOptions) {}

  /**
   * To be called at the start of a turn, with physical time (microseconds) and monotonic time
   * (milliseconds).
   */
  advance(physical: Timestamp, nowMs: MonotonicMs): void {
    if (this.nowMs !== null) this.onPassed(physical - this.physical - (nowMs - this.nowMs) * 1_000);
    this.physical = physical;
    this.nowMs = nowMs;
    // A turn may be as short as one message; the median of clocks that drift need not be taken anew
    // for each.
    if (nowMs - this.referenceAtMs >= REFERENCE_INTERVAL_MS) {
      this.estimate(nowMs);
      this.referenceAtMs = nowMs;
    }
    this.hybrid.advance(physical);
    this.hybrid.limit(this.bound());
  }

  /**
   * The own clock was set by `stepUs`: what is known of the others' clocks moves against it, at
   * once, not a few samples later.
   */
  private onPassed(stepUs: number): void {
    if (Math.abs(stepUs) < STEP_US_MIN) return;
    this.reference.shift(stepUs, this.options.offsetUsMax);
    this.referenceAtMs = Number.NEGATIVE_INFINITY;
  }

  private estimate(nowMs: MonotonicMs): void {
    this.referenceOffsetUs = this.reference.offsetUs(nowMs);
    this.earliestOffsetUs = this.reference.earliestOffsetUs(nowMs);
  }

  record(peer: ServerId, sample: ClockSample): void {
    // The first that is heard of a clock counts at once: it may come with the vote that makes this
    // server a leader.
    if (this.reference.record(peer, sample)) this.estimate(sample.atMs);
  }

  now(): Timestamp {
    return this.hybrid.now();
  }

  peek(): Timestamp {
    return this.hybrid.peek();
  }

  /** Observes a timestamp unless it lies beyond the bound; says whether it did. */
  observe(timestamp: Timestamp): boolean {
    if (timestamp > this.bound()) return false;
    this.hybrid.observe(timestamp);
    return true;
  }

  bound(): Timestamp {
    const { offsetUsMax, promiseWindowUs } = this.options;
    return Math.floor(this.physical + this.referenceOffsetUs + offsetUsMax + promiseWindowUs);
  }

  /** Reference time minus own clock (microseconds). */
  offsetUs(): number {
    return this.referenceOffsetUs;
  }

  /**
   * Whether the own clock is near enough to the reference time for this server to lead. Of two
   * clocks that differ while no third one is heard of, the later one does not lead. A clock that is
   * ahead does lasting damage, one that is behind does none.
   */
  mayLead(): boolean {
    const { offsetUsMax } = this.options;
    return Math.abs(this.referenceOffsetUs) <= offsetUsMax && this.earliestOffsetUs >= -offsetUsMax;
  }

  /**
   * Whether a peer's clock, as far as it is known, is near enough for that peer to lead: leadership
   * is not handed to one that would not take it.
   */
  mayPeerLead(peer: ServerId): boolean {
    const offsetUs = this.nowMs === null ? undefined : this.reference.peerOffsetUs(peer, this.nowMs);
    return offsetUs === undefined || Math.abs(this.referenceOffsetUs - offsetUs) <= this.options.offsetUsMax;
  }
}
