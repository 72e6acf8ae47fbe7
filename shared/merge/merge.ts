/**
 * The merged log: a k-way merge of the groups' committed logs by timestamp (T4).
 *
 *   group 0   ──▶ [12:00.003] [12:00.007]                     watermark 12:00.007 ┐
 *   group 1   ──▶ [12:00.004]                                 watermark 12:00.006 ├─▶ lowest watermark 12:00.005
 *   group 2   ──▶                                             watermark 12:00.005 ┘
 *                      │
 *                      ▼   smallest (timestamp, group) first, as long as it is <= every group's watermark
 *   merged    ──▶ 1: [12:00.003 g0]   2: [12:00.004 g1]       [12:00.007 g0] waits until groups 1 and 2 pass it
 *
 * A watermark says that no entry at or below it is still to come from its group (T3). Therefore an
 * entry that is at or below all of them, and the smallest of the queues' heads, has its final
 * place. No-ops and configurations take no place: they are consumed as soon as they are at the head
 * of their queue, since nothing is ordered against them.
 *
 * Pure and synchronous. What it emits depends only on the groups' logs, not on when or in which
 * pieces they arrive.
 */
import { InvariantError } from '../raft/assert.js';
import {
  BEFORE_ALL,
  BEFORE_FIRST,
  EntryKind,
  type GroupId,
  indexAfter,
  type LogEntry,
  type LogIndex,
  type MergedIndex,
  NOTHING_MERGED,
  type Timestamp,
} from '../raft/entry.js';
import { lastOf, ofGroup, type PerGroup } from '../raft/lists.js';
import { EMPTY_CHECKSUM, RunningChecksum } from './checksum.js';

/** Running checksums are compared between servers at multiples of this merged index. */
export const CHECKPOINT_INTERVAL = 1_000;

/** In place of the first index that has not arrived: nothing of this group is wanted now. */
export const NOT_WANTED: LogIndex = 0;

/** Where a merge stands; enough to go on from. */
export interface MergePosition {
  /** Merged index of the last entry emitted; NOTHING_MERGED at the beginning. */
  readonly mergedIndex: MergedIndex;
  readonly checksum: string;
  /** The indexes of the last entries consumed. */
  readonly positions: PerGroup<LogIndex>;
}

export interface MergedRun {
  readonly firstMergedIndex: MergedIndex;
  readonly groups: GroupId[];
  readonly entries: LogEntry[];
  readonly checkpoints: { mergedIndex: MergedIndex; checksum: string }[];
  /** Where the merge stands after this run. */
  readonly after: MergePosition;
}

interface Queue {
  /** Entries that have arrived and are not consumed, from `head` on. */
  entries: LogEntry[];
  head: number;
  /** Index of the last entry consumed. */
  consumed: LogIndex;
  /** Index of the last entry that has arrived. */
  arrived: LogIndex;
  /** Size of the entries that have arrived and are not consumed. */
  bytes: number;
  watermark: Timestamp;
}

/** The position before the first entry of any group. */
export function mergeStart(groups: number): MergePosition {
  return {
    mergedIndex: NOTHING_MERGED,
    checksum: EMPTY_CHECKSUM,
    positions: new Array<LogIndex>(groups).fill(BEFORE_FIRST),
  };
}

/** Size of the entries of a run. */
export function bytesOf({ entries }: MergedRun): number {
  let bytes = 0;
  for (const entry of entries) bytes += entry.bytes.length;
  return bytes;
}

/** Runs that follow each other, as one. */
export function joined(runs: readonly [MergedRun, ...MergedRun[]]): MergedRun {
  const [first] = runs;
  if (runs.length === 1) return first;
  return {
    firstMergedIndex: first.firstMergedIndex,
    groups: runs.flatMap(({ groups }) => groups),
    entries: runs.flatMap(({ entries }) => entries),
    checkpoints: runs.flatMap(({ checkpoints }) => checkpoints),
    after: lastOf(runs).after,
  };
}

/** A run without entries that says where a log goes on which lacks what is before (T10). */
export function anchorAt(after: MergePosition): MergedRun {
  return { firstMergedIndex: indexAfter(after.mergedIndex), groups: [], entries: [], checkpoints: [], after };
}

export class Merge {
  private readonly queues: PerGroup<Queue>;
  private readonly checksum: RunningChecksum;
  private mergedIndex: MergedIndex;

  constructor(position: MergePosition) {
    this.mergedIndex = position.mergedIndex;
    this.checksum = new RunningChecksum(position.checksum);
    this.queues = position.positions.map((consumed) => ({
      entries: [],
      head: 0,
      consumed,
      arrived: consumed,
      bytes: 0,
      watermark: BEFORE_ALL,
    }));
  }

  /**
   * Adds committed entries of one group, and its watermark. Entries that have arrived before are
   * skipped; a gap after what has arrived means that the caller lost something and is refused with
   * an error.
   */
  add(group: GroupId, entries: readonly LogEntry[], watermark: Timestamp): void {
    const queue = ofGroup(this.queues, group);
    for (const entry of entries) {
      if (entry.index <= queue.arrived) continue;
      if (entry.index !== queue.arrived + 1) {
        throw new InvariantError(`group ${group}: entry ${entry.index} comes after ${queue.arrived}`);
      }
      queue.arrived = entry.index;
      queue.entries.push(entry);
      queue.bytes += entry.bytes.length;
    }
    if (watermark > queue.watermark) queue.watermark = watermark;
    this.consumeUnordered(queue);
  }

