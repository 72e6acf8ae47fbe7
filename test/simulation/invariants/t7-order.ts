/**
 * T7: a write that starts after another one was acknowledged as `ordered` or `applied`, or after a
 * read has seen it, comes after it in the merged log. After a `committed` one it does so when it
 * carries that one's timestamp (Craft-After).
 */
import type { Acknowledgement } from '../../../services/replica/core/effect.js';
import type { MergedRun } from '../../../shared/merge/merge.js';
import type { Acknowledged, Operation, ReadResult } from '../clients.js';
import type { Ledger } from '../ledger.js';
import type { SimulatedServer } from '../server.js';
import { placeOf, type World } from '../world.js';
import { hold, type Invariant, type Surroundings } from './invariant.js';

export class RealTimeOrder implements Invariant {
  readonly name = 'T7';
  private readonly ledger: Ledger;
  private readonly world: World;
  private final = 0;
  /** By operation: the place that it must come after. */
  private readonly after: number[] = [];
  private checked = 0;

  constructor({ ledger, world }: Surroundings) {
    this.ledger = ledger;
    this.world = world;
  }

  onInvoked(operation: Operation): void {
    this.after[operation.number] = this.final;
  }

  onAcknowledged(_: Operation, level: Acknowledgement, __: string, { timestamp, group }: Acknowledged): void {
    if (level !== 'committed') this.final = Math.max(this.final, placeOf(timestamp, group));
  }

  onRead(_: Operation, { place }: ReadResult): void {
    this.final = Math.max(this.final, place);
  }

  onMerged(_: SimulatedServer, run: MergedRun): void {
    for (let at = 0; at < run.entries.length; at++) {
      const entry = run.entries[at];
      const group = run.groups[at] ?? 0;
      if (entry === undefined || run.firstMergedIndex + at <= this.checked) continue;
      this.checked = run.firstMergedIndex + at;
      const command = this.ledger.find(group, entry.index, entry.term)?.command;
      const operation = this.world.clients.operations[Number.parseInt(command?.reply ?? '', 10)];
      if (operation === undefined) continue;
      const place = placeOf(entry.timestamp, group);
      const after = this.after[operation.number] ?? 0;
      hold(
        place > after,
        this.name,
        () => `write ${operation.number} has place ${place}, but place ${after} was final before it began`,
        group,
      );
      const { timestamp } = entry;
      hold(
        timestamp > operation.after,
        this.name,
        () => `write ${operation.number} has timestamp ${timestamp}, but was to come after ${operation.after}`,
        group,
      );
    }
  }
}
