/**
 * T4: the merged logs are prefixes of one another with equal checksums, ordered by (timestamp,
 * group), without a hole: at the end they are all committed commands.
 */
import { RunningChecksum } from '../../../shared/merge/checksum.js';
import type { MergedRun } from '../../../shared/merge/merge.js';
import { EntryKind } from '../../../shared/raft/entry.js';
import type { Ledger } from '../ledger.js';
import type { SimulatedServer } from '../server.js';
import { placeOf, type World } from '../world.js';
import { hold, type Invariant, type Surroundings } from './invariant.js';

export class MergedLog implements Invariant {
  readonly name = 'T4';
  private readonly ledger: Ledger;
  private readonly world: World;
  private readonly checksum = new RunningChecksum();
  /** checksums[i]: after merged index i + 1. */
  private readonly checksums: string[] = [];
  private lastPlace = 0;

  constructor({ ledger, world }: Surroundings) {
    this.ledger = ledger;
    this.world = world;
  }

  onMerged(server: SimulatedServer, run: MergedRun): void {
    this.follows(server, run, server.emitted, 'emits');
    for (const [at, entry] of run.entries.entries())
      this.check(server, run.firstMergedIndex + at, run.groups[at] ?? 0, entry);
    this.addsUp(server, run);
  }

  onStored(server: SimulatedServer, run: MergedRun): void {
    this.follows(server, run, server.stream.previousMergedIndex, 'stores');
    this.addsUp(server, run);
  }

  private follows(
    server: SimulatedServer,
    { firstMergedIndex, entries }: MergedRun,
    before: number,
    what: string,
  ): void {
    // An anchor says that what is before it is not in this log (T10).
    const isAnchor = entries.length === 0 && firstMergedIndex > before;
    hold(
      isAnchor || firstMergedIndex === before + 1,
      this.name,
      () => `${server.name} ${what} ${firstMergedIndex} after ${before}`,
    );
  }

  private addsUp(server: SimulatedServer, run: MergedRun): void {
    const checksum = this.checksums[run.after.mergedIndex - 1];
    hold(
      run.after.checksum === checksum,
      this.name,
      () =>
        `${server.name} has checksum ${run.after.checksum} at merged index ${run.after.mergedIndex} instead of ${checksum}`,
    );
  }

  private check(
    server: SimulatedServer,
    mergedIndex: number,
    group: number,
    entry: MergedRun['entries'][number],
  ): void {
    const known = this.checksums.length >= mergedIndex ? this.ledger.merged[mergedIndex - 1] : undefined;
    if (known !== undefined) {
      const isSame =
        known.group === group && known.entry.index === entry.index && known.entry.timestamp === entry.timestamp;
      const what = () =>
        `merged index ${mergedIndex} is entry ${entry.index} of group ${group} at ${server.name}, but entry ${known.entry.index} of group ${known.group} elsewhere`;
      hold(isSame, this.name, what, group);
      return;
    }
    const committed = this.ledger.committedAt(group, entry.index);
    hold(
      committed?.timestamp === entry.timestamp,
      this.name,
      () => `${server.name} merges entry ${entry.index} of group ${group}, which is not committed`,
      group,
    );
    const place = placeOf(entry.timestamp, group);
    hold(
      place > this.lastPlace,
      this.name,
      () => `merged index ${mergedIndex} at ${server.name} comes after a later (timestamp, group)`,
      group,
    );
    this.lastPlace = place;
    this.checksum.add(group, entry.index, entry.bytes);
    this.checksums.push(this.checksum.toString());
  }

  onFinished(): void {
    let commands = 0;
    for (const log of this.ledger.committed)
      for (const entry of log) if (entry.kind === EntryKind.command) commands += 1;
    for (const { name, stream } of this.world.operator.members) {
      const { mergedIndex } = stream.position();
      hold(
        mergedIndex === commands,
        this.name,
        () => `${name} has merged ${mergedIndex} of ${commands} committed commands`,
      );
    }
  }
}
