/**
 * LevelLogStore: the logs of all groups of a server in one LevelDB database. A turn is one synchronous LevelDB batch: one
 * record per group that appends, the head, and what a truncation or a base drops. level-record.ts has the layout.
 *
 * In memory it keeps what grows with elections, not with entries: the head of every group.
 */
import { join } from 'node:path';
import type { GroupId, Index, LogEntry, Timestamp } from '../raft/entry.js';
import { blockLength } from '../wire/entry-block.js';
import type { LogStoreIdentity } from './errors.js';
import { demand, EMPTY_HEAD, type GroupHead, headOnBase, headsAfter } from './head.js';
import { LevelDatabase, type Operation } from './level-database.js';
import { dropWritesAfter } from './level-folder.js';
import { openHead, readWriteNumber, type StoreHead } from './level-head.js';
import { addAppend, addDrop, addTermStarts, addTruncation, readEntries } from './level-log.js';
import { encodeHead, encodeWriteNumber, groupText, HEAD_KEY, RecordError, WRITE_KEY } from './level-record.js';
import { LevelRemoval } from './level-removal.js';
import {
  type GroupWrite,
  type LoadedGroup,
  type LoadedState,
  type LogStore,
  LogStoreCorruptError,
  LogStoreWriteError,
  type WriteBatch,
} from './port.js';

export interface LevelLogStoreOptions extends LogStoreIdentity {
  /** Made when it is missing. Holds nothing but this store. */
  readonly folder: string;
}

/** What reopening needs on the disk beside the journal and the batch (bytes): manifest, table indexes. */
const REOPEN_BYTES = 64 * 1024;

export class LevelLogStore implements LogStore {
  readonly #database: LevelDatabase;
  readonly #groupCount: number;
  readonly #heads: Map<GroupId, GroupHead>;
  #groupTexts: readonly string[];
  #promiseLimit: Timestamp;
  /** Number of the last durable write. */
  #write: number;
  #writing: Promise<void> | undefined;
  /** A write failed, and the database has not been mended since. */
  #failed = false;
  /** Raised when a write with a truncation or base begins and when it ends, so odd within one: what a read relies on may vanish then. */
  #droppings = 0;
  readonly #removal: LevelRemoval;
  #state: 'opened' | 'loaded' | 'closed' = 'opened';

  private constructor(database: LevelDatabase, groupCount: number, head: StoreHead) {
    this.#database = database;
    this.#groupCount = groupCount;
    this.#heads = head.heads;
    this.#groupTexts = head.groupTexts;
    this.#promiseLimit = head.promiseLimit;
    this.#write = head.write;
    this.#removal = new LevelRemoval(database);
  }

  /**
   * Opens the folder, or makes a new store in it.
   * @throws LogStoreLockedError when another process has it open, LogStoreIdentityError when it is another server's,
   * LogStoreFormatError when another version wrote it, LogStoreCorruptError when it is damaged, LogStoreWriteError when the
   * file system refuses.
   */
  static async open(options: LevelLogStoreOptions): Promise<LevelLogStore> {
    const database = await LevelDatabase.open(options.folder);
    try {
      return new LevelLogStore(database, options.groups, await openHead(database, options));
    } catch (error) {
      await database.close();
      throw located(options.folder, error);
    }
  }

