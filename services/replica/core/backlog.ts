/**
 * How many commands of a group wait to be applied, and how many may (Little's law): as many as are
 * applied in the time that one may wait. More of them would only wait for longer, until their
 * clients have given up. Pure.
 */
import type { LogIndex, MonotonicMs } from '../../../shared/raft/entry.js';
import { lastOf } from '../../../shared/raft/lists.js';

/** So many may wait, however slowly they are applied. */
export const BACKLOG_MIN = 4_096;
/** A command may wait for so long; the rate is that of the same time (milliseconds). */
export const WAIT_MS = 1_000;
/** Between two marks (milliseconds). */
const MARK_MS = 100;

interface Mark {
  readonly atMs: MonotonicMs;
  readonly applied: LogIndex;
}

export class Backlog {
  /** One is older than WAIT_MS, when there is such a one. */
  private marks: Mark[] = [];
  private applied: LogIndex | null = null;

  /**
   * `applied`: of the last entry of the group that is applied; null when nothing is known of it.
   * Time never goes back (milliseconds).
   */
  advance(applied: LogIndex | null, nowMs: MonotonicMs): void {
    this.applied = applied;
    if (applied === null) return;
    const { marks } = this;
    const last = marks[marks.length - 1];
    // The state has gone back: what is applied again says nothing of the rate.
    if (last !== undefined && applied < last.applied) marks.length = 0;
    if (marks.length === 0 || nowMs - lastOf(marks).atMs >= MARK_MS) marks.push({ atMs: nowMs, applied });
    while ((marks[1]?.atMs ?? nowMs) <= nowMs - WAIT_MS) marks.shift();
  }

  /**
   * Whether no more of a group is taken whose last entry, stamped or queued, is or will be at
   * `lastIndex`.
   */
  isFull(lastIndex: LogIndex): boolean {
    const fill = this.fill(lastIndex);
    return fill !== undefined && fill.now >= fill.max;
  }

  /** How many wait, and how many may; undefined while nothing is known of what is applied. */
  fill(lastIndex: LogIndex): { readonly now: number; readonly max: number } | undefined {
    const { applied, marks } = this;
    if (applied === null) return undefined;
    const rate = applied - (marks[0]?.applied ?? applied);
    return { now: lastIndex - applied, max: Math.max(BACKLOG_MIN, rate) };
  }
}
