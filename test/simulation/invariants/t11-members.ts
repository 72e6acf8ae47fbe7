/**
 * T11: a leader changes its group's members by one voter at a time, and only when the change before
 * is committed and it knows so (its no-op is committed). Then any two quorums of neighbouring
 * configurations share a server.
 */
import { EntryKind, type GroupId, type PlacedConfiguration } from '../../../shared/raft/entry.js';
import type { Created } from '../ledger.js';
import type { SimulatedServer } from '../server.js';
import { hold, type Invariant } from './invariant.js';

export class OneChangeAtATime implements Invariant {
  readonly name = 'T11';

  onCreated(server: SimulatedServer, group: GroupId, { entry }: Created): void {
    const core = server.replica?.core.groups[group];
    if (entry.kind !== EntryKind.configuration || core === undefined) return;
    const { configurations } = Reflect.get(core, 'state') as { configurations: readonly PlacedConfiguration[] };
    const [before, after] = configurations.slice(-2);
    if (before === undefined || after === undefined) return;
    const names = new Set([...before.voters, ...after.voters]);
    const changed = [...names].filter((name) => before.voters.includes(name) !== after.voters.includes(name));
    hold(
      changed.length <= 1,
      this.name,
      () => `${server.name} changes the voters ${changed} of group ${group} at once`,
      group,
    );
    hold(
      before.index <= core.commitIndex && core.termAt(core.commitIndex) === entry.term,
      this.name,
      () => `${server.name} changes the members of group ${group} at ${entry.index}, before ${before.index} is settled`,
      group,
    );
  }
}
