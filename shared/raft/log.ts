/**
 * The log of one group as its replica holds it in memory: a window of the last entries, and the
 * term of every index.
 *
 *     1 ... base            | base + 1 ... | firstInWindow ... lastIndex
 *     covered by a snapshot | log store    | log store and window
 *
 * Only the window keeps entries; older ones are in the log store and are read back when a follower
 * or the merger lags. What a snapshot covers may be gone from both (T10): of it only the last
 * position is known, the base. Terms are kept as runs, so that the log-matching check (Raft section
 * 5.3) works for any index from the base on without a read.
 */
import { assert } from './assert.js';
import type { LoadedGroup, TermStart } from './durable.js';
import {
  BEFORE_ALL,
  BEFORE_FIRST,
  indexAfter,
  indexBefore,
  LOG_START,
  type LogEntry,
  type LogIndex,
  type LogPosition,
  type Term,
  type Timestamp,
} from './entry.js';
import { itemAt } from './lists.js';

type RestoredLog = Omit<LoadedGroup, 'hardState' | 'configurations'>;

export const EMPTY_LOG: RestoredLog = { base: LOG_START, lastIndex: 0, termStarts: [], tail: [] };

export class RaftLog {
  private readonly runs: TermStart[];
  /** Entries firstInWindow .. lastIndex. */
  private window: LogEntry[];
  private windowBytes: number;
  private slices = { from: 0, to: 0, entries: [] as readonly LogEntry[] };

  private basePosition: LogPosition;

  constructor(restored: RestoredLog) {
    this.basePosition = restored.base;
    this.runs = [...restored.termStarts];
    this.window = [...restored.tail];
    this.windowBytes = restored.tail.reduce((sum, entry) => sum + entry.bytes.length, 0);
    this.last = restored.lastIndex;
    const tailEnd = restored.tail[restored.tail.length - 1];
    assert(
      restored.lastIndex === restored.base.index || tailEnd?.index === restored.lastIndex,
      'a restored log brings its last entry along',
    );
  }

  private last: LogIndex;

  get lastIndex(): LogIndex {
    return this.last;
  }

  /**
   * The log begins after this; everything up to it is committed and covered by a snapshot (T10).
   */
  get base(): LogPosition {
    return this.basePosition;
  }

  get lastTerm(): Term {
    return this.runs[this.runs.length - 1]?.term ?? this.basePosition.term;
  }

  /** Timestamp of the last entry; 0 for an empty log. */
  get lastTimestamp(): Timestamp {
    return this.window[this.window.length - 1]?.timestamp ?? this.basePosition.timestamp;
  }

  get firstInWindow(): LogIndex {
    return this.last - this.window.length + 1;
  }

  /** Term of the entry at `index`; 0 for index 0, below the base or past the end. */
  termAt(index: LogIndex): Term {
    if (index > this.last || index < this.basePosition.index) return 0;
    if (index === this.basePosition.index) return this.basePosition.term;
    for (let i = this.runs.length - 1; i >= 0; i--) {
      const run = this.runs[i];
      if (run !== undefined && run.firstIndex <= index) return run.term;
    }
    return 0;
  }

  /** Timestamp of the entry at `index` when it is in the window, or the base; else BEFORE_ALL. */
  timestampAt(index: LogIndex): Timestamp {
    return index === this.basePosition.index ? this.basePosition.timestamp : (this.at(index)?.timestamp ?? BEFORE_ALL);
  }

  /** First index of the run of equal terms that holds `index`, as far as the log goes back. */
  firstIndexOfRun(index: LogIndex): LogIndex {
    for (let i = this.runs.length - 1; i >= 0; i--) {
      const run = this.runs[i];
      if (run !== undefined && run.firstIndex <= index) return Math.max(run.firstIndex, this.basePosition.index + 1);
    }
    return indexAfter(this.basePosition.index);
  }

  /** Last index with this term, or 0 when the log has none. */
  lastIndexOfTerm(term: Term): LogIndex {
    for (let i = this.runs.length - 1; i >= 0; i--) {
      const run = this.runs[i];
      if (run === undefined || run.term > term) continue;
      if (run.term < term) return 0;
      return (this.runs[i + 1]?.firstIndex ?? this.last + 1) - 1;
    }
    return 0;
  }

