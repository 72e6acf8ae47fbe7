/**
 * Where the entries of one group lie: for each record with entries of it 24 bytes in typed arrays,
 * found by bisection. It grows with the records of the log, each of which holds at least one entry.
 * With room to grow it takes 24 to 36 bytes a record.
 */
import type { LogIndex } from '../../raft/entry.js';
import { itemAt } from '../../raft/lists.js';

/** A record with entries of the group. */
export interface Place {
  readonly firstIndex: LogIndex;
  readonly count: number;
  /** Number of the segment. */
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
}

const CAPACITY_MIN = 64;

export class GroupIndex {
  #first = new Float64Array(CAPACITY_MIN);
  #count = new Uint32Array(CAPACITY_MIN);
  #segment = new Uint32Array(CAPACITY_MIN);
  #offset = new Uint32Array(CAPACITY_MIN);
  #length = new Uint32Array(CAPACITY_MIN);
  #start = 0;
  #end = 0;

  /**
   * `onChange` hears of each record that is taken in, with its length, or goes, with the negative
   * length.
   */
  constructor(private readonly onChange: (segment: number, bytes: number) => void) {}

  /** Records. */
  get size(): number {
    return this.#end - this.#start;
  }

  /** Entries that were appended; they replace whatever was at their indexes and after them. */
  append(place: Place): void {
    this.truncate(place.firstIndex);
    this.#reserve();
    this.#set(this.#end++, place);
    this.onChange(place.segment, place.length);
  }

  /** Drops what is at or after `from`. */
  truncate(from: LogIndex): void {
    while (this.size > 0 && itemAt(this.#first, this.#end - 1) >= from) this.#drop(--this.#end);
    if (this.size > 0 && this.#last(this.#end - 1) >= from) {
      this.#count[this.#end - 1] = from - itemAt(this.#first, this.#end - 1);
    }
  }

  /** Drops records that have nothing above `base`. */
  removeUpTo(base: LogIndex): void {
    while (this.size > 0 && this.#last(this.#start) <= base) this.#drop(this.#start++);
  }

  /**
   * The entries of `place` are read from there from now on. Takes time that grows with the index:
   * for use when a segment begins.
   */
  replace(place: Place): void {
    const last = place.firstIndex + place.count - 1;
    const behind: Place[] = [];
    while (this.size > 0 && this.#last(this.#end - 1) > last) behind.push(this.#pop());
    const across = behind[behind.length - 1];
    if (across !== undefined && across.firstIndex < place.firstIndex) {
      this.append({ ...across, count: place.firstIndex - across.firstIndex });
    }
    this.append(place);
    for (const each of behind.reverse()) {
      const firstIndex = Math.max(each.firstIndex, last + 1);
      this.append({ ...each, firstIndex, count: each.firstIndex + each.count - firstIndex });
    }
  }

  /** Whether it has every entry after `base` up to `lastIndex`, and none beyond. */
  covers(base: LogIndex, lastIndex: LogIndex): boolean {
    let next = base + 1;
    for (let at = this.#start; at < this.#end; at++) {
      if (itemAt(this.#first, at) > next) return false;
      next = this.#last(at) + 1;
    }
    return next === lastIndex + 1;
  }

  /**
   * Records with the entries from `from` to `to`: as many as it takes for about `bytesMax` bytes,
   * but at least one.
   */
  find(from: LogIndex, to: LogIndex, bytesMax: number): Place[] {
    const places: Place[] = [];
    let bytes = 0;
    for (let at = this.#at(from); at < this.#end && itemAt(this.#first, at) <= to; at++) {
      places.push(this.#get(at));
      // The first one may be needed in part only, so it counts for nothing.
      if (places.length > 1) bytes += itemAt(this.#length, at);
      if (bytes >= bytesMax) break;
    }
    return places;
  }

  /** Records in one segment, in order of index. Takes time that grows with the index. */
  inSegment(segment: number): Place[] {
    const places: Place[] = [];
    for (let at = this.#start; at < this.#end; at++) if (this.#segment[at] === segment) places.push(this.#get(at));
    return places;
  }

  /** The first record that ends at or after `index`. */
  #at(index: LogIndex): number {
    let low = this.#start;
    let high = this.#end;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#last(middle) < index) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #last(at: number): LogIndex {
    return itemAt(this.#first, at) + itemAt(this.#count, at) - 1;
  }

  #get(at: number): Place {
    return {
      firstIndex: itemAt(this.#first, at),
      count: itemAt(this.#count, at),
      segment: itemAt(this.#segment, at),
      offset: itemAt(this.#offset, at),
      length: itemAt(this.#length, at),
    };
  }

  #set(at: number, { firstIndex, count, segment, offset, length }: Place): void {
    this.#first[at] = firstIndex;
    this.#count[at] = count;
    this.#segment[at] = segment;
    this.#offset[at] = offset;
    this.#length[at] = length;
  }

  #pop(): Place {
    const place = this.#get(--this.#end);
    this.#drop(this.#end);
    return place;
  }

  #drop(at: number): void {
    this.onChange(itemAt(this.#segment, at), -itemAt(this.#length, at));
  }

  /** Makes room for one more: moves what is there to the front of arrays of a size that fits. */
  #reserve(): void {
    if (this.#end < this.#first.length) return;
    const [start, end] = [this.#start, this.#end];
    const capacity = Math.ceil(1.5 * this.size) + CAPACITY_MIN;
    const moved = <T extends Float64Array | Uint32Array>(from: T, to: T): T => {
      to.set(from.subarray(start, end));
      return to;
    };
    this.#first = moved(this.#first, new Float64Array(capacity));
    this.#count = moved(this.#count, new Uint32Array(capacity));
    this.#segment = moved(this.#segment, new Uint32Array(capacity));
    this.#offset = moved(this.#offset, new Uint32Array(capacity));
    this.#length = moved(this.#length, new Uint32Array(capacity));
    this.#end -= start;
    this.#start = 0;
  }
}
