/**
 * Which ids are in the window (T8), compactly: for an id it gives the numbers of the stored rows
 * that may hold its outcome. It never misses an id that was added and has not expired. One that was
 * never added is taken for one of a row less than once in a hundred thousand times. So only a
 * probable duplicate asks the database.
 *
 * Ids lie in segments, hash tables of a fixed size. A segment takes ids until it is full or has
 * taken them for a quarter of the window, and goes as a whole once all of it has expired. Nothing
 * is moved, and nothing is removed one by one.
 *
 * An id takes five bytes of a table that is filled to about a half: ten bytes. A segment has 20 MiB
 * at most.
 */
import { randomInt } from 'node:crypto';
import type { Timestamp } from '../../../shared/raft/entry.js';
import { KeyedHash } from './keyed-hash.js';

const SLOTS_MIN = 1_024;
const SLOTS_MAX = 4_194_304;
/** A segment that was full too early is followed by one so many times as large. */
const GROWTH = 4;
const FILLED_MAX = 0.6;
/** Rows of one segment: their place in it takes 16 bits, and 0 is an empty slot. */
const ROWS_MAX = 65_535;
const SEGMENTS_PER_WINDOW = 4;

/**
 * Most ids unless told otherwise: about 90 MB. The default window holds so many when 11,000 to
 * 14,000 commands a second come in.
 */
const IDS_MAX = 8_388_608;

class Segment {
  /** Upper half: place of the row, from 1 on. Lower half: 16 bits of the id's hash. */
  private readonly slots: Uint32Array;
  /** Eight more bits. */
  private readonly checks: Uint8Array;
  /** Ids in it. */
  count = 0;
  /** Of an entry. */
  oldestUs = Number.POSITIVE_INFINITY;
  newestUs = Number.NEGATIVE_INFINITY;

  constructor(
    readonly slotCount: number,
    readonly firstRow: number,
  ) {
    this.slots = new Uint32Array(slotCount);
    this.checks = new Uint8Array(slotCount);
  }

  takes(row: number): boolean {
    const place = row - this.firstRow;
    return this.count < this.slotCount * FILLED_MAX && place >= 0 && place < ROWS_MAX;
  }

  add(home: number, print: number, row: number, timestampUs: Timestamp): void {
    const { slots, slotCount } = this;
    let at = placeOf(home, slotCount);
    while (slots[at] !== 0) at = at + 1 === slotCount ? 0 : at + 1;
    slots[at] = ((row - this.firstRow + 1) << 16) | (print & 0xffff);
    this.checks[at] = print >>> 16;
    this.count += 1;
    if (timestampUs < this.oldestUs) this.oldestUs = timestampUs;
    if (timestampUs > this.newestUs) this.newestUs = timestampUs;
  }

  find(home: number, print: number, found: number[]): void {
    const { slots, slotCount } = this;
    const low = print & 0xffff;
    const check = (print >>> 16) & 0xff;
    for (let at = placeOf(home, slotCount); ; at = at + 1 === slotCount ? 0 : at + 1) {
      const slot = slots[at] ?? 0;
      if (slot === 0) return;
      if ((slot & 0xffff) === low && this.checks[at] === check) found.push(this.firstRow + (slot >>> 16) - 1);
    }
  }
}

/** `home` scaled from 32 bits to a slot. */
function placeOf(home: number, slotCount: number): number {
  return Math.floor(((home >>> 0) * slotCount) / 2 ** 32);
}

export class RecentIds {
  /** Oldest first; the last one takes what comes. */
  private segments: Segment[] = [];
  private count = 0;
  /** Clients choose ids: which ones share a place is not for them to know. */
  private readonly hash = new KeyedHash(randomInt(2 ** 32) | 0, randomInt(2 ** 32) | 0);

  constructor(
    private readonly windowUs: number,
    private readonly idsMax: number = IDS_MAX,
  ) {}

  get size(): number {
    return this.count;
  }

  /** The first row that an id is in; undefined when there is none. */
  get firstRow(): number | undefined {
    return this.segments[0]?.firstRow;
  }

  hasRoomFor(ids: number): boolean {
    return this.count + ids <= this.idsMax;
  }

  /** Rows are given in ascending order. `timestampUs` is that of the entry. */
  add(id: string, row: number, timestampUs: Timestamp): void {
    const { hash } = this;
    hash.update(id);
    let segment = this.segments[this.segments.length - 1];
    const isOld = segment !== undefined && timestampUs - segment.oldestUs > this.windowUs / SEGMENTS_PER_WINDOW;
    if (segment === undefined || isOld || !segment.takes(row)) {
      segment = new Segment(slotsAfter(segment), row);
      this.segments.push(segment);
    }
    segment.add(hash.first, hash.last >>> 8, row, timestampUs);
    this.count += 1;
  }

  /**
   * Numbers of the rows in which the outcome of `id` may be, the newest first; undefined when it is
   * in none.
   */
  rowsOf(id: string): readonly number[] | undefined {
    const { hash } = this;
    hash.update(id);
    const found: number[] = [];
    for (let at = this.segments.length - 1; at >= 0; at--) this.segments[at]?.find(hash.first, hash.last >>> 8, found);
    return found.length === 0 ? undefined : found;
  }

  /** Forgets ids of entries before `horizonUs`, some of them later than at once. */
  expire(horizonUs: Timestamp): void {
    if (this.segments.every(({ newestUs }) => newestUs >= horizonUs)) return;
    this.segments = this.segments.filter(({ newestUs }) => newestUs >= horizonUs);
    this.count = this.segments.reduce((sum, { count }) => sum + count, 0);
  }
}

/**
 * For as many as came in the time of the one before, with room to spare; for many more when it was
 * full before that.
 */
function slotsAfter(before: Segment | undefined): number {
  if (before === undefined) return SLOTS_MIN;
  const isFull = before.count >= before.slotCount * FILLED_MAX;
  const slots = isFull ? before.slotCount * GROWTH : Math.ceil((before.count * 1.25) / FILLED_MAX);
  return Math.min(SLOTS_MAX, Math.max(SLOTS_MIN, slots));
}
