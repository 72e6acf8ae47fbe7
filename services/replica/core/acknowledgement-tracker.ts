/**
 * Commands of one led group that the owner is told of when they are committed or ordered (T7).
 * It keeps nothing of a command that the applier answers, or that wants no answer, unless that
 * command is traced.
 */
import type { LogIndex, Timestamp } from '../../../shared/raft/entry.js';
import type { Placed, QueuedCommand } from './effect.js';

export class AcknowledgementTracker<C extends QueuedCommand> {
  private toCommit: Placed<C>[] = [];
  private toOrder: Placed<C>[] = [];

  get size(): number {
    return this.toCommit.length + this.toOrder.length;
  }

  add(placed: Placed<C>): void {
    this.toCommit.push(placed);
  }

  /** Commands up to `commitIndex`, in order, that had not been reported as committed. */
  committed(commitIndex: LogIndex): Placed<C>[] {
    const count = countWhile(this.toCommit, (placed) => placed.index <= commitIndex);
    if (count === 0) return [];
    const done = this.toCommit.splice(0, count);
    for (const placed of done) this.onCommitted(placed);
    return done;
  }

  /** To be told of in the order of the timestamps. */
  onCommitted(placed: Placed<C>): void {
    if (placed.command.acknowledgement === 'ordered') this.toOrder.push(placed);
  }

  /**
   * Committed commands whose place is final: every group's watermark has reached their timestamp.
   */
  ordered(lowestWatermark: Timestamp): Placed<C>[] {
    const count = countWhile(this.toOrder, (placed) => placed.timestamp <= lowestWatermark);
    return count === 0 ? [] : this.toOrder.splice(0, count);
  }

  /**
   * Leadership is lost: what is not committed, from `index` on, is in doubt. What is committed is
   * reported as ever.
   */
  dropFrom(index: LogIndex): Placed<C>[] {
    return this.toCommit.splice(countWhile(this.toCommit, (placed) => placed.index < index));
  }
}

function countWhile<T>(list: readonly T[], condition: (item: T) => boolean): number {
  let count = 0;
  for (const item of list) {
    if (!condition(item)) break;
    count += 1;
  }
  return count;
}
