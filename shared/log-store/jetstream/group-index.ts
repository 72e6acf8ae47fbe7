/**
 * Where the entries of one group lie in the stream: runs of indexes, each in one record. In memory,
 * and made anew from the stream at a restart; it grows with the messages of the log, not with its
 * entries.
 */
import type { GroupId, LogIndex } from '../../raft/entry.js';
import { itemAt } from '../../raft/lists.js';

export interface Segment {
  readonly from: LogIndex;
  readonly to: LogIndex;
  /** Of the first message of the record, and how many it has. */
  readonly sequence: number;
  readonly parts: number;
  /** Of the block; some more than the entries take when the segment has been cut. */
  readonly bytes: number;
}

export class GroupIndex {
  /** In order of index, and contiguous once the log is known. */
  #segments: Segment[] = [];

  get segments(): readonly Segment[] {
    return this.#segments;
  }

  /** Entries that were appended; they replace whatever was at their indexes and after them. */
  append(segment: Segment): void {
    this.truncate(segment.from);
    this.#segments.push(segment);
  }

  /** Drops what is at or after `from`. */
  truncate(from: LogIndex): void {
    while ((this.#segments.at(-1)?.from ?? -1) >= from) this.#segments.pop();
    const last = this.#segments.at(-1);
    if (last !== undefined && last.to >= from) this.#segments[this.#segments.length - 1] = { ...last, to: from - 1 };
  }

  /** Drops what is at or below `base`. */
  removeUpTo(base: LogIndex): void {
    const kept = this.#at(base + 1);
    if (kept > 0) this.#segments.splice(0, kept);
    const first = this.#segments[0];
    if (first !== undefined && first.from <= base) this.#segments[0] = { ...first, from: base + 1 };
  }

  /** The entries of `segment` are read from there from now on. */
  move(segment: Segment): void {
    const { from, to } = segment;
    const before = this.#segments.filter((each) => each.from < from);
    const after = this.#segments.filter((each) => each.to > to);
    this.#segments = [
      ...before.map((each) => (each.to < from ? each : { ...each, to: from - 1 })),
      segment,
      ...after.map((each) => (each.from > to ? each : { ...each, from: to + 1 })),
    ];
  }

  /** Whether it has every entry after `base` up to `lastIndex`, and no other. */
  covers(base: LogIndex, lastIndex: LogIndex): boolean {
    let next = base + 1;
    for (const { from, to } of this.#segments) {
      if (from !== next) return false;
      next = to + 1;
    }
    return next === lastIndex + 1;
  }

  /**
   * The segments with the entries from `from` on, as many as it takes for about `bytesMax` bytes,
   * at most `countMax`.
   */
  from(from: LogIndex, to: LogIndex, bytesMax: number, countMax: number): readonly Segment[] {
    const start = this.#at(from);
    let end = start;
    let bytes = 0;
    // The first one may be needed in part only, so it counts for nothing.
    while (end < this.#segments.length && end - start < countMax && (end === start || bytes < bytesMax)) {
      const segment = this.#segments[end];
      if (segment === undefined || segment.from > to) break;
      if (end > start) bytes += segment.bytes;
      end++;
    }
    return this.#segments.slice(start, end);
  }

  /** The position of the first segment that ends at or after `index`. */
  #at(index: LogIndex): number {
    let low = 0;
    let high = this.#segments.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (itemAt(this.#segments, middle).to < index) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** That of a group, which is made when it is asked for the first time. */
export function indexOf(indexes: Map<GroupId, GroupIndex>, group: GroupId): GroupIndex {
  const found = indexes.get(group) ?? new GroupIndex();
  indexes.set(group, found);
  return found;
}
