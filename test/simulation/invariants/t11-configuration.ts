/**
 * T11: the configuration in force at a server is that of the newest configuration entry in its log,
 * committed or not.
 */
import { EntryKind, type GroupId, type LogEntry } from '../../../shared/raft/entry.js';
import type { Group } from '../../../shared/raft/group.js';
import type { Created, Ledger } from '../ledger.js';
import type { SimulatedServer } from '../server.js';
import { hold, type Invariant, type Surroundings } from './invariant.js';

export class NewestConfiguration implements Invariant {
  readonly name = 'T11';
  private readonly ledger: Ledger;
  /** All that were ever made, by group, in the order of their indexes. */
  private readonly entries: LogEntry[][];

  constructor({ world, ledger }: Surroundings) {
    this.ledger = ledger;
    this.entries = Array.from({ length: world.options.groups }, () => []);
  }

  onCreated(_: SimulatedServer, group: GroupId, { entry }: Created): void {
    if (entry.kind !== EntryKind.configuration) return;
    const entries = this.entries[group];
    entries?.push(entry);
    entries?.sort((a, b) => a.index - b.index);
  }

  onAppended(server: SimulatedServer, group: GroupId, entry: LogEntry): void {
    if (entry.kind === EntryKind.configuration) this.checkServer(server, group);
  }

  onTruncated(server: SimulatedServer, group: GroupId): void {
    this.checkServer(server, group);
  }

  onBase(server: SimulatedServer, group: GroupId, core: Group): void {
    this.check(server, group, core);
  }

  onMoved(server: SimulatedServer, group: GroupId, core: Group): void {
    this.check(server, group, core);
  }

  private checkServer(server: SimulatedServer, group: GroupId): void {
    const core = server.replica?.core.groups[group];
    if (core !== undefined) this.check(server, group, core);
  }

  private check(server: SimulatedServer, group: GroupId, core: Group): void {
    const newest = this.entries[group]?.findLast((entry) => this.isInLog(core, group, entry));
    if (newest === undefined) return;
    const { index, term } = core.configuration;
    hold(
      index === newest.index && term === newest.term,
      this.name,
      () =>
        `${server.name} has the members of entry ${index} (term ${term}) of group ${group}, in its log is ${newest.index} (term ${newest.term})`,
      group,
    );
  }

  /** One that a snapshot covers is in every log that was committed up to there. */
  private isInLog(core: Group, group: GroupId, { index, term }: LogEntry): boolean {
    if (index > core.lastIndex) return false;
    const found = index > core.base.index ? core.termAt(index) : this.ledger.committedAt(group, index)?.term;
    return found === term;
  }
}
