/**
 * When the groups that a server leads close (T5): for an entry of another group, for a read or a
 * merger that waits, and between far sites by time.
 */
import type { ClockGuard } from '../../../shared/clock/guard.js';
import type { MonotonicMs, Timestamp } from '../../../shared/raft/entry.js';
import { ClosingByTime } from './closing-by-time.js';
import type { HostedGroup } from './hosted-group.js';

export class Closing {
  private readonly byTime = new ClosingByTime();
  /** The largest timestamp that a barrier of some other server waits for (T6). */
  private elsewhere: Timestamp = 0;

  constructor(
    private readonly hosted: readonly Pick<HostedGroup<never>, 'group' | 'hasQueued'>[],
    private readonly clock: Pick<ClockGuard, 'bound' | 'peek'>,
  ) {}

  /**
   * Another server waits for this timestamp. One beyond the bound can wait until it is asked for
   * again; remembered, it would hide every smaller one.
   */
  onAsked(timestamp: Timestamp): void {
    if (timestamp <= this.clock.bound()) this.elsewhere = Math.max(this.elsewhere, timestamp);
  }

  /**
   * Every group that this server leads closes up to what the other groups have, or what is waited
   * for here or elsewhere. What is queued is stamped when the write in flight is done, and that
   * does as well as a close.
   */
  onDemand(waitingHere: readonly Timestamp[], isWriting: boolean, nowMs: MonotonicMs): void {
    const bound = this.clock.bound();
    // No group closes beyond the clock's bound. What waits for more waits for the clocks.
    const waitingFor = Math.max(...[...waitingHere, this.elsewhere].filter((timestamp) => timestamp <= bound), 0);
    for (const { group, hasQueued } of this.hosted) {
      if (group.role !== 'leader' || (isWriting && hasQueued)) continue;
      let wanted = waitingFor;
      for (const { group: other } of this.hosted) {
        const timestamp = other.lastCommandTimestamp;
        if (other !== group && timestamp <= bound) wanted = Math.max(wanted, timestamp);
      }
      if (wanted > group.lastTimestamp && wanted > group.closed) group.closeUpTo(wanted, nowMs);
    }
  }

  /** Where the network is slow: every group that this server leads closes up to the clock. */
  inTime(largestCommand: Timestamp, roundTripMs: number, nowMs: MonotonicMs): void {
    const led = this.hosted.filter(({ group }) => group.role === 'leader');
    // A server that leads nothing sees the commands as well: none is new to it when it leads.
    if (!this.byTime.isDue(largestCommand, led.length > 0 ? roundTripMs : 0, nowMs)) return;
    const now = this.clock.peek();
    for (const { group } of led) group.closeUpTo(now, nowMs);
  }

  /** When to call `inTime` again, or null (milliseconds). */
  nextDueMs(): MonotonicMs | null {
    return this.byTime.nextDueMs();
  }
}
