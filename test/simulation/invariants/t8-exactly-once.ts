/**
 * T8: each id takes effect at most once and at its first place in the merged log, on every server
 * with the same outcome; each acknowledged one exactly once.
 */
import type { Acknowledgement } from '../../../services/replica/core/effect.js';
import type { Applied, MergedCommand } from '../../../shared/engine/port.js';
import type { CommandFields } from '../../../shared/wire/command.js';
import { RESTORE_COMMAND } from '../../../shared/wire/restore.js';
import { MemoryEngine } from '../../memory/engine.js';
import type { Acknowledged, Operation } from '../clients.js';
import type { Ledger } from '../ledger.js';
import type { SimulatedServer } from '../server.js';
import type { World } from '../world.js';
import { hold, type Invariant, type Surroundings } from './invariant.js';

export class ExactlyOnce implements Invariant {
  readonly name = 'T8';
  private readonly world: World;
  private readonly ledger: Ledger;
  /** The merged index at which an operation's first entry lies; of the newest state, and ever. */
  private first = new Map<number, number>();
  private readonly everFirst = new Map<number, Set<number>>();
  /** Where the command at each merged index takes effect. */
  private readonly origins = new Map<number, number>();
  private restores = 0;
  private readonly outcomes = new Map<number, string>();
  private readonly acknowledged = new Map<number, number | undefined>();
  private merged = 0;

  constructor({ world, ledger }: Surroundings) {
    this.world = world;
    this.ledger = ledger;
  }

  /**
   * Says for each place of the merged log, as far as that is known, where its command is to take
   * effect.
   */
  private learn(): void {
    for (; this.merged < this.ledger.merged.length; this.merged++) {
      const mergedIndex = this.merged + 1;
      const command = this.ledger.merged[this.merged]?.created?.command;
      if (command == null) continue;
      this.origins.set(mergedIndex, this.originOf(Number.parseInt(command.reply, 10), mergedIndex));
      if (command.name === RESTORE_COMMAND) this.restored(command);
    }
  }

  onApplied(server: SimulatedServer, commands: readonly MergedCommand[], applied: readonly Applied[]): void {
    this.learn();
    // What a server that differs makes of commands is judged elsewhere.
    if (server.database.isTainted) return;
    for (let at = 0; at < commands.length; at++) {
      const command = commands[at];
      const result = applied[at];
      if (command === undefined || result === undefined) continue;
      const { mergedIndex } = command;
      const number = Number.parseInt(command.reply, 10);
      if (!this.outcomes.has(mergedIndex)) this.outcomes.set(mergedIndex, JSON.stringify(result.outcome));
      const first = this.origins.get(mergedIndex);
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

  /** Commands of the services are no client's. */
  private originOf(number: number, mergedIndex: number): number {
    if (Number.isNaN(number)) return mergedIndex;
    const known = this.first.get(number);
    if (known !== undefined) return known;
    this.first.set(number, mergedIndex);
    const all = this.everFirst.get(number) ?? new Set();
    this.everFirst.set(number, all.add(mergedIndex));
    return mergedIndex;
  }

  /** From here on the ids that the file knows are known, and no others. */
  private restored(command: CommandFields): void {
    const { object } = JSON.parse(new TextDecoder().decode(command.payload)) as { object: string };
    const file = this.world.snapshots.files.get(object);
    if (file === undefined) return;
    this.restores += 1;
    this.first = new Map();
    const engine = new MemoryEngine({ resultWindowMs: Number.MAX_SAFE_INTEGER });
    engine.restoreNow(file);
    const results = Reflect.get(engine, 'results') as ReadonlyMap<string, { readonly mergedIndex: number }>;
    for (const [key, { mergedIndex }] of results) {
      const number = /id-(\d+)$/.exec(key)?.[1];
      if (number !== undefined) this.first.set(Number(number), mergedIndex);
    }
  }

  onAcknowledged(operation: Operation, _: Acknowledgement, __: string, { mergedIndex }: Acknowledged): void {
    const known = this.acknowledged.get(operation.number);
    const isSame = known === undefined || mergedIndex === undefined || known === mergedIndex || this.restores > 0;
    hold(
      isSame,
      this.name,
      () => `write ${operation.number} is acknowledged at merged indexes ${known} and ${mergedIndex}`,
    );
    if (known === undefined) this.acknowledged.set(operation.number, mergedIndex);
  }

  onFinished(): void {
    for (const [number, mergedIndex] of this.acknowledged) {
      const all = this.everFirst.get(number);
      const isThere = all !== undefined && (mergedIndex === undefined || all.has(mergedIndex));
      const where = () => [...(all ?? [])].join();
      hold(isThere, this.name, () => `write ${number}, acknowledged at ${mergedIndex}, took effect at ${where()}`);
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
