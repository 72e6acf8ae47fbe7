/**
 * SegmentLogStore: the logs of all groups of a server in one sequence of append-only files. A write
 * is one batch of records at the end of the newest segment, durable with one system call. record.ts
 * has the bytes, segment.ts the file, recovery.ts the opening.
 *
 * What must hold, so that neither a crash nor a failed write loses or invents anything:
 *
 *  S1. Batches are numbered without a gap over all segments. The next one is written when the one
 *      before is durable: only the last batch of the newest segment can be unfinished, and a file
 *      is zeros behind it (tail.ts decides by that).
 *  S2. A segment gets its name when its checkpoint is durable. The checkpoint has all that is not
 *      an entry, and names every older segment that is needed, with its id and where it ends. What
 *      lies behind that end does not count, whatever it is.
 *  S3. The switch to the next segment is done when the end of the one before is durable, and names
 *      it; before that nothing is written to it but its checkpoint. So the newest segment is the
 *      only one without an end: if it is lost, the end of the one before shows it.
 *  S4. After a write that failed nothing is known of its bytes, and the segment takes no more
 *      batches: the store switches to another, whose checkpoint leaves the failed batch out. The
 *      end is written at a place of its own, and the same one until it succeeds.
 *  S5. A segment is removed when no live entry is in it (carried ones lie elsewhere), and when that
 *      is durable: the checkpoint of a segment that has been switched to does not name it, or a
 *      batch drops it. Removing may be undone by a crash: it is done again.
 *  S6. What an opening can read may not be on the disk yet. So it writes the last batch again, and
 *      switches, before it gives it out.
 *
 * In memory it keeps the head of every group, and 24 to 36 bytes for each record (group-index.ts);
 * entries are read from the files.
 */
import type { GroupId, LogEntry, LogIndex } from '../../raft/entry.js';
import { itemAt } from '../../raft/lists.js';
import { LogStoreLegacyError } from '../errors.js';
import { demand, demandGroups, type GroupHead, headsAfter, termOf } from '../head.js';
import { loadGroups } from '../loading.js';
import { type LoadedState, type LogStore, LogStoreCorruptError, type WriteBatch } from '../port.js';
import { BatchBuffer } from './batch.js';
import { nextCheckpoint, type SegmentOptions } from './checkpoint.js';
import { NodeFolder, type SegmentFolder } from './files.js';
import { lockFolder } from './lock.js';
import { Collector, readSpan, spansOf } from './reading.js';
import { recover } from './recovery.js';
import { isLevelDb, numbersOf, removeUnfinished, Segment } from './segment.js';
import { StoreState } from './state.js';
import { SegmentWriter } from './writer.js';

export interface SegmentLogStoreOptions extends SegmentOptions {
  /** Made when it is missing. Holds nothing but this store. */
  readonly folder: string;
}

export class SegmentLogStore implements LogStore {
  readonly #buffer = new BatchBuffer();
  readonly #writer: SegmentWriter;
  /** A segment may have become free of live entries since that was looked at. */
  #mayDrop = true;
  #writing: Promise<void> | undefined;
  readonly #reads = new Set<Promise<unknown>>();
  #removing: Promise<unknown> = Promise.resolve();
  /** Raised by every write that drops entries: a read in several steps begins again then. */
  #droppings = 0;
  #phase: 'opened' | 'loaded' | 'closed' = 'opened';

  private constructor(
    private readonly folder: SegmentFolder,
    private readonly options: SegmentOptions,
    private readonly state: StoreState,
    newest: Segment,
    private readonly release: () => Promise<void>,
  ) {
    this.#writer = new SegmentWriter(folder, options, state, newest, (segments) => this.#remove(segments));
  }

  /**
   * Opens the folder, or makes a new store in it.
   * @throws LogStoreLockedError when another process has it open, LogStoreIdentityError when it is
   *   another server's, LogStoreFormatError or LogStoreLegacyError when another version wrote it.
   *   LogStoreCorruptError when it is damaged, LogStoreWriteError when the file system refuses.
   */
  static async open(options: SegmentLogStoreOptions): Promise<SegmentLogStore> {
    const folder = await NodeFolder.open(options.folder);
    const release = await lockFolder(options.folder);
    try {
      return await SegmentLogStore.openIn(folder, options, release);
    } catch (error) {
      await release();
      throw error;
    }
  }

  /** The same in a folder that is locked already; `release` is called when the store is closed. */
  static async openIn(
    folder: SegmentFolder,
    options: SegmentOptions,
    release: () => Promise<void> = async () => undefined,
  ): Promise<SegmentLogStore> {
    const files = await folder.list();
    if (isLevelDb(files)) throw new LogStoreLegacyError(folder.path);
    const numbers = numbersOf(files);
    if (numbers.length === 0) {
      const state = new StoreState(0, new Map());
      const first = await Segment.create(folder, nextCheckpoint(options, state, undefined, 0));
      state.segments.set(first.number, first);
      return new SegmentLogStore(folder, options, state, first, release);
    }
    const { state, newest, garbage, lastBatch } = await recover(folder, numbers, options);
    const store = new SegmentLogStore(folder, options, state, newest, release);
    try {
      await removeUnfinished(folder, files);
      if (lastBatch.length > 0) await newest.file.write(lastBatch, newest.end - lastBatch.length);
      await store.#writer.switch(0);
    } catch (error) {
      await store.#writer.close();
      for (const segment of [...garbage, ...state.segments.values()]) await segment.file.close();
      throw error;
    }
    store.#remove(garbage);
    return store;
  }