  /**
   * Emits up to `entriesMax` entries or `bytesMax` bytes (at least one entry) that have their final
   * place, or null.
   */
  emit(entriesMax: number, bytesMax: number): MergedRun | null {
    const lowest = this.lowestWatermark();
    const groups: GroupId[] = [];
    const entries: LogEntry[] = [];
    const checkpoints: { mergedIndex: MergedIndex; checksum: string }[] = [];
    const firstMergedIndex = indexAfter(this.mergedIndex);
    let bytes = 0;
    while (entries.length < entriesMax && bytes < bytesMax) {
      const group = this.smallestHead();
      if (group === null) break;
      const queue = ofGroup(this.queues, group);
      const entry = queue.entries[queue.head];
      if (entry === undefined || entry.timestamp > lowest) break;
      if (entries.length > 0 && bytes + entry.bytes.length > bytesMax) break;
      this.shift(queue, entry);
      this.consumeUnordered(queue);
      this.mergedIndex += 1;
      this.checksum.add(group, entry.index, entry.bytes);
      if (this.mergedIndex % CHECKPOINT_INTERVAL === 0) {
        checkpoints.push({ mergedIndex: this.mergedIndex, checksum: this.checksum.toString() });
      }
      groups.push(group);
      entries.push(entry);
      bytes += entry.bytes.length;
    }
    if (entries.length === 0) return null;
    return { firstMergedIndex, groups, entries, checkpoints, after: this.position() };
  }

  position(): MergePosition {
    return {
      mergedIndex: this.mergedIndex,
      checksum: this.checksum.toString(),
      positions: this.queues.map((queue) => queue.consumed),
    };
  }

  /**
   * The first index of each group that has not arrived yet; NOT_WANTED for one with
   * `bytesPerGroupMax` waiting already. No more of it is wanted until the others let it go on. This
   * bounds memory without ever starving the group that the merge waits for.
   */
  wanted(bytesPerGroupMax: number): PerGroup<LogIndex> {
    return this.queues.map((queue) => (queue.bytes >= bytesPerGroupMax ? NOT_WANTED : indexAfter(queue.arrived)));
  }

  /** The bytes that have arrived and wait for their place. */
  waitingBytes(): PerGroup<number> {
    return this.queues.map((queue) => queue.bytes);
  }

  watermarks(): PerGroup<Timestamp> {
    return this.queues.map((queue) => queue.watermark);
  }

  /**
   * The largest timestamp that waits for other groups to close up to it (T5); BEFORE_ALL when
   * nothing waits.
   */
  waitingFor(): Timestamp {
    let largest = BEFORE_ALL;
    for (const queue of this.queues) {
      const last = queue.entries[queue.entries.length - 1];
      if (queue.head < queue.entries.length && last !== undefined && last.timestamp > largest) {
        largest = last.timestamp;
      }
    }
    return largest > this.lowestWatermark() ? largest : BEFORE_ALL;
  }

  /** The group that the merge waits for, with its watermark; undefined when nothing waits. */
  heldBy(): { readonly group: GroupId; readonly watermark: Timestamp } | undefined {
    if (this.waitingFor() === BEFORE_ALL) return undefined;
    const watermark = this.lowestWatermark();
    return { group: this.queues.findIndex((queue) => queue.watermark === watermark), watermark };
  }

  private smallestHead(): GroupId | null {
    let best: GroupId | null = null;
    let bestTimestamp = Number.POSITIVE_INFINITY;
    for (let group = 0; group < this.queues.length; group++) {
      const queue = ofGroup(this.queues, group);
      const head = queue.entries[queue.head];
      // Strictly smaller: of equal timestamps the smaller group goes first, on every server.
      if (head !== undefined && head.timestamp < bestTimestamp) {
        best = group;
        bestTimestamp = head.timestamp;
      }
    }
    return best;
  }

  private lowestWatermark(): Timestamp {
    let lowest = Number.POSITIVE_INFINITY;
    for (const queue of this.queues) if (queue.watermark < lowest) lowest = queue.watermark;
    return lowest;
  }

  private consumeUnordered(queue: Queue): void {
    let entry = queue.entries[queue.head];
    while (entry !== undefined && entry.kind !== EntryKind.command) {
      this.shift(queue, entry);
      entry = queue.entries[queue.head];
    }
  }

  private shift(queue: Queue, entry: LogEntry): void {
    queue.consumed = entry.index;
    queue.head += 1;
    queue.bytes -= entry.bytes.length;
    if (queue.head === queue.entries.length) {
      queue.entries = [];
      queue.head = 0;
    } else if (queue.head >= 1_024 && queue.head * 2 > queue.entries.length) {
      queue.entries = queue.entries.slice(queue.head);
      queue.head = 0;
    }
  }
}
