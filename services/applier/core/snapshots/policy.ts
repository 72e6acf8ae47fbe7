/** When a snapshot is due (T10). Pure. */

import { type MergedIndex, type MonotonicMs, NOTHING_MERGED } from '../../../../shared/raft/entry.js';
import { commandBytesUntilNext } from '../../../../shared/snapshot/due.js';

export interface SnapshotLimits {
  /** Commands, and bytes of their entries, since the newest snapshot of the cluster. */
  readonly entries: number;
  readonly bytes: number;
  /** Age of the newest snapshot (milliseconds), when anything has been applied since. */
  readonly ageMs: number;
}

/** A place that is remembered with the bytes that had been applied until then. */
interface Mark {
  readonly mergedIndex: MergedIndex;
  readonly bytes: number;
}

/**
 * Bytes are known by marks at most so many; between two of them they are taken as evenly spread.
 */
const MARKS_MAX = 256;

export class SnapshotPolicy {
  private newestIndex: MergedIndex = NOTHING_MERGED;
  private newestAtMs: MonotonicMs;
  /** Before so many bytes of commands none is due but by age: the newest one is large. */
  private bytesMin = 0;
  /** Some server needs one that reaches so far. */
  private wantedIndex: MergedIndex = NOTHING_MERGED;
  private applied: Mark;
  private marks: Mark[];

  constructor(
    private readonly limits: SnapshotLimits,
    mergedIndex: MergedIndex,
    nowMs: MonotonicMs,
  ) {
    this.newestAtMs = nowMs;
    this.applied = { mergedIndex, bytes: 0 };
    this.marks = [this.applied];
  }

  /** Commands up to `mergedIndex` are applied, which were `bytes` more. */
  onApplied(mergedIndex: MergedIndex, bytes: number): void {
    this.applied = { mergedIndex, bytes: this.applied.bytes + bytes };
    this.marks.push(this.applied);
    // Every other one goes: what is left is as evenly spread as before.
    if (this.marks.length > MARKS_MAX) this.marks = this.marks.filter((_, at) => at % 2 === 0);
  }

  /** The state is elsewhere now: a snapshot was installed, or the database has gone back. */
  onMoved(mergedIndex: MergedIndex): void {
    this.applied = { mergedIndex, bytes: this.applied.bytes };
    this.marks = [this.applied];
  }

  /**
   * The newest snapshot that there is, and its bytes as they are stored; 0 when there is none (any
   * more).
   */
  onNewest(mergedIndex: MergedIndex, bytes: number, nowMs: MonotonicMs): void {
    this.bytesMin = commandBytesUntilNext(bytes);
    if (mergedIndex < this.newestIndex) this.newestIndex = mergedIndex;
    if (mergedIndex <= this.newestIndex) return;
    this.newestIndex = mergedIndex;
    this.newestAtMs = nowMs;
    this.marks = this.marks.filter((mark) => mark.mergedIndex >= mergedIndex);
  }

  onWanted(mergedIndex: MergedIndex): void {
    this.wantedIndex = Math.max(this.wantedIndex, mergedIndex);
  }

  isDue(nowMs: MonotonicMs): boolean {
    const entries = this.applied.mergedIndex - this.newestIndex;
    if (entries <= 0) return false;
    if (this.newestIndex < this.wantedIndex) return true;
    const { limits } = this;
    const { bytes } = this.since;
    const isLarge = (entries >= limits.entries || bytes >= limits.bytes) && bytes >= this.bytesMin;
    return isLarge || nowMs - this.newestAtMs >= limits.ageMs;
  }

  /** Commands between two snapshots, if the next ones are as large as those since the newest. */
  get dueEntries(): number {
    const { entries, bytes } = this.since;
    const { limits, bytesMin } = this;
    return bytes === 0 ? limits.entries : Math.max(limits.entries, Math.ceil((bytesMin * entries) / bytes));
  }

  /** What was applied since the newest snapshot, or since this server began. */
  private get since(): { readonly entries: number; readonly bytes: number } {
    const first = this.marks[0] ?? this.applied;
    return { entries: this.applied.mergedIndex - first.mergedIndex, bytes: this.applied.bytes - first.bytes };
  }
}
