/**
 * The merged-log stream of one server and its fence; it may forget its tail when the power fails.
 */
import { type MergedRun, type MergePosition, mergeStart } from '../../shared/merge/merge.js';

export class SimulatedStream {
  /** Messages 1, 2, 3 …: sequence n is messages[n - 1]. */
  readonly messages: MergedRun[] = [];
  /** Messages that were removed before the first one that is there. */
  removed = 0;
  /** Sequences never come back, also when the tail is lost. */
  lastSequence = 0;
  /** Merged index of the message before the last one. */
  previousMergedIndex = 0;

  constructor(private readonly groups: number) {}

  get keptCommands(): number {
    return this.messages.reduce((sum, { entries }) => sum + entries.length, 0);
  }

  position(): MergePosition {
    return this.messages[this.messages.length - 1]?.after ?? mergeStart(this.groups);
  }

  /** False when the stream has gone on since (the expected last sequence is another one). */
  publish(run: MergedRun, expectedLastSequence: number): boolean {
    if (expectedLastSequence !== this.lastSequence) return false;
    this.previousMergedIndex = this.position().mergedIndex;
    this.messages.push(run);
    this.lastSequence += 1;
    return true;
  }

  /** Everything goes; sequences count on, as JetStream's do. */
  purge(): void {
    this.removed += this.messages.length;
    this.messages.length = 0;
  }

  /** Forgets the last `count` messages. */
  loseTail(count: number): void {
    this.messages.length = Math.max(0, this.messages.length - count);
    // A stream that was restored counts on from what it has; a publish that expects the old end
    // must not pass by accident.
    this.lastSequence = this.lastSequence + 1_000_000;
  }

  /** A message that is not the last one cannot be read any more: readers pass over it. */
  damage(at: number): void {
    if (at < this.messages.length - 1) this.messages.splice(at, 1);
  }

  /**
   * Everything up to `mergedIndex` goes, but for the last message, which says where the stream is
   * (T10).
   */
  trim(mergedIndex: number): void {
    const count = this.messages.findIndex(({ after }) => after.mergedIndex > mergedIndex);
    const trimmed = this.messages.splice(0, count < 0 ? this.messages.length - 1 : count);
    this.removed += trimmed.length;
  }

  /** The place of the message that contains `mergedIndex`, or of the end. */
  find(mergedIndex: number): number {
    let low = 0;
    let high = this.messages.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.messages[middle]?.after.mergedIndex ?? 0) < mergedIndex) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
