/**
 * Snapshots of simulated servers and the object store that they are in (T10): what an engine has made of the first so many commands, which in
 * here is the commands themselves. The newest two are kept.
 */
import type { EngineBatch } from '../../shared/engine/port.js';
import type { Index, LogPosition } from '../../shared/raft/entry.js';

export interface SimulatedSnapshot {
  readonly mergedIndex: Index;
  readonly batches: readonly EngineBatch[];
  /** For each group its last command in it. */
  readonly positions: readonly LogPosition[];
}

const KEPT = 2;

export class SnapshotBucket {
  private kept: SimulatedSnapshot[] = [];

  save(snapshot: SimulatedSnapshot): void {
    if (snapshot.mergedIndex <= this.newestIndex) return;
    this.kept = [...this.kept, snapshot].slice(-KEPT);
  }

  get newestIndex(): Index {
    return this.newest?.mergedIndex ?? 0;
  }

  get newest(): SimulatedSnapshot | undefined {
    return this.kept[this.kept.length - 1];
  }

  /** What logs may begin at: there is a newer snapshot, so whoever installs that one finds what comes after it. */
  get covered(): SimulatedSnapshot | undefined {
    return this.kept.length === KEPT ? this.kept[0] : undefined;
  }

  /** Up to where some log has been compacted: below it there are only states and snapshots. */
  compactedTo: Index = 0;

  onCompacted(mergedIndex: Index): void {
    this.compactedTo = Math.max(this.compactedTo, mergedIndex);
  }

  /** Somebody removes the bucket. */
  lose(): void {
    this.kept = [];
  }
}
