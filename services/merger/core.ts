/**
 * What a merger decides: when to fetch, what to emit, what to store, where to go on. Pure: the
 * merge itself is shared/merge, the world is service.ts (and, in tests, the simulator).
 *
 *     feed ──▶ merge ──▶ emit, at once: the applier takes it from memory
 *                  └───▶ store, behind: larger messages for the stream, one under way at a time
 *
 * The stream is not on the path of a command, because it can be written again from the groups'
 * logs. What is emitted and not stored is bounded: beyond the bound nothing more is merged. A
 * restart goes on from the stream's last message, and emits again what was not stored: the same
 * entries at the same places (T4).
 */

import {
  anchorAt,
  bytesOf,
  joined,
  Merge,
  type MergedRun,
  type MergePosition,
  NOT_WANTED,
} from '../../shared/merge/merge.js';
import { InvariantError } from '../../shared/raft/assert.js';
import type { GroupId, LogIndex, MonotonicMs, Timestamp } from '../../shared/raft/entry.js';
import type { PerGroup } from '../../shared/raft/lists.js';
import type { FeedGroup, FeedRequest } from '../../shared/wire/feed.js';

export interface MergerLimits {
  /** Most entries, and bytes of entries, in one run and in one message of the stream. */
  readonly batchEntriesMax: number;
  readonly batchBytesMax: number;
  /** Most bytes of entries in one answer of the feed. */
  readonly fetchBytesMax: number;
  /** Most bytes of one group that wait for other groups. */
  readonly waitingBytesMax: number;
  /** Most bytes of entries that are emitted and not stored. */
  readonly unstoredBytesMax: number;
  /**
   * What is emitted is stored after this at the latest (milliseconds); earlier when a message is
   * full.
   */
  readonly storeDelayMs: number;
}

export const MERGER_DEFAULTS: MergerLimits = {
  batchEntriesMax: 2_048,
  batchBytesMax: 512 * 1024,
  fetchBytesMax: 512 * 1024,
  waitingBytesMax: 4 * 1024 * 1024,
  unstoredBytesMax: 4 * 1024 * 1024,
  storeDelayMs: 50,
};

export interface FetchEffect extends FeedRequest {
  readonly type: 'fetch';
}

/** The run has its final place: readers at the end of the log get it. */
interface EmitEffect {
  readonly type: 'emit';
  readonly run: MergedRun;
}

/** The stream is to have it; answer with `stored`. Never two at a time. */
interface StoreEffect {
  readonly type: 'store';
  readonly run: MergedRun;
}

/**
 * The log is gone up to these indexes: ask the state machine where it is, at or beyond them, and
 * answer with `rebase` (T10).
 */
export interface LocateEffect {
  readonly type: 'locate';
  readonly atLeast: PerGroup<LogIndex>;
}

export type MergerEffect = FetchEffect | EmitEffect | StoreEffect | LocateEffect;

interface Unstored {
  readonly run: MergedRun;
  readonly bytes: number;
  readonly emittedAtMs: MonotonicMs;
}

/**
 * What the merge waits for, and since when that has been so (milliseconds, the clock of `advance`).
 */
export interface Held {
  readonly group: GroupId;
  readonly watermark: Timestamp;
  readonly sinceMs: MonotonicMs;
}

export class MergerCore {
  private merge: Merge;
  private isFetching = false;
  private isLocating = false;
  /** Size of what is on its way to the stream; null while nothing is. */
  private storingBytes: number | null = null;
  /** Emitted, and not on its way to the stream, in order. */
  private readonly unstored: Unstored[] = [];
  private unstoredBytes = 0;
  /** Where the feed begins, when that is beyond where this merge stands. */
  private bases: PerGroup<LogIndex> | null = null;
  /** Says in the log that it goes on elsewhere; emitted before anything else. */
  private anchor: MergedRun | null = null;
  private isFlushing = false;
  private nowMs: MonotonicMs = 0;
  private held: Held | undefined;
  /** What one message carries (bytes of entries). */
  private carriedBytes = Number.POSITIVE_INFINITY;

  constructor(
    position: MergePosition,
    private readonly limits: MergerLimits = MERGER_DEFAULTS,
  ) {
    this.merge = new Merge(position);
  }

  /**
   * Time has passed (milliseconds, never goes back): before every event, and when `nextWakeMs` is
   * over.
   */
  advance(nowMs: MonotonicMs): void {
    this.nowMs = nowMs;
  }

  /** A message carries so many bytes of entries from now on. */
  carry(bytes: number): void {
    this.carriedBytes = bytes;
  }

  /** When `next` is to be called although nothing happens; null: never. */
  get nextWakeMs(): MonotonicMs | null {
    const [first] = this.unstored;
    return first === undefined || this.storingBytes !== null ? null : first.emittedAtMs + this.limits.storeDelayMs;
  }

