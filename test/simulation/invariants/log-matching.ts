/**
 * Log matching: entries with the same index and term are the same, and so is everything before them
 * (Raft figure 3). By induction it is enough to compare each entry, and the term of the one before
 * it, with what the leader made.
 */
import type { GroupId, LogEntry } from '../../../shared/raft/entry.js';
import type { Created, Ledger } from '../ledger.js';
import type { SimulatedServer } from '../server.js';
import { hold, type Invariant, type Surroundings, same } from './invariant.js';

export class LogMatching implements Invariant {
  readonly name = 'log matching';
  private readonly ledger: Ledger;

  constructor({ ledger }: Surroundings) {
    this.ledger = ledger;
  }

  onAppended(server: SimulatedServer, group: GroupId, entry: LogEntry, { previousTerm }: Created): void {
    const made = this.ledger.find(group, entry.index, entry.term);
    const isSame =
      made !== undefined &&
      made.previousTerm === previousTerm &&
      made.entry.timestamp === entry.timestamp &&
      made.entry.kind === entry.kind &&
      same(made.entry.bytes, entry.bytes);
    hold(
      isSame,
      this.name,
      () => `${server.name} has another entry ${entry.index} of term ${entry.term} in group ${group}`,
      group,
    );
  }
}
