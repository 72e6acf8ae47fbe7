/**
 * Which snapshots count, as the bucket was listed last, and when it is listed again. Pure.
 *
 * A list that was begun before a wish may be too old to serve it. Such a wish makes the list that
 * is under way old: another one follows it at once.
 */
import { type MergedIndex, type MonotonicMs, NOTHING_MERGED } from '../../../../shared/raft/entry.js';
import type { Effect, KnownSnapshot } from '../effect.js';

/** Between two looks at what other servers have saved (milliseconds). */
const LIST_MS = 15_000;
/** The same when something is waited for (milliseconds). */
const LIST_SOON_MS = 500;
/** After a failure (milliseconds). */
const RETRY_MS = 5_000;

export class SnapshotList {
  private snapshots: readonly KnownSnapshot[] = [];
  private listAtMs: MonotonicMs;
  private isListing = false;
  /** The list is older than a wish that it is to serve. */
  private isOld = true;
  /** So is the one that is under way. */
  private isListingOld = false;

  constructor(
    private readonly emit: (effect: Effect) => void,
    private nowMs: MonotonicMs,
  ) {
    this.listAtMs = nowMs;
  }

  /** Those that count, oldest first. */
  get known(): readonly KnownSnapshot[] {
    return this.snapshots;
  }

  get newest(): KnownSnapshot | undefined {
    return this.snapshots[this.snapshots.length - 1];
  }

  /** The list serves every wish that there has been. */
  get isCurrent(): boolean {
    return !this.isOld;
  }

  get newestIndex(): MergedIndex {
    return this.newest?.position.mergedIndex ?? NOTHING_MERGED;
  }

  get nextWakeMs(): MonotonicMs {
    return this.isListing ? Number.POSITIVE_INFINITY : this.listAtMs;
  }

  advance(nowMs: MonotonicMs): void {
    this.nowMs = nowMs;
    if (this.isListing || nowMs < this.listAtMs) return;
    this.isListing = true;
    this.isListingOld = false;
    this.emit({ type: 'list' });
  }

  /** There may be a new one: the list is wanted as it is from now on. */
  renew(): void {
    this.listAtMs = this.nowMs;
    this.isListingOld = true;
  }

  /** What is known serves no more, until there is a list of after now. */
  discard(): void {
    this.isOld = true;
    this.renew();
  }

  renewSoon(): void {
    this.listAtMs = Math.min(this.listAtMs, this.isOld ? this.nowMs : this.nowMs + LIST_SOON_MS);
  }

  /** `isAwaited`: something waits for a snapshot that does not count yet. */
  listed(all: readonly KnownSnapshot[], isAwaited: boolean): void {
    this.isListing = false;
    this.listAtMs = this.nowMs + (isAwaited ? LIST_SOON_MS : LIST_MS);
    if (this.isListingOld) this.listAtMs = this.nowMs;
    else this.isOld = false;
    this.snapshots = all.filter(({ confirmed }) => confirmed);
  }

  failed(): void {
    this.isListing = false;
    this.isOld ||= this.isListingOld;
    this.listAtMs = this.nowMs + RETRY_MS;
  }
}
