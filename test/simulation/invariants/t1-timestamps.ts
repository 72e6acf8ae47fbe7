/** T1: within a group timestamps strictly increase with the index, across terms. */
import type { GroupId, LogEntry } from '../../../shared/raft/entry.js';
import type { Created, Ledger } from '../ledger.js';
import type { SimulatedServer } from '../server.js';
import { hold, type Invariant, type Surroundings } from './invariant.js';

export class TimestampsIncrease implements Invariant {
  readonly name = 'T1';
  private readonly ledger: Ledger;

  constructor({ ledger }: Surroundings) {
    this.ledger = ledger;
  }

  onAppended(server: SimulatedServer, group: GroupId, entry: LogEntry, { previousTerm }: Created): void {
    const before = this.ledger.find(group, entry.index - 1, previousTerm)?.entry.timestamp ?? 0;
    hold(
      entry.timestamp > before,
      this.name,
      () => `entry ${entry.index} of group ${group} at ${server.name}: ${entry.timestamp} after ${before}`,
      group,
    );
  }
}