  /** The entry at `index` when it is in the window. */
  at(index: LogIndex): LogEntry | undefined {
    return this.window[index - this.firstInWindow];
  }

  append(entries: readonly LogEntry[]): void {
    for (const entry of entries) {
      assert(entry.index === this.last + 1, 'entries are appended without a gap');
      assert(entry.term >= this.lastTerm, 'terms never decrease in a log (Raft section 5.3)');
      assert(entry.timestamp > this.lastTimestamp, () => `T1: timestamp of ${entry.index} does not increase`);
      // A log that ends at its base has no run yet, whatever the term there.
      if (this.runs.length === 0 || entry.term > this.lastTerm) {
        this.runs.push({ term: entry.term, firstIndex: entry.index });
      }
      this.window.push(entry);
      this.windowBytes += entry.bytes.length;
      this.last = entry.index;
    }
  }

  /** Drops every entry from `index` on. */
  truncateFrom(index: LogIndex): void {
    assert(index >= this.firstInWindow, 'only entries of the window are truncated');
    const dropped = this.window.splice(index - this.firstInWindow);
    for (const entry of dropped) this.windowBytes -= entry.bytes.length;
    this.last = indexBefore(index);
    while ((this.runs[this.runs.length - 1]?.firstIndex ?? BEFORE_FIRST) >= index) this.runs.pop();
    this.slices = { from: 0, to: 0, entries: [] };
  }

  /**
   * T10: a snapshot covers everything up to `base`, which lies in the log; the log begins after it
   * from now on.
   */
  compact(base: LogPosition): void {
    assert(base.index > this.basePosition.index && base.index <= this.last, 'a log is compacted within itself');
    assert(this.termAt(base.index) === base.term, 'a log is compacted at an entry of its own');
    const drop = Math.max(0, base.index + 1 - this.firstInWindow);
    for (const entry of this.window.splice(0, drop)) this.windowBytes -= entry.bytes.length;
    this.basePosition = base;
    // A run is kept while some entry after the base belongs to it.
    while (this.runs.length > 0 && (this.runs[1]?.firstIndex ?? this.last + 1) <= base.index + 1) this.runs.shift();
    this.slices = { from: 0, to: 0, entries: [] };
  }

  /**
   * Entries from .. to (inclusive) of the window, cut after the one that reaches `bytesMax`; at
   * least one. The same range asked for again gives the same array, so that an encoder can keep
   * what it made of it.
   */
  slice(from: LogIndex, to: LogIndex, bytesMax: number): readonly LogEntry[] {
    const start = from - this.firstInWindow;
    assert(start >= 0, 'a slice lies in the window');
    let end = start;
    for (let bytes = 0; end <= to - this.firstInWindow && bytes < bytesMax; end++) {
      const entry = this.window[end];
      if (entry === undefined) break;
      bytes += entry.bytes.length;
      if (bytes > bytesMax && end > start) break;
    }
    const last = this.firstInWindow + end - 1;
    if (this.slices.from !== from || this.slices.to !== last) {
      this.slices = { from, to: last, entries: this.window.slice(start, end) };
    }
    return this.slices.entries;
  }

  /** Size of the entries after `index`, all of which are in the window. */
  bytesAfter(index: LogIndex): number {
    let bytes = 0;
    for (let i = Math.max(0, index + 1 - this.firstInWindow); i < this.window.length; i++) {
      bytes += itemAt(this.window, i).bytes.length;
    }
    return bytes;
  }

  /**
   * Forgets entries below `keepFrom` while the window is larger than `bytesMax`; they stay in the
   * log store.
   */
  shrink(keepFrom: LogIndex, bytesMax: number): void {
    if (this.windowBytes <= bytesMax) return;
    let drop = 0;
    let bytes = this.windowBytes;
    // Half of the room is freed at once: moving the window's array entry by entry would cost its
    // length every time.
    while (bytes > bytesMax / 2 && this.firstInWindow + drop < keepFrom) {
      bytes -= itemAt(this.window, drop).bytes.length;
      drop += 1;
    }
    if (drop === 0) return;
    this.window = this.window.slice(drop);
    this.windowBytes = bytes;
  }
}
