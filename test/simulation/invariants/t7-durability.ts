/**
 * T7: what was acknowledged is committed, and what is said to be final is merged where it was said
 * to be.
 */
import type { Acknowledgement, Placed } from '../../../services/replica/core/effect.js';
import type { GroupId } from '../../../shared/raft/entry.js';
import type { Acknowledged, Operation } from '../clients.js';
import type { Ledger } from '../ledger.js';
import type { SimulatedCommand } from '../replica.js';
import type { SimulatedServer } from '../server.js';
import { hold, type Invariant, type Surroundings } from './invariant.js';

export class AcknowledgedStays implements Invariant {
  readonly name = 'T7 durability';
  private readonly ledger: Ledger;
  private readonly acknowledged: { group: GroupId; timestamp: number; what: string }[] = [];

  constructor({ ledger }: Surroundings) {
    this.ledger = ledger;
  }

  onPlaced(
    what: 'committed' | 'ordered',
    server: SimulatedServer,
    group: GroupId,
    placed: Placed<SimulatedCommand>,
  ): void {
    const committed = this.ledger.committedAt(group, placed.index);
    const isCommitted =
      committed !== undefined && committed.term === placed.term && committed.timestamp === placed.timestamp;
    hold(
      isCommitted,
      this.name,
      () => `${server.name} calls entry ${placed.index} of group ${group} ${what}, but it is not committed`,
      group,
    );
  }

  onAcknowledged(operation: Operation, level: Acknowledgement, _: string, { group, timestamp }: Acknowledged): void {
    this.acknowledged.push({ group, timestamp, what: `write ${operation.number} (${level})` });
  }

  onFinished(): void {
    const timestamps = this.ledger.committed.map((log) => new Set(log.map((entry) => entry.timestamp)));
    for (const { group, timestamp, what } of this.acknowledged) {
      hold(timestamps[group]?.has(timestamp) === true, this.name, () => `${what} was acknowledged and is lost`, group);
    }
  }
}
