/**
 * SegmentLogStore: the logs of all groups of a server in one sequence of append-only files. A write is one batch of records at the end of
 * the newest segment, durable with one system call. record.ts has the bytes, segment.ts the file, recovery.ts the opening.
 *
 * What must hold, so that neither a crash nor a failed write loses or invents anything:
 *
 *  S1. Batches are numbered without a gap over all segments. The next one is written when the one before is durable: only the last
 *      batch of the newest segment can be unfinished, and a file is zeros behind it (tail.ts decides by that).
 *  S2. A segment gets its name when its checkpoint is durable. The checkpoint has all that is not an entry, and names every older
 *      segment that is needed, with its id and where it ends. What lies behind that end does not count, whatever it is.
 *  S3. The switch to the next segment is done when the end of the one before is durable, and names it; before that nothing is written
 *      to it but its checkpoint. So the newest segment is the only one without an end: if it is lost, the end of the one before shows it.
 *  S4. After a write that failed nothing is known of its bytes, and the segment takes no more batches: the store switches to another, whose
 *      checkpoint leaves the failed batch out. The end is written at a place of its own, and the same one until it succeeds.
 *  S5. A segment is removed when no live entry is in it (carried ones lie elsewhere), and when that is durable: the checkpoint of
 *      a segment that has been switched to does not name it, or a batch drops it. Removing may be undone by a crash: it is done again.
 *  S6. What an opening can read may not be on the disk yet. So it writes the last batch again, and switches, before it gives it out.
 *
 * In memory it keeps the head of every group, and 24 to 36 bytes for each record (group-index.ts); entries are read from the files.
 */
import { randomBytes } from 'node:crypto';
import type { GroupId, Index, LogEntry } from '../../raft/entry.js';
import { type LogStoreIdentity, LogStoreLegacyError } from '../errors.js';
import { demand, type GroupHead, headsAfter, termOf } from '../head.js';
import { loadGroups } from '../loading.js';
import { type LoadedState, type LogStore, LogStoreCorruptError, type WriteBatch } from '../port.js';
import { BatchBuffer, type BatchRecord } from './batch.js';
import { NodeFolder, type SegmentFolder } from './files.js';
import type { Place } from './group-index.js';
import { lockFolder } from './lock.js';
import { type Checkpoint, FORMAT } from './payload.js';
import { Collector, readSpan, runsOf, spansOf } from './reading.js';
import { RecordKind, SECTOR_BYTES } from './record.js';
import { recover } from './recovery.js';
import { segmentToEmpty } from './retention.js';
import { isLevelDb, numbersOf, removeUnfinished, Segment } from './segment.js';
import { StoreState } from './state.js';

export interface SegmentOptions extends LogStoreIdentity {
  /** Of an ordinary segment; a batch that needs more gets a larger one. Default 16 MiB. */
  readonly segmentBytes?: number;
}

export interface SegmentLogStoreOptions extends SegmentOptions {
  /** Made when it is missing. Holds nothing but this store. */
  readonly folder: string;
}

const SEGMENT_BYTES = 16 * 1024 * 1024;

