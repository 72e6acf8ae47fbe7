/**
 * Leader completeness: what was committed in a term is in the log of every leader of a later term
 * (Raft figure 3).
 */
import type { GroupId, LogEntry } from '../../../shared/raft/entry.js';
import type { Group } from '../../../shared/raft/group.js';
import type { Ledger } from '../ledger.js';
import type { SimulatedServer } from '../server.js';
import type { World } from '../world.js';
import { hold, type Invariant, type Surroundings } from './invariant.js';

export class LeaderCompleteness implements Invariant {
  readonly name = 'leader completeness';
  private readonly ledger: Ledger;
  private readonly world: World;

  constructor({ ledger, world }: Surroundings) {
    this.ledger = ledger;
    this.world = world;
  }

  onLeader(server: SimulatedServer, group: GroupId, core: Group): void {
    const committed = this.ledger.committed[group] ?? [];
    const inTerm = this.ledger.committedInTerm[group] ?? [];
    let last = committed.length;
    while (last > 0 && (inTerm[last - 1] ?? 0) >= core.term) last -= 1;
    const entry = committed[last - 1];
    if (entry !== undefined) this.check(server, group, core, entry);
  }

  /** A leader of a later term may be there already when an older one counts its last replies. */
  onCommitted(_: SimulatedServer, group: GroupId, entry: LogEntry, core: Group, isFirst: boolean): void {
    if (!isFirst) return;
    for (const server of this.world.servers) {
      const other = server.replica?.core.groups[group];
      if (other?.role === 'leader' && other.term > core.term) this.check(server, group, other, entry);
    }
  }

  private check(server: SimulatedServer, group: GroupId, core: Group, entry: LogEntry): void {
    const hasIt = core.termAt(entry.index) === entry.term;
    const what = () =>
      `${server.name} leads group ${group} in term ${core.term} without committed entry ${entry.index} of term ${entry.term}`;
    hold(hasIt, this.name, what, group);
  }
}
