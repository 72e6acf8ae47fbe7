/**
 * The newest runs of a merged log, in memory. A reader at the end of the log takes them from here;
 * what is older is in the stream. Pure.
 *
 *     stream   [ 1 .. 40 ][ 41 .. 70 ]                  stored, perhaps some milliseconds late
 *     window           [ 41 .. 60 ][ 61 .. 72 ][ 73 ]   bounded by bytes, oldest runs leave first
 *                   ▲ start
 */
import { indexAfter, indexBefore, type MergedIndex } from '../raft/entry.js';
import { itemAt } from '../raft/lists.js';
import { bytesOf, type MergedRun } from './merge.js';

/**
 * Runs from the wanted index on, in order, none while they are still to come; `behind`: they are
 * older than the window.
 */
export type WindowAnswer = readonly MergedRun[] | 'behind';

interface Kept {
  readonly run: MergedRun;
  /** Size of its entries. */
  readonly bytes: number;
}

export class MergedWindow {
  /** From `head` on. */
  private kept: Kept[] = [];
  private head = 0;
  private bytes = 0;
  /** The merged index before the first run; unknown until something is known of the log. */
  private start: MergedIndex | undefined;

  /**
   * @param bytesMax Most bytes of entries that are kept; the newest run is kept whatever its size.
   */
  constructor(private readonly bytesMax: number) {}

  /** Merged index of the newest run; undefined until something is known of the log. */
  get end(): MergedIndex | undefined {
    return this.kept[this.kept.length - 1]?.run.after.mergedIndex ?? this.start;
  }

  /** Forgets everything. The next run follows this merged index. */
  begin(mergedIndex: MergedIndex): void {
    this.kept = [];
    this.head = 0;
    this.bytes = 0;
    this.start = mergedIndex;
  }

  /**
   * Adds the next run. One that is known is skipped; one beyond a hole, or an anchor, begins the
   * window anew.
   */
  push(run: MergedRun): void {
    const { firstMergedIndex, after, entries } = run;
    const { end } = this;
    if (end !== undefined && after.mergedIndex <= end) return;
    if (end === undefined || firstMergedIndex > indexAfter(end)) this.begin(indexBefore(firstMergedIndex));
    if (entries.length === 0) return;
    const bytes = bytesOf(run);
    this.kept.push({ run, bytes });
    this.bytes += bytes;
    while (this.bytes > this.bytesMax && this.head < this.kept.length - 1) this.dropFirst();
  }

  /**
   * The runs that reach `wanted` and what follows, up to `bytesMax` bytes of entries, one run at
   * least.
   */
  from(wanted: MergedIndex, bytesMax: number): WindowAnswer {
    const { start, kept } = this;
    if (start === undefined) return [];
    if (wanted <= start) return 'behind';
    let low = this.head;
    let high = kept.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (itemAt(kept, middle).run.after.mergedIndex < wanted) low = middle + 1;
      else high = middle;
    }
    const runs: MergedRun[] = [];
    let bytes = 0;
    for (let next = kept[low]; next !== undefined; next = kept[++low]) {
      bytes += next.bytes;
      if (bytes > bytesMax && runs.length > 0) break;
      runs.push(next.run);
    }
    return runs;
  }

  private dropFirst(): void {
    const first = this.kept[this.head];
    if (first === undefined) return;
    this.head += 1;
    this.bytes -= first.bytes;
    this.start = first.run.after.mergedIndex;
    if (this.head < 1_024 || this.head * 2 < this.kept.length) return;
    this.kept = this.kept.slice(this.head);
    this.head = 0;
  }
}
