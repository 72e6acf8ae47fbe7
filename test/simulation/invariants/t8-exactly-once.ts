/**
 * T8: each id takes effect at most once and at its first place in the merged log, on every server with the same outcome; each
 * acknowledged one exactly once.
 */
import type { Acknowledgement } from '../../../services/replica/core/effect.js';
import type { Applied, MergedCommand } from '../../../shared/engine/port.js';
import type { Acknowledged, Operation } from '../clients.js';
import type { SimulatedServer } from '../server.js';
import type { World } from '../world.js';
import { hold, type Invariant, type Surroundings } from './invariant.js';

export class ExactlyOnce implements Invariant {
  readonly name = 'T8';
  private readonly world: World;
  /** The merged index at which an operation's first entry lies. */
  private readonly first = new Map<number, number>();
  private readonly outcomes = new Map<number, string>();
  private readonly acknowledged = new Map<number, number | undefined>();
  private applied = 0;

  constructor({ world }: Surroundings) {
    this.world = world;
  }

  onApplied(server: SimulatedServer, commands: readonly MergedCommand[], applied: readonly Applied[]): void {
    for (let at = 0; at < commands.length; at++) {
      const command = commands[at];
      const result = applied[at];
      if (command === undefined || result === undefined) continue;
      const { mergedIndex } = command;
      const number = Number.parseInt(command.reply, 10);
      // Merged indexes have no holes, so whoever is the first to apply one sees every operation's first entry first.
      if (mergedIndex > this.applied) {
        this.applied = mergedIndex;
        if (!this.first.has(number)) this.first.set(number, mergedIndex);
        this.outcomes.set(mergedIndex, JSON.stringify(result.outcome));
      }
      const first = this.first.get(number);
      hold(
        result.mergedIndex === first,
        this.name,
        () =>
          `write ${number} takes effect at merged index ${result.mergedIndex} at ${server.name}, its first is ${first}`,
      );
      const isSame = this.outcomes.get(mergedIndex) === JSON.stringify(result.outcome);
      hold(isSame, this.name, () => `merged index ${mergedIndex} has another outcome at ${server.name}`);
    }
  }

  onAcknowledged(operation: Operation, _: Acknowledgement, __: string, { mergedIndex }: Acknowledged): void {
    const known = this.acknowledged.get(operation.number);
    const isSame = known === undefined || mergedIndex === undefined || known === mergedIndex;
    hold(
      isSame,
      this.name,
      () => `write ${operation.number} is acknowledged at merged indexes ${known} and ${mergedIndex}`,
    );
    if (known === undefined) this.acknowledged.set(operation.number, mergedIndex);
  }

  onFinished(): void {
    for (const [number, mergedIndex] of this.acknowledged) {
      const first = this.first.get(number);
      const isThere = first !== undefined && (mergedIndex === undefined || first === mergedIndex);
      hold(isThere, this.name, () => `write ${number}, acknowledged at ${mergedIndex}, took effect at ${first}`);
    }
    const [one, ...others] = this.world.operator.members.map(({ database }) => ({
      mergedIndex: database.mergedIndex,
      results: database.position().resultsChecksum,
      rows: JSON.stringify([...database.engine.rows].sort(([a], [b]) => (a < b ? -1 : 1))),
    }));
    for (const other of others) {
      hold(
        other.mergedIndex === one?.mergedIndex && other.results === one.results,
        this.name,
        () => 'databases differ in their results',
      );
      hold(other.rows === one?.rows, this.name, () => 'databases differ in their rows');
    }
  }
}
