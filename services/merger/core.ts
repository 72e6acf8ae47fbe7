/**
 * What a merger decides: when to fetch, what to publish, where to go on. Pure: the merge itself is shared/merge, the world
 * is service.ts (and, in tests, the simulator).
 *
 * At most one fetch and one publish are under way; while a publish is in flight the next batch collects. The position
 * only moves on with what has been published, in order, so a restart from the stream's last message neither skips nor repeats.
 */
import { anchorAt, Merge, type MergedRun, type MergePosition } from '../../shared/merge/merge.js';
import type { GroupId, Index, LogEntry, Timestamp } from '../../shared/raft/entry.js';

export interface MergerLimits {
  /** Most entries, and bytes of entries, in one message of the stream. */
  readonly batchEntriesMax: number;
  readonly batchBytesMax: number;
  /** Most bytes of entries in one answer of the feed. */
  readonly fetchBytesMax: number;
  /** Most bytes of one group that wait for other groups. */
  readonly waitingBytesMax: number;
}

export const MERGER_DEFAULTS: MergerLimits = {
  batchEntriesMax: 2_048,
  batchBytesMax: 512 * 1024,
  fetchBytesMax: 512 * 1024,
  waitingBytesMax: 4 * 1024 * 1024,
};

export interface FetchEffect {
  readonly type: 'fetch';
  readonly positions: readonly Index[];
  readonly watermarks: readonly Timestamp[];
  readonly waitingFor: Timestamp;
  readonly bytesMax: number;
}

export interface PublishEffect {
  readonly type: 'publish';
  readonly run: MergedRun;
}

/** The log is gone up to these indexes: ask the state machine where it is, at or beyond them, and answer with `rebase` (T10). */
export interface LocateEffect {
  readonly type: 'locate';
  readonly atLeast: readonly Index[];
}

/** What one group's part of a feed answer says. */
export interface FedGroup {
  readonly group: GroupId;
  readonly entries: readonly LogEntry[];
  readonly watermark: Timestamp;
}

export class MergerCore {
  private merge: Merge;
  private isFetching = false;
  private isPublishing = false;
  private isLocating = false;
  /** Where the feed begins, when that is beyond where this merge stands. */
  private bases: readonly Index[] | null = null;
  /** Says in the stream that it goes on elsewhere; published before anything else. */
  private anchor: MergedRun | null = null;

  constructor(
    position: MergePosition,
    private readonly limits: MergerLimits = MERGER_DEFAULTS,
  ) {
    this.merge = new Merge(position);
  }

  /** What is to be done now: answer a fetch with `fed` or `fetchFailed`, a publish with `published`. */
  next(): (FetchEffect | PublishEffect | LocateEffect)[] {
    const effects: (FetchEffect | PublishEffect | LocateEffect)[] = [];
    if (!this.isPublishing) {
      const run = this.anchor ?? this.merge.take(this.limits.batchEntriesMax, this.limits.batchBytesMax);
      this.anchor = null;
      if (run !== null) {
        this.isPublishing = true;
        effects.push({ type: 'publish', run });
      }
    }
    if (this.bases !== null) {
      // What has been merged before goes first, so that the anchor lies behind it.
      if (!this.isLocating && !this.isPublishing) {
        this.isLocating = true;
        effects.push({ type: 'locate', atLeast: this.bases });
      }
    } else if (!this.isFetching) {
      const positions = this.merge.wanted(this.limits.waitingBytesMax);
      // With every group's room full only a publish can go on; with some it is the others that the merge waits for.
      if (positions.some((position) => position > 0)) {
        this.isFetching = true;
        effects.push({
          type: 'fetch',
          positions,
          watermarks: this.merge.watermarks(),
          waitingFor: this.merge.waitingFor(),
          bytesMax: this.limits.fetchBytesMax,
        });
      }
    }
    return effects;
  }

  /** `bases`: some of what was asked for is gone, up to these indexes. */
  fed(groups: readonly FedGroup[], bases: readonly Index[] | null = null): void {
    this.isFetching = false;
    this.bases = bases;
    for (const { group, entries, watermark } of groups) this.merge.offer(group, entries, watermark);
  }

  /** No answer, or a useless one: ask again. */
  fetchFailed(): void {
    this.isFetching = false;
  }

  /** Answers `locate`: the state machine is there, so the merge goes on from there. Null: it could not be told, ask again. */
  rebase(position: MergePosition | null): void {
    this.isLocating = false;
    if (position === null) return;
    this.bases = null;
    // Behind what is merged already, it says nothing; the feed will tell what it lacks.
    if (position.mergedIndex <= this.merge.position().mergedIndex) return;
    this.merge = new Merge(position);
    this.anchor = anchorAt(position);
  }

  published(): void {
    this.isPublishing = false;
  }

  position(): MergePosition {
    return this.merge.position();
  }
}