  async load(): Promise<LoadedState> {
    demand(this.#phase === 'opened', this.#phase === 'closed' ? 'the store is closed' : 'the store is loaded already');
    const groups = await loadGroups(this.state.heads, (group, from, to) => {
      return this.#read(group, from, to, Number.MAX_SAFE_INTEGER);
    });
    this.#phase = 'loaded';
    return { promiseLimit: this.state.promiseLimit, groups };
  }

  write(batch: WriteBatch): Promise<void> {
    demand(this.#phase === 'loaded', this.#phase === 'closed' ? 'the store is closed' : 'the store is not loaded');
    demand(this.#writing === undefined, 'a write is in flight');
    demandGroups(batch, this.options.groups);
    const heads = headsAfter(batch, this.state.promiseLimit, (group) => this.state.headOf(group));
    if (heads.size === 0 && batch.promiseLimit === undefined) return Promise.resolve();
    const writing = this.#commit(batch, heads).finally(() => {
      this.#writing = undefined;
    });
    this.#writing = writing;
    return writing;
  }

  async read(group: GroupId, from: LogIndex, to: LogIndex, bytesMax: number): Promise<LogEntry[]> {
    demand(this.#phase !== 'closed', 'the store is closed');
    const reading = this.#read(group, from, to, bytesMax);
    this.#reads.add(reading);
    try {
      return await reading;
    } finally {
      this.#reads.delete(reading);
    }
  }

  async close(): Promise<void> {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    await this.#writing?.catch(() => undefined);
    // A file that cannot be closed keeps neither the others open nor the folder locked.
    try {
      await this.#writer.close();
    } finally {
      await Promise.allSettled(this.#reads);
      await this.#removing;
      await Promise.allSettled([...this.state.segments.values()].map(({ file }) => file.close()));
      await this.release();
    }
  }

  async #commit(batch: WriteBatch, heads: ReadonlyMap<GroupId, GroupHead>): Promise<void> {
    let dropped = this.#encode(batch);
    while (!this.#writer.hasRoom(this.#buffer.length)) {
      await this.#writer.switch(this.#buffer.length);
      await this.#writer.emptyOne(this.#buffer.length);
      this.#mayDrop = true;
      dropped = this.#encode(batch);
    }
    const places = await this.#writer.append(this.#buffer);
    // A record a group; what concerns the server comes first.
    this.state.apply(batch.groups, places.slice(places.length - batch.groups.length), heads);
    this.state.promiseLimit = batch.promiseLimit ?? this.state.promiseLimit;
    this.#mayDrop = false;
    if (batch.groups.some(({ base, truncateFrom }) => base !== undefined || truncateFrom !== undefined)) {
      this.#mayDrop = true;
      this.#droppings++;
    }
    for (const { number } of dropped) this.state.segments.delete(number);
    this.#remove(dropped);
  }

  /** Lays the batch out in the buffer. Returns the segments that it drops. */
  #encode(batch: WriteBatch): readonly Segment[] {
    const dropped = this.#mayDrop ? this.#writer.free() : [];
    this.#buffer.clear();
    if (batch.promiseLimit !== undefined || dropped.length > 0) {
      this.#buffer.addServer({ promiseLimit: batch.promiseLimit, dropped: dropped.map(({ number }) => number) });
    }
    for (const write of batch.groups) this.#buffer.addGroup(write);
    return dropped;
  }

  async #read(group: GroupId, from: LogIndex, to: LogIndex, bytesMax: number): Promise<LogEntry[]> {
    for (;;) {
      const droppings = this.#droppings;
      const head = this.state.headOf(group);
      const first = Math.max(1, from);
      const last = Math.min(to, head.lastIndex);
      if (first > last || first <= head.base.index) return [];
      const collector = new Collector(first, last, bytesMax, (index) => termOf(head, index));
      while (!collector.isFull && droppings === this.#droppings) await this.#collect(group, collector, last);
      if (collector.isFull) return collector.entries;
      // What was read and what is still to come may belong to different logs.
    }
  }

  /**
   * Reads the next records that are wanted. Their files stay open for as long as this read is among
   * the running ones.
   */
  async #collect(group: GroupId, collector: Collector, to: LogIndex): Promise<void> {
    const { nextIndex } = collector;
    const places = this.state.indexOf(group).find(nextIndex, to, collector.room);
    const spans = spansOf(places).map((span) => ({ span, segment: this.state.segments.get(itemAt(span, 0).segment) }));
    for (const { span, segment } of spans) {
      if (segment !== undefined) collector.add(await readSpan(segment, group, span), segment.path);
      if (collector.isFull) return;
    }
    if (collector.nextIndex > nextIndex) return;
    throw new LogStoreCorruptError(this.folder.path, `entry ${nextIndex} of group ${group} is missing`);
  }

  /**
   * In the background, when no running read needs them. One that fails is removed by the next
   * opening.
   */
  #remove(segments: readonly Segment[]): void {
    if (segments.length === 0) return;
    const reads = [...this.#reads];
    this.#removing = this.#removing.then(async () => {
      await Promise.allSettled(reads);
      for (const segment of segments) await segment.remove().catch(() => undefined);
    });
  }
}
