/**
 * What the store knows in memory: its segments, the head of every group, and where its entries lie.
 * Pure.
 */
import { type GroupId, indexAfter, type Timestamp } from '../../raft/entry.js';
import { EMPTY_HEAD, type GroupHead, headOnBase } from '../head.js';
import type { GroupWrite } from '../port.js';
import { GroupIndex, type Place } from './group-index.js';
import type { Segment } from './segment.js';

export class StoreState {
  readonly indexes = new Map<GroupId, GroupIndex>();
  /** Those that are needed, by number, in order; the newest is the last. */
  readonly segments = new Map<number, Segment>();

  constructor(
    public promiseLimit: Timestamp,
    readonly heads: Map<GroupId, GroupHead>,
  ) {}

  headOf(group: GroupId): GroupHead {
    return this.heads.get(group) ?? EMPTY_HEAD;
  }

  indexOf(group: GroupId): GroupIndex {
    const found = this.indexes.get(group);
    if (found !== undefined) return found;
    const made = new GroupIndex((number, bytes) => {
      const segment = this.segments.get(number);
      if (segment !== undefined) segment.live += bytes;
    });
    this.indexes.set(group, made);
    return made;
  }

  /**
   * Takes note of writes, each with the place of its entries if it has any, after which the heads
   * are `heads`.
   */
  apply(
    writes: readonly GroupWrite[],
    places: readonly (Place | undefined)[],
    heads: ReadonlyMap<GroupId, GroupHead>,
  ): void {
    for (const [at, write] of writes.entries()) {
      const index = this.indexOf(write.group);
      const place = places[at];
      if (write.base !== undefined) {
        const { base, lastIndex } = headOnBase(this.headOf(write.group), write);
        index.truncate(indexAfter(lastIndex));
        index.removeUpTo(base.index);
      }
      if (write.truncateFrom !== undefined) index.truncate(write.truncateFrom);
      if (place !== undefined) index.append(place);
    }
    for (const [group, head] of heads) this.heads.set(group, head);
  }

  /** A group of which an entry has no place, if there is one. */
  incomplete(): GroupId | undefined {
    for (const [group, { base, lastIndex }] of this.heads) {
      if (!this.indexOf(group).covers(base.index, lastIndex)) return group;
    }
    return undefined;
  }
}
