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

import { NamedError } from '../errors.js';
import type { DurableChange, LoadedGroup } from '../raft/durable.js';
import type { GroupId, LogEntry, LogIndex, Timestamp } from '../raft/entry.js';

export interface GroupWrite extends DurableChange {
  readonly group: GroupId;
}

export interface WriteBatch {
  readonly groups: readonly GroupWrite[];
  /**
   * Replaces the bound on every promise of this server (T2); never goes down. Microseconds since
   * the Unix epoch.
   */
  readonly promiseLimit?: Timestamp;
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
export class LogStoreWriteError extends NamedError {
  readonly code = 'LOG_STORE_WRITE';
}

/** Stored bytes are not what was written. `location` is the file or folder and the record. */
export class LogStoreCorruptError extends NamedError {
  readonly code = 'LOG_STORE_CORRUPT';
  constructor(
    readonly location: string,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(`${message} (${location})`, options);
  }
}