export class SegmentLogStore implements LogStore {
  readonly #buffer = new BatchBuffer();
  readonly #state: StoreState;
  /** The newest. */
  #current: Segment;
  /** Made, while the end of the current one is not durable yet. */
  #next: Segment | undefined;
  /** A write to the current segment failed. */
  #failed = false;
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
    private readonly release: () => Promise<void>,
    state: StoreState,
    newest: Segment,
  ) {
    this.#state = state;
    this.#current = newest;
  }

  /**
   * Opens the folder, or makes a new store in it.
   * @throws LogStoreLockedError when another process has it open, LogStoreIdentityError when it is another server's,
   * LogStoreFormatError or LogStoreLegacyError when another version wrote it, LogStoreCorruptError when it is damaged, LogStoreWriteError when
   * the file system refuses.
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
    if (numbers.length === 0) return SegmentLogStore.#make(folder, options, release);
    const { state, newest, garbage, lastBatch } = await recover(folder, numbers, options);
    const store = new SegmentLogStore(folder, options, release, state, newest);
    try {
      await removeUnfinished(folder, files);
      if (lastBatch.length > 0) await newest.file.write(lastBatch, newest.end - lastBatch.length);
      await store.#switch(0);
    } catch (error) {
      for (const segment of [...garbage, ...state.segments.values()]) await segment.file.close();
      throw error;
    }
    store.#remove(garbage);
    return store;
  }

  static async #make(
    folder: SegmentFolder,
    options: SegmentOptions,
    release: () => Promise<void>,
  ): Promise<SegmentLogStore> {
    const state = new StoreState(0, new Map());
    const checkpoint = {
      ...aboutStore(options, randomBytes(16).toString('hex')),
      number: 1,
      sequence: 0,
      segments: [],
    };
    const first = await Segment.create(folder, {
      ...checkpoint,
      promiseLimit: 0,
      heads: [],
      size: sizeFor(options, 0),
    });
    state.segments.set(first.number, first);
    return new SegmentLogStore(folder, options, release, state, first);
  }

  async load(): Promise<LoadedState> {
    demand(this.#phase === 'opened', this.#phase === 'closed' ? 'the store is closed' : 'the store is loaded already');
    const groups = await loadGroups(this.#state.heads, (group, from, to) => {
      return this.#read(group, from, to, Number.MAX_SAFE_INTEGER);
    });
    this.#phase = 'loaded';
    return { promiseLimit: this.#state.promiseLimit, groups };
  }

  write(batch: WriteBatch): Promise<void> {
    demand(this.#phase === 'loaded', this.#phase === 'closed' ? 'the store is closed' : 'the store is not loaded');
    demand(this.#writing === undefined, 'a write is in flight');
    for (const { group } of batch.groups) {
      demand(Number.isInteger(group) && group >= 0 && group < this.options.groups, `there is no group ${group}`);
    }
    const heads = headsAfter(batch, this.#state.promiseLimit, (group) => this.#state.headOf(group));
    if (heads.size === 0 && batch.promiseLimit === undefined) return Promise.resolve();
    const writing = this.#commit(batch, heads).finally(() => {
      this.#writing = undefined;
    });
    this.#writing = writing;
    return writing;
  }

  async read(group: GroupId, from: Index, to: Index, bytesMax: number): Promise<LogEntry[]> {
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
    // So that a batch that failed is not found by the next opening.
    if (this.#failed) await this.#switch(0).catch(() => undefined);
    await Promise.allSettled(this.#reads);
    await this.#removing;
    for (const { file } of this.#state.segments.values()) await file.close();
    await this.#next?.file.close();
    await this.release();
  }

  async #commit(batch: WriteBatch, heads: ReadonlyMap<GroupId, GroupHead>): Promise<void> {
    let dropped = this.#encode(batch);
    while (this.#failed || this.#current.room < this.#buffer.length) {
      await this.#switch(this.#buffer.length);
      await this.#emptyOne(this.#current.room - this.#buffer.length);
      dropped = this.#encode(batch);
    }
    const at = await this.#append(this.#buffer);
    const places = this.#buffer.records
      .filter(({ kind }) => kind === RecordKind.group)
      .map((record) => {
        return record.count === 0 ? undefined : placeOf(record, this.#current.number, at);
      });
    this.#state.apply(batch.groups, places, heads);
    this.#state.promiseLimit = batch.promiseLimit ?? this.#state.promiseLimit;
    this.#mayDrop = false;
    if (batch.groups.some(({ base, truncateFrom }) => base !== undefined || truncateFrom !== undefined)) {
      this.#mayDrop = true;
      this.#droppings++;
    }
    for (const segment of dropped) this.#state.segments.delete(segment.number);
    this.#remove(dropped);
  }

  /** Lays the batch out in the buffer. Returns the segments that it drops. */
  #encode(batch: WriteBatch): readonly Segment[] {
    const dropped = this.#mayDrop ? this.#free() : [];
    this.#buffer.clear();
    if (batch.promiseLimit !== undefined || dropped.length > 0) {
      this.#buffer.addServer({ promiseLimit: batch.promiseLimit, dropped: dropped.map(({ number }) => number) });
    }
    for (const write of batch.groups) this.#buffer.addGroup(write);
    return dropped;
  }

  /** Older segments without a live entry. */
  #free(): Segment[] {
    return [...this.#state.segments.values()].filter((segment) => segment.live === 0 && segment !== this.#current);
  }

  /** Writes what is in the buffer as the next batch. Returns its offset. Rejects with LogStoreWriteError: then it does not count. */
  async #append(buffer: BatchBuffer): Promise<number> {
    const { file, id, end, sequence } = this.#current;
    try {
      await file.write(buffer.seal(id, end, sequence + 1), end);
    } catch (error) {
      this.#failed = true;
      // At once, so that nothing is left of it even when the process ends next; else before the next write.
      await this.#switch(0).catch(() => undefined);
      throw error;
    }
    this.#current.end += buffer.length;
    this.#current.sequence++;
    return end;
  }

  /** Goes on in a new segment, with room for a batch of `bytes`. Rejects with LogStoreWriteError: then the next write tries again. */
  async #switch(bytes: number): Promise<void> {
    this.#next ??= await Segment.create(this.folder, this.#checkpoint(bytes));
    const next = this.#next;
    await this.#current.writeEnd(next);
    const free = this.#free().filter(({ number }) => next.checkpoint.segments.every((each) => each.number !== number));
    for (const { number } of free) this.#state.segments.delete(number);
    this.#state.segments.set(next.number, next);
    this.#current = next;
    this.#next = undefined;
    this.#failed = false;
    this.#mayDrop = true;
    this.#remove(free);
  }

  #checkpoint(bytes: number): Checkpoint {
    const { store, number } = this.#current.checkpoint;
    const free = this.#free();
    const needed = [...this.#state.segments.values()].filter((segment) => !free.includes(segment));
    const { promiseLimit, heads } = this.#state;
    const checkpoint = {
      ...aboutStore(this.options, store),
      number: number + 1,
      sequence: this.#current.sequence,
      promiseLimit,
      heads: [...heads],
      segments: needed.map(({ entry }) => entry),
    };
    return { ...checkpoint, size: sizeFor(this.options, bytes + JSON.stringify(checkpoint).length) };
  }

  /** Writes the live entries of the emptiest segment again, if it is time for that and they fit into `room` bytes. */
  async #emptyOne(room: number): Promise<void> {
    const older = [...this.#state.segments.values()].filter(
      ({ live, number }) => live > 0 && number !== this.#current.number,
    );
    const segment = segmentToEmpty(older, this.options.segmentBytes ?? SEGMENT_BYTES);
    if (segment === undefined || 2 * segment.live > room) return;
    const buffer = new BatchBuffer();
    for (const [group, index] of this.#state.indexes) {
      const base = this.#state.headOf(group).base.index;
      for (const run of runsOf(index.inSegment(segment.number))) {
        const entries: LogEntry[] = [];
        for (const span of spansOf(run)) entries.push(...(await readSpan(segment, group, span)));
        buffer.addGroup({ group, entries: entries.filter((entry) => entry.index > base) }, RecordKind.carried);
      }
    }
    const at = await this.#append(buffer);
    for (const record of buffer.records) {
      this.#state.indexOf(record.group).replace(placeOf(record, this.#current.number, at));
    }
  }

  async #read(group: GroupId, from: Index, to: Index, bytesMax: number): Promise<LogEntry[]> {
    for (;;) {
      const droppings = this.#droppings;
      const head = this.#state.headOf(group);
      const first = Math.max(1, from);
      const last = Math.min(to, head.lastIndex);
      if (first > last || first <= head.base.index) return [];
      const collector = new Collector(first, last, bytesMax, (index) => termOf(head, index));
      while (!collector.isFull && droppings === this.#droppings) await this.#collect(group, collector, last);
      if (collector.isFull) return collector.entries;
      // What was read and what is still to come may belong to different logs.
    }
  }

  /** Reads the next records that are wanted. Their files stay open for as long as this read is among the running ones. */
  async #collect(group: GroupId, collector: Collector, to: Index): Promise<void> {
    const { nextIndex } = collector;
    const places = this.#state.indexOf(group).find(nextIndex, to, collector.room);
    const spans = spansOf(places).map((span) => ({ span, segment: this.#state.segments.get(span[0]?.segment ?? 0) }));
    for (const { span, segment } of spans) {
      if (segment !== undefined) collector.add(await readSpan(segment, group, span), segment.path);
      if (collector.isFull) return;
    }
    if (collector.nextIndex > nextIndex) return;
    throw new LogStoreCorruptError(this.folder.path, `entry ${nextIndex} of group ${group} is missing`);
  }

  /** In the background, when no running read needs them. One that fails is removed by the next opening. */
  #remove(segments: readonly Segment[]): void {
    if (segments.length === 0) return;
    const reads = [...this.#reads];
    this.#removing = this.#removing.then(async () => {
      await Promise.allSettled(reads);
      for (const segment of segments) await segment.remove().catch(() => undefined);
    });
  }
}

function aboutStore(
  { cluster, server, groups }: LogStoreIdentity,
  store: string,
): Pick<Checkpoint, 'identity' | 'store'> {
  return { identity: { format: FORMAT, cluster, server, groups }, store };
}

/** Of a segment with room for a batch of `bytes`, and, if that is large, for carried entries (bytes). */
function sizeFor({ segmentBytes = SEGMENT_BYTES }: SegmentOptions, bytes: number): number {
  const needed = bytes + 4 * SECTOR_BYTES;
  const size = 2 * needed <= segmentBytes ? segmentBytes : segmentBytes + needed;
  return Math.ceil(size / SECTOR_BYTES) * SECTOR_BYTES;
}

function placeOf({ firstIndex, count, at, length }: BatchRecord, segment: number, batchAt: number): Place {
  return { firstIndex, count, segment, offset: batchAt + at, length };
}
