/**
 * When this server asks for a `craft.verify` in the log: the place at which all servers compare
 * their rows, and at which a snapshot may be taken. Pure.
 *
 * Every server may ask; one mark serves all. So each waits a random while first, and a mark of
 * another server ends the wait.
 */
import type { MergedIndex, MonotonicMs } from '../../../shared/raft/entry.js';
import type { Effect } from './effect.js';

/** Of several servers that want a mark at once one asks a little earlier (milliseconds). */
const JITTER_MS = 500;
/** Between two requests: doubles from the first to the second (milliseconds). */
const ASK_MS = 5_000;
const ASK_MS_MAX = 60_000;

/** Why a mark is wanted. */
export interface Wanted {
  /** A snapshot is due. */
  readonly save: boolean;
  /** Servers differ, and a mark may tell which one is right. */
  readonly isUndecided: boolean;
}

export class Marks {
  /** Of the newest mark. */
  private markIndex: MergedIndex;
  private markAtMs: MonotonicMs;
  private askAtMs: MonotonicMs = Number.POSITIVE_INFINITY;
  private pauseMs = ASK_MS;

  constructor(
    /** Time between two marks while something is applied (milliseconds). */
    private readonly everyMs: number,
    private readonly random: () => number,
    private readonly emit: (effect: Effect) => void,
    mergedIndex: MergedIndex,
    nowMs: MonotonicMs,
  ) {
    this.markIndex = mergedIndex;
    this.markAtMs = nowMs;
  }

  get nextWakeMs(): MonotonicMs {
    return this.askAtMs;
  }

  /** `applied`: merged index of the last command applied. */
  advance(nowMs: MonotonicMs, applied: MergedIndex, { save, isUndecided }: Wanted): void {
    const isRegular = applied > this.markIndex && nowMs - this.markAtMs >= this.everyMs;
    if (!save && !isUndecided && !isRegular) {
      this.askAtMs = Number.POSITIVE_INFINITY;
      this.pauseMs = ASK_MS;
      return;
    }
    if (this.askAtMs === Number.POSITIVE_INFINITY) this.askAtMs = nowMs + this.random() * JITTER_MS;
    if (nowMs < this.askAtMs) return;
    this.emit({ type: 'ask-verify', save });
    this.later(nowMs);
  }

  /** A mark is applied. */
  onMark(mergedIndex: MergedIndex, nowMs: MonotonicMs): void {
    this.markIndex = mergedIndex;
    this.markAtMs = nowMs;
  }

  /** Some server cannot go on without a snapshot: one that is due is not put off any longer. */
  hurry(nowMs: MonotonicMs): void {
    this.pauseMs = ASK_MS;
    if (this.askAtMs !== Number.POSITIVE_INFINITY)
      this.askAtMs = Math.min(this.askAtMs, nowMs + this.random() * JITTER_MS);
  }

  /** The state is elsewhere now. */
  onMoved(mergedIndex: MergedIndex): void {
    this.markIndex = Math.min(this.markIndex, mergedIndex);
  }

  private later(nowMs: MonotonicMs): void {
    this.askAtMs = nowMs + this.pauseMs * (0.5 + this.random());
    this.pauseMs = Math.min(2 * this.pauseMs, ASK_MS_MAX);
  }
}
