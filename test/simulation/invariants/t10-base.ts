/**
 * T10: a log begins after something that is committed, and knows exactly what it was; everything
 * before is in a state machine.
 */
import type { GroupId } from '../../../shared/raft/entry.js';
import type { Group } from '../../../shared/raft/group.js';
import type { Ledger } from '../ledger.js';
import type { SimulatedServer } from '../server.js';
import { hold, type Invariant, type Surroundings } from './invariant.js';

export class LogBase implements Invariant {
  readonly name = 'T10';
  private readonly ledger: Ledger;

  constructor({ ledger }: Surroundings) {
    this.ledger = ledger;
  }

  onBase(server: SimulatedServer, group: GroupId, core: Group): void {
    const { index, term, timestamp } = core.base;
    const entry = this.ledger.committedAt(group, index);
    hold(
      index <= core.commitIndex && entry?.term === term && entry.timestamp === timestamp,
      this.name,
      () =>
        `the log of group ${group} at ${server.name} begins after ${index} of term ${term} at ${timestamp}, committed there is term ${entry?.term} at ${entry?.timestamp}`,
      group,
    );
  }
}
