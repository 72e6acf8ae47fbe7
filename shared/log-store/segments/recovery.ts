/**
 * Opening a folder that holds a store: which segment is the newest, what all of them say, and
 * whether anything is missing or is not what was written. Reads everything, changes nothing.
 */
import { join } from 'node:path';
import { itemAt } from '../../raft/lists.js';
import { WireError } from '../../wire/wire-error.js';
import { LogStoreFormatError, type LogStoreIdentity, LogStoreIdentityError } from '../errors.js';
import { LogStoreUsageError } from '../head.js';
import { LogStoreCorruptError } from '../port.js';
import type { SegmentFolder } from './files.js';
import { FORMAT, type SegmentEntry } from './payload.js';
import { applyNewest, batchAt, beginNewest, endOf, placeOlder, type StoredRecord } from './replay.js';
import { fileOf, Segment } from './segment.js';
import { StoreState } from './state.js';
import { tailOf } from './tail.js';

export interface Recovered {
  readonly state: StoreState;
  readonly newest: Segment;
  /** Segments of this store that are needed no more. */
  readonly garbage: readonly Segment[];
  /**
   * The last batch of the newest segment, which may not be on the disk yet though it can be read.
   * Empty when there is none.
   */
  readonly lastBatch: Buffer;
}

/**
 * `numbers` are those of the segments in the folder, at least one, in order. Rejections as those of
 * SegmentLogStore.open.
 */
export async function recover(
  folder: SegmentFolder,
  numbers: readonly number[],
  identity: LogStoreIdentity,
): Promise<Recovered> {
  const opened: Segment[] = [];
  try {
    return await new Recovery(folder, numbers, identity, opened).run();
  } catch (error) {
    for (const segment of opened) await segment.file.close();
    throw error;
  }
}

class Recovery {
  constructor(
    private readonly folder: SegmentFolder,
    private readonly numbers: readonly number[],
    private readonly identity: LogStoreIdentity,
    private readonly opened: Segment[],
  ) {}

  async run(): Promise<Recovered> {
    const newest = await this.#findNewest();
    const { promiseLimit, heads, segments: older } = newest.checkpoint;
    const state = new StoreState(promiseLimit, new Map(heads));
    const { segments } = state;
    const isThere = (number: number) => this.numbers.includes(number);
    for (const entry of older) {
      if (!isThere(entry.number)) continue;
      const segment = await this.#open(entry.number);
      segments.set(entry.number, segment);
      await this.#readOlder(segment, entry, state);
    }
    beginNewest(state);
    segments.set(newest.number, newest);
    const dropped = new Set<number>();
    const lastBatch = await this.#readNewest(newest, state, dropped);

    const lost = older.find(({ number }) => !isThere(number) && !dropped.has(number));
    if (lost !== undefined) throw this.#missing(lost.number);
    const group = state.incomplete();
    if (group !== undefined) {
      throw new LogStoreCorruptError(this.folder.path, `entries of group ${group} are in none of the segments`);
    }
    const garbage: Segment[] = [];
    for (const number of this.numbers) {
      const isNeeded = segments.has(number) && !dropped.has(number);
      if (isNeeded || number > newest.number) continue;
      garbage.push(await this.#openGarbage(number, newest));
      segments.delete(number);
    }
    return { state, newest, garbage, lastBatch };
  }

  /** The last one that batches may have been written to: the one before it says that it goes on. */
  async #findNewest(): Promise<Segment> {
    const last = await this.#openLast(this.numbers.length - 1);
    const before = this.numbers.at(-2);
    if (before === last.number - 1) {
      const previous = await this.#openLast(this.numbers.length - 2);
      const end = await previous.readEnd();
      if (end === undefined) {
        // The switch to it was not finished, so nothing that was acknowledged is in it.
        const isUsed = batchAt(await last.readAll(), last.start, last.id, last.sequence + 1) !== undefined;
        await last.file.close();
        if (!isUsed) return previous;
        throw new LogStoreCorruptError(
          previous.path,
          'the segment has no end, though the next one has been written to',
        );
      }
      if (end.number !== last.number || end.id !== last.id.toString('hex')) {
        throw new LogStoreCorruptError(
          last.path,
          `it is not the segment that goes on after ${fileOf(previous.number)}`,
        );
      }
    }
    const end = await last.readEnd();
    if (end !== undefined) throw this.#missing(end.number);
    return last;
  }

