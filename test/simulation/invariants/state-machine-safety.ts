/** State machine safety: no two servers commit different entries at an index (Raft figure 3). */
import type { GroupId, LogEntry } from '../../../shared/raft/entry.js';
import type { Ledger } from '../ledger.js';
import type { SimulatedServer } from '../server.js';
import { hold, type Invariant, type Surroundings } from './invariant.js';

export class StateMachineSafety implements Invariant {
  readonly name = 'state machine safety';
  private readonly ledger: Ledger;

  constructor({ ledger }: Surroundings) {
    this.ledger = ledger;
  }

  onCommitted(server: SimulatedServer, group: GroupId, entry: LogEntry): void {
    const other = this.ledger.committedAt(group, entry.index);
    const isSame = other === undefined || (other.term === entry.term && other.timestamp === entry.timestamp);
    const what = () =>
      `${server.name} commits entry ${entry.index} of term ${entry.term} in group ${group}, another one that of term ${other?.term}`;
    hold(isSame, this.name, what, group);
  }
}
