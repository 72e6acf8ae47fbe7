/** What of a group is durable: what a write changes, and what a store gives after a restart. */
import type { HardState, LogEntry, LogIndex, LogPosition, PlacedConfiguration, Term } from './entry.js';

export interface DurableChange {
  /** Replaces the stored hard state. */
  readonly hardState?: HardState;
  /**
   * Replaces the stored configurations: the one in force at the base, and every later one of the
   * log (T11).
   */
  readonly configurations?: readonly PlacedConfiguration[];
  /**
   * A snapshot covers everything up to here (T10): the log begins after it from now on. Not below
   * the base before. What the store has after it is kept when its entry (or base) at this index has
   * this term. Else, and when the log ends before it, the whole log is dropped, and lastIndex is
   * this index. Comes before `truncateFrom` and `entries`. Their space on the disk comes back with
   * later writes.
   */
  readonly base?: LogPosition;
  /**
   * First drop every entry with an index >= this one (suffix truncation, Raft section 5.3). Above
   * the base.
   */
  readonly truncateFrom?: LogIndex;
  /**
   * Then append these: contiguous, the first one directly after the last stored entry. Stored as
   * one record.
   */
  readonly entries?: readonly LogEntry[];
}

/**
 * A maximal run of entries of one term: entries from `firstIndex` up to the next run have `term`.
 */
export interface TermStart {
  readonly term: Term;
  readonly firstIndex: LogIndex;
}

export interface LoadedGroup {
  readonly hardState: HardState;
  /** The log begins after this; LOG_START for a log from its beginning. */
  readonly base: LogPosition;
  /** In order of index; empty for a group that has only known what it began with. */
  readonly configurations: readonly PlacedConfiguration[];
  /** That of the base when the log has no entries. */
  readonly lastIndex: LogIndex;
  /**
   * In order of index, of the entries after the base; the first one may lie at or below the base
   * when its run reaches beyond it. Empty for an empty log. Small: it grows with the number of
   * elections, not of entries.
   */
  readonly termStarts: readonly TermStart[];
  /**
   * The last entries of the log, contiguous up to lastIndex: at least those from
   * hardState.commitIndex on that are above the base.
   */
  readonly tail: readonly LogEntry[];
}
