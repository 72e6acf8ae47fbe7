/**
 * T3: no server ever has a watermark at or above an entry that is not in its committed prefix and
 * is, or later becomes, committed. So no server merges past an entry that is still to come.
 */
import type { GroupId, LogEntry, Timestamp } from '../../../shared/raft/entry.js';
import type { Group } from '../../../shared/raft/group.js';
import type { Ledger } from '../ledger.js';
import type { SimulatedServer } from '../server.js';
import { hold, type Invariant, type Surroundings } from './invariant.js';

export class Watermarks implements Invariant {
  readonly name = 'T3';
  private readonly ledger: Ledger;
  /** The largest watermark that each server has ever had, by group. */
  private readonly largest: number[][];
  private readonly names: readonly string[];

  constructor({ world, ledger }: Surroundings) {
    this.ledger = ledger;
    this.names = world.names;
    this.largest = Array.from({ length: world.options.groups }, () => new Array<number>(world.names.length).fill(0));
  }

  onMoved(server: SimulatedServer, group: GroupId, core: Group): void {
    const next = this.ledger.committedAt(group, core.commitIndex + 1);
    this.check(server.name, group, core.watermark, next);
    const largest = this.largest[group];
    if (largest && core.watermark > (largest[server.index] ?? 0)) largest[server.index] = core.watermark;
  }

  /** The first server to commit an entry: until now it was in no server's committed prefix. */
  onCommitted(_: SimulatedServer, group: GroupId, entry: LogEntry, __: Group, isFirst: boolean): void {
    if (!isFirst) return;
    for (const [index, watermark] of (this.largest[group] ?? []).entries()) {
      this.check(this.names[index] ?? '', group, watermark, entry);
    }
  }

  private check(server: string, group: GroupId, watermark: Timestamp, entry: LogEntry | undefined): void {
    const isBelow = entry === undefined || watermark < entry.timestamp;
    hold(
      isBelow,
      this.name,
      () =>
        `${server} had watermark ${watermark} for group ${group} before entry ${entry?.index} at ${entry?.timestamp} was committed there`,
      group,
    );
  }
}
