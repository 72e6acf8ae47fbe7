/**
 * What snapshots allow to drop from the own log and stream (T10). Pure.
 *
 * Logs begin at the newest snapshot but one that counts. A server that installs the newest finds
 * everything that comes after it, however long that takes.
 */
import { type MergedIndex, type MonotonicMs, NOTHING_MERGED } from '../../../../shared/raft/entry.js';
import type { Effect, KnownSnapshot } from '../effect.js';
import { padded } from './positions.js';

/** Snapshots that are kept: the one that logs begin at, and one beyond. */
export const KEPT = 2;
/** After a failure (milliseconds). */
const RETRY_MS = 5_000;

export class Compaction {
  /** What the own log and stream have been told to begin at. */
  private begin: MergedIndex = NOTHING_MERGED;
  private underWay: MergedIndex | null = null;
  private retryAtMs: MonotonicMs = 0;
  private nowMs: MonotonicMs = 0;

  constructor(
    private readonly groups: number,
    private readonly emit: (effect: Effect) => void,
  ) {}

  advance(nowMs: MonotonicMs): void {
    this.nowMs = nowMs;
  }

  /** What is covered goes, once the own state, which is at `applied`, has it too. */
  maybeBegin(known: readonly KnownSnapshot[], applied: MergedIndex): void {
    const covered = known[known.length - KEPT];
    if (covered === undefined || this.underWay !== null || this.nowMs < this.retryAtMs) return;
    const { mergedIndex, positions } = covered.position;
    if (mergedIndex <= this.begin || mergedIndex > applied) return;
    this.underWay = mergedIndex;
    this.emit({ type: 'compact', mergedIndex, positions: padded(positions, this.groups) });
  }

  done(): void {
    if (this.underWay !== null) this.begin = this.underWay;
    this.underWay = null;
  }

  failed(): void {
    this.underWay = null;
    this.retryAtMs = this.nowMs + RETRY_MS;
  }
}