  async load(): Promise<LoadedState> {
    demand(this.#state === 'opened', this.#state === 'closed' ? 'the store is closed' : 'the store is loaded already');
    const groups = new Map<GroupId, LoadedGroup>();
    for (const [group, head] of this.#heads) {
      const tail: LogEntry[] = [];
      // The last record is read in any case, so that its loss shows here.
      const from = Math.max(head.base.index + 1, Math.min(head.hardState.commitIndex, head.lastIndex));
      while (from + tail.length <= head.lastIndex) {
        const entries = await this.#read(group, from + tail.length, head.lastIndex, Number.MAX_SAFE_INTEGER);
        for (const entry of entries) tail.push(entry);
      }
      groups.set(group, { ...head, tail });
    }
    this.#state = 'loaded';
    return { promiseLimit: this.#promiseLimit, groups };
  }

  write(batch: WriteBatch): Promise<void> {
    demand(this.#state === 'loaded', this.#state === 'closed' ? 'the store is closed' : 'the store is not loaded');
    demand(this.#writing === undefined, 'a write is in flight');
    for (const { group } of batch.groups) {
      demand(Number.isInteger(group) && group >= 0 && group < this.#groupCount, `there is no group ${group}`);
    }
    const heads = headsAfter(batch, this.#promiseLimit, (group) => this.#headOf(group));
    if (heads.size === 0 && batch.promiseLimit === undefined) return Promise.resolve();
    const writing = this.#commit(batch, heads).finally(() => {
      this.#writing = undefined;
    });
    this.#writing = writing;
    return writing;
  }

  async read(group: GroupId, from: Index, to: Index, bytesMax: number): Promise<LogEntry[]> {
    demand(this.#state !== 'closed', 'the store is closed');
    for (;;) {
      const droppings = this.#droppings;
      try {
        return await this.#read(group, from, to, bytesMax);
      } catch (error) {
        const undisturbed = droppings === this.#droppings && droppings % 2 === 0;
        if (undisturbed || !(error instanceof LogStoreCorruptError)) throw error;
        // What it missed may have been dropped under it: it is damage only when it shows again without that.
        await this.#writing?.catch(() => undefined);
      }
    }
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    await this.#writing?.catch(() => undefined);
    await this.#database.close();
    if (this.#failed) await dropWritesAfter(this.#database.folder, this.#write);
  }

  #headOf(group: GroupId): GroupHead {
    return this.#heads.get(group) ?? EMPTY_HEAD;
  }

  async #read(group: GroupId, from: Index, to: Index, bytesMax: number): Promise<LogEntry[]> {
    const head = this.#headOf(group);
    const first = Math.max(1, from);
    const last = Math.min(to, head.lastIndex);
    if (first > last || first <= head.base.index) return [];
    try {
      return await readEntries(this.#database, group, head, first, last, bytesMax);
    } catch (error) {
      throw located(this.#database.folder, error);
    }
  }

  async #commit(batch: WriteBatch, heads: ReadonlyMap<GroupId, GroupHead>): Promise<void> {
    const drops = batch.groups.some(({ truncateFrom, base }) => truncateFrom !== undefined || base !== undefined);
    if (drops) this.#droppings++;
    try {
      if (this.#failed) await this.#mend(batch);
      await this.#commitOnce(batch, heads);
    } catch (error) {
      throw located(this.#database.folder, error);
    } finally {
      if (drops) this.#droppings++;
    }
  }

  async #commitOnce(batch: WriteBatch, heads: ReadonlyMap<GroupId, GroupHead>): Promise<void> {
    const write = this.#write + 1;
    const promiseLimit = batch.promiseLimit ?? this.#promiseLimit;
    // The number comes first: dropWritesAfter looks for it there.
    const operations: Operation[] = [{ type: 'put', key: WRITE_KEY, value: encodeWriteNumber(write) }];
    const groupTexts = this.#groupTexts.slice();
    for (const groupWrite of batch.groups) {
      const { group } = groupWrite;
      const after = heads.get(group) ?? this.#headOf(group);
      await this.#addGroup(operations, groupWrite, after);
      const { termStarts, ...head } = after;
      groupTexts[group] = groupText({ ...head, termCount: termStarts.length });
    }
    const onRemoved = await this.#removal.add(operations, new Map([...this.#heads, ...heads]));
    operations.push({ type: 'put', key: HEAD_KEY, value: encodeHead(write, promiseLimit, groupTexts) });
    try {
      await this.#database.write(operations);
    } catch (error) {
      this.#failed = true;
      // Tried at once, so that nothing of it is left even when the process ends next; else before the next write.
      if (error instanceof LogStoreWriteError) await this.#mend(batch).catch(() => undefined);
      throw error;
    }
    this.#write = write;
    this.#promiseLimit = promiseLimit;
    this.#groupTexts = groupTexts;
    for (const [group, head] of heads) this.#heads.set(group, head);
    onRemoved();
  }

  async #addGroup(operations: Operation[], write: GroupWrite, after: GroupHead): Promise<void> {
    const { group, truncateFrom = Number.POSITIVE_INFINITY, entries = [] } = write;
    const before = this.#headOf(group);
    const onBase = headOnBase(before, write);
    const { base, lastIndex } = onBase;
    if (lastIndex < before.lastIndex) await addDrop(operations, this.#database, group, base.index, before.lastIndex);
    else if (truncateFrom <= lastIndex) await addTruncation(operations, this.#database, group, onBase, truncateFrom);
    addTermStarts(operations, group, before, after);
    addAppend(operations, group, entries);
  }

  /** After a failed write: opens the database again without it. Rejects with LogStoreWriteError while there is no space. */
  async #mend(batch: WriteBatch): Promise<void> {
    let bytes = REOPEN_BYTES;
    for (const { entries = [] } of batch.groups) bytes += blockLength(entries);
    await this.#database.reopen(this.#write, bytes);
    const found = await readWriteNumber(this.#database);
    if (found !== this.#write) throw new RecordError(WRITE_KEY, `write ${this.#write} has become ${found}`);
    this.#failed = false;
  }
}

/** A damaged value as the error of the port, with its place; other errors as they are. */
function located(folder: string, error: unknown): unknown {
  if (!(error instanceof RecordError)) return error;
  return new LogStoreCorruptError(join(folder, error.key), error.message, { cause: error });
}
