/**
 * LogStore: the durable logs of all groups of one server, behind one writer.
 *
 * Contract, held by test/contract/log-store for every adapter:
 *  - `write` is atomic over all groups of the batch and durable when its promise resolves: a crash
 *    leaves either all of it or nothing. Batches survive in the order in which they were given (a
 *    prefix of them).
 *  - one `write` at a time: the caller awaits it before it gives the next one. A second concurrent
 *    call is a programming error and throws.
 *  - `read` may run at any time and sees every write that has resolved.
 *  - a failed `write` rejects with LogStoreWriteError and has changed nothing that `load` or `read`
 *    can see; the store stays usable, and the caller may try the same batch again.
 *  - a damaged record makes `load`, `write` (of a truncation) or `read` reject with
 *    LogStoreCorruptError, which names where; nothing is dropped silently.
 */
import type {
  GroupId,
  HardState,
  LogEntry,
  LogIndex,
  LogPosition,
  PlacedConfiguration,
  Term,
  Timestamp,
} from '../raft/entry.js';

export interface GroupWrite {
  readonly group: GroupId;
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

export interface WriteBatch {
  readonly groups: readonly GroupWrite[];
  /**
   * Replaces the bound on every promise of this server (T2); never goes down. Microseconds since
   * the Unix epoch.
   */
  readonly promiseLimit?: Timestamp;
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

export interface LoadedState {
  readonly promiseLimit: Timestamp;
  /** One for every group that was ever written; a group without an element is new. */
  readonly groups: ReadonlyMap<GroupId, LoadedGroup>;
}

export interface LogStore {
  /** Reads what a restart needs. Called once, before the first write. */
  load(): Promise<LoadedState>;
  write(batch: WriteBatch): Promise<void>;
  /**
   * Contiguous entries of one group from `from` on, at least one when `from` exists. They stop
   * after the entry that reaches `bytesMax`, or at `to` (inclusive). Empty when `from` is past the
   * end, or at or below the base.
   */
  read(group: GroupId, from: LogIndex, to: LogIndex, bytesMax: number): Promise<LogEntry[]>;
  /** Waits for a running write, then releases files. The store cannot be used afterwards. */
  close(): Promise<void>;
}

/** The write did not become durable (disk full, I/O error); nothing of it is visible. */
export class LogStoreWriteError extends Error {
  readonly code = 'LOG_STORE_WRITE';
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'LogStoreWriteError';
  }
}

/** Stored bytes are not what was written. `location` is the file or folder and the record. */
export class LogStoreCorruptError extends Error {
  readonly code = 'LOG_STORE_CORRUPT';
  constructor(
    readonly location: string,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(`${message} (${location})`, options);
    this.name = 'LogStoreCorruptError';
  }
}