  /**
   * What is to be done now, in this order. Answer a fetch with `fed` or `fetchFailed`, a store with
   * `stored`, a locate with `rebase`.
   */
  next(): MergerEffect[] {
    const effects: MergerEffect[] = [];
    for (let run = this.nextRun(); run !== null; run = this.nextRun()) {
      effects.push({ type: 'emit', run });
      this.keep(run);
    }
    this.noteHeld();
    if (this.isStoreDue) effects.push({ type: 'store', run: this.takeUnstored() });
    if (this.bases !== null) {
      // What has been merged before goes first, so that the anchor lies behind it.
      if (!this.isLocating && this.isStored) {
        this.isLocating = true;
        effects.push({ type: 'locate', atLeast: this.bases });
      }
    } else if (!this.isFetching && !this.isFlushing) {
      const positions = this.merge.wanted(this.limits.waitingBytesMax);
      // With every group's room full only a store can go on; with some it is the others that the
      // merge waits for.
      if (positions.some((position) => position !== NOT_WANTED)) {
        this.isFetching = true;
        effects.push({
          type: 'fetch',
          positions,
          watermarks: this.merge.watermarks(),
          waitingFor: this.merge.waitingFor(),
          bytesMax: Math.min(this.limits.fetchBytesMax, this.carriedBytes),
        });
      }
    }
    return effects;
  }

  /** `bases`: some of what was asked for is gone, up to these indexes. */
  fed(groups: readonly FeedGroup[], bases: PerGroup<LogIndex> | null = null): void {
    this.isFetching = false;
    this.bases = bases;
    for (const { group, entries, watermark } of groups) this.merge.add(group, entries, watermark);
  }

  /** No answer, or a useless one: ask again. */
  fetchFailed(): void {
    this.isFetching = false;
  }

  /**
   * Answers `locate`: the state machine is there, so the merge goes on from there. Null: it could
   * not be told, ask again.
   */
  rebase(position: MergePosition | null): void {
    this.isLocating = false;
    if (position === null) return;
    this.bases = null;
    // Behind what is merged already, it says nothing; the feed will tell what it lacks.
    if (position.mergedIndex <= this.merge.position().mergedIndex) return;
    this.merge = new Merge(position);
    this.anchor = anchorAt(position);
  }

  /** The stream has what was to be stored. */
  stored(): void {
    this.storingBytes = null;
  }

  /** Nothing more is merged; what has been emitted is stored without delay. */
  flush(): void {
    this.isFlushing = true;
  }

  /** Everything that was emitted is in the stream. */
  get isStored(): boolean {
    return this.unstored.length === 0 && this.storingBytes === null;
  }

  position(): MergePosition {
    return this.merge.position();
  }

  /**
   * The group that the merge waits for, with its watermark, and since when it has been that one.
   * Undefined when nothing waits, and while nothing may be merged: then the merge waits for the
   * stream, and the watermarks stand still because nothing more is fetched.
   */
  heldBy(): Held | undefined {
    return this.held;
  }

  /** For each group the bytes that wait for other groups, and how many may. */
  waitingBytes(): { readonly now: number; readonly max: number }[] {
    return this.merge.waitingBytes().map((now) => ({ now, max: this.limits.waitingBytesMax }));
  }

  /** Bytes that are emitted and not stored, and how many may be. */
  get unstoredFill(): { readonly now: number; readonly max: number } {
    return { now: this.unstoredBytes + (this.storingBytes ?? 0), max: this.limits.unstoredBytesMax };
  }

  private noteHeld(): void {
    const by = this.mayMerge ? this.merge.heldBy() : undefined;
    const { held } = this;
    if (by === undefined) this.held = undefined;
    else if (held?.group !== by.group || held.watermark !== by.watermark) this.held = { ...by, sinceMs: this.nowMs };
  }

  private nextRun(): MergedRun | null {
    const { anchor, limits } = this;
    this.anchor = null;
    if (anchor !== null) return anchor;
    return this.mayMerge ? this.merge.emit(limits.batchEntriesMax, this.batchBytesMax) : null;
  }

  private get mayMerge(): boolean {
    const { now, max } = this.unstoredFill;
    return !this.isFlushing && now < max;
  }

  private get batchBytesMax(): number {
    return Math.min(this.limits.batchBytesMax, this.carriedBytes);
  }

  private keep(run: MergedRun): void {
    const bytes = bytesOf(run);
    this.unstored.push({ run, bytes, emittedAtMs: this.nowMs });
    this.unstoredBytes += bytes;
  }

  private get isStoreDue(): boolean {
    const [first] = this.unstored;
    if (first === undefined || this.storingBytes !== null) return false;
    const { limits, batchBytesMax } = this;
    // The merge waits for what is on its way before it goes on from elsewhere.
    const isUrgent = this.isFlushing || this.bases !== null || first.run.entries.length === 0;
    return isUrgent || this.unstoredBytes >= batchBytesMax || this.nowMs - first.emittedAtMs >= limits.storeDelayMs;
  }

  /** What goes into one message: runs that follow each other, up to its limits; an anchor alone. */
  private takeUnstored(): MergedRun {
    const { batchBytesMax } = this;
    const { batchEntriesMax } = this.limits;
    const [first, ...others] = this.unstored;
    if (first === undefined) throw new InvariantError('nothing is to be stored');
    const runs: [MergedRun, ...MergedRun[]] = [first.run];
    let { bytes } = first;
    let entries = first.run.entries.length;
    for (const { run, bytes: more } of first.run.entries.length === 0 ? [] : others) {
      entries += run.entries.length;
      if (run.entries.length === 0 || entries > batchEntriesMax || bytes + more > batchBytesMax) break;
      bytes += more;
      runs.push(run);
    }
    this.unstored.splice(0, runs.length);
    this.unstoredBytes -= bytes;
    this.storingBytes = bytes;
    return joined(runs);
  }
}