  async #openLast(at: number): Promise<Segment> {
    const segment = await this.#open(itemAt(this.numbers, at));
    const { format, cluster, server, groups } = segment.checkpoint.identity;
    if (format !== FORMAT) throw new LogStoreFormatError(this.folder.path, format, FORMAT);
    const { identity } = this;
    if (cluster !== identity.cluster || server !== identity.server || groups !== identity.groups) {
      const expected = { cluster: identity.cluster, server: identity.server, groups: identity.groups };
      throw new LogStoreIdentityError(this.folder.path, expected, { cluster, server, groups });
    }
    return segment;
  }

  /**
   * One that a crash has left behind after it was dropped. A file that is not of this store is
   * nothing to remove.
   */
  async #openGarbage(number: number, { checkpoint }: Segment): Promise<Segment> {
    const segment = await this.#open(number);
    if (segment.checkpoint.store === checkpoint.store) return segment;
    throw new LogStoreCorruptError(segment.path, 'the segment belongs to another store');
  }

  async #open(number: number): Promise<Segment> {
    const already = this.opened.find((segment) => segment.number === number);
    if (already !== undefined) return already;
    const segment = await Segment.open(this.folder, number);
    this.opened.push(segment);
    return segment;
  }

  #missing(number: number): LogStoreCorruptError {
    return new LogStoreCorruptError(join(this.folder.path, fileOf(number)), 'the segment is missing');
  }

  async #readOlder(segment: Segment, { id, size, end, sequence }: SegmentEntry, state: StoreState): Promise<void> {
    if (segment.id.toString('hex') !== id || segment.file.size !== size) {
      throw new LogStoreCorruptError(segment.path, 'it is another segment than the one that belongs there');
    }
    const bytes = await segment.file.read(0, end);
    this.#readBatches(segment, bytes, (records) => placeOlder(state, records, segment.number));
    if (segment.end !== end || segment.sequence !== sequence) throw damagedAt(segment);
  }

  /** Returns the bytes of the last batch; adds the segments that are dropped. */
  async #readNewest(segment: Segment, state: StoreState, dropped: Set<number>): Promise<Buffer> {
    const bytes = await segment.readAll();
    let last = segment.start;
    this.#readBatches(segment, bytes, (records) => {
      for (const number of applyNewest(state, records, segment.number)) dropped.add(number);
      last = segment.end;
    });
    const place = { id: segment.id, shift: 0, sequence: segment.sequence + 1 };
    if (tailOf(bytes, segment.end, place) === 'damaged') throw damagedAt(segment);
    return Buffer.from(bytes.subarray(last, segment.end));
  }

  /**
   * Gives `use` one batch after the other, up to the first that is not whole, and sets the
   * segment's end behind them.
   */
  #readBatches(segment: Segment, bytes: Buffer, use: (records: readonly StoredRecord[]) => void): void {
    for (;;) {
      const records = batchAt(bytes, segment.end, segment.id, segment.sequence + 1);
      if (records === undefined) return;
      try {
        use(records);
      } catch (cause) {
        if (!(cause instanceof WireError || cause instanceof LogStoreUsageError)) throw cause;
        throw damagedAt(segment, cause);
      }
      segment.end = endOf(records);
      segment.sequence++;
    }
  }
}

function damagedAt({ path, end }: Segment, cause?: Error): LogStoreCorruptError {
  return new LogStoreCorruptError(`${path} at byte ${end}`, 'the segment is damaged', cause && { cause });
}
