/**
 * Snapshots of simulated servers and the object store that they are in (T10), with the files that
 * are to be restored.
 */

import type { KnownSnapshot } from '../../services/applier/core/effect.js';
import { KEPT } from '../../services/applier/core/snapshots/compaction.js';
import type { MergedIndex, ServerId } from '../../shared/raft/entry.js';
import type { SavedState } from './database.js';

export interface SimulatedSnapshot extends KnownSnapshot {
  readonly state: SavedState;
}

export class SnapshotBucket {
  private kept: SimulatedSnapshot[] = [];
  /** By name: never removed, since some server may still come to the command that restores one. */
  readonly files = new Map<string, SavedState>();

  save(server: ServerId, state: SavedState): string {
    const { position } = state;
    const name = `${String(position.mergedIndex).padStart(16, '0')}-${server}`;
    this.kept = [
      ...this.kept.filter((one) => one.name !== name),
      { name, server, position, bytes: 0, confirmed: false, state },
    ];
    this.kept.sort((a, b) => a.position.mergedIndex - b.position.mergedIndex);
    return name;
  }

  /** False when it is gone. */
  confirm(name: string): SimulatedSnapshot | undefined {
    const found = this.find(name);
    if (found === undefined) return undefined;
    const confirmed = { ...found, confirmed: true };
    this.kept = this.kept.map((one) => (one === found ? confirmed : one));
    const counting = this.kept.filter((one) => one.confirmed).slice(-KEPT);
    const newest = counting[counting.length - 1]?.position.mergedIndex ?? 0;
    this.kept = this.kept.filter((one) => counting.includes(one) || one.position.mergedIndex > newest);
    return confirmed;
  }

  find(name: string): SimulatedSnapshot | undefined {
    return this.kept.find((one) => one.name === name);
  }

  list(): readonly SimulatedSnapshot[] {
    return this.kept;
  }

  /** All of a server's that are not confirmed, or the one with this name. */
  withdraw(server: ServerId, name?: string): void {
    this.kept = this.kept.filter(
      (one) => one.server !== server || one.confirmed || (name !== undefined && one.name !== name),
    );
  }

  /** Of those that count. */
  get newest(): SimulatedSnapshot | undefined {
    return this.kept.filter(({ confirmed }) => confirmed).pop();
  }

  get newestIndex(): MergedIndex {
    return this.newest?.position.mergedIndex ?? 0;
  }

  /** Up to where some log has been compacted: below it there are only states and snapshots. */
  compactedTo: MergedIndex = 0;

  onCompacted(mergedIndex: MergedIndex): void {
    this.compactedTo = Math.max(this.compactedTo, mergedIndex);
  }

  /** The bucket is removed. */
  lose(): void {
    this.kept = [];
  }
}
