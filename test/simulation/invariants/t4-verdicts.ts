/**
 * T4: a server whose state differs from that of a majority is found, and only such a one. Nothing
 * that is read from its state reaches a client until it has been rebuilt. No snapshot of it counts
 * or is installed.
 */
import type { MergedCommand } from '../../../shared/engine/port.js';
import { RESTORE_COMMAND } from '../../../shared/wire/restore.js';
import type { SimulatedServer } from '../server.js';
import type { SimulatedSnapshot } from '../snapshots.js';
import type { World } from '../world.js';
import { hold, type Invariant, type Surroundings } from './invariant.js';

export class Verdicts implements Invariant {
  readonly name = 'T4 verdicts';
  private readonly world: World;
  /** With the applier that has said so; `kept` once the database has it. */
  private readonly accused = new Map<SimulatedServer, object | 'kept' | null>();

  constructor({ world }: Surroundings) {
    this.world = world;
  }

  onVerdict(server: SimulatedServer, reason: string): void {
    hold(
      server.database.isTainted,
      this.name,
      () => `${server.name} is as the log says, and is told to differ: ${reason}`,
    );
    this.accused.set(server, server.applier);
  }

  onVerdictKept(server: SimulatedServer): void {
    this.accused.set(server, 'kept');
  }

  onServed(server: SimulatedServer): void {
    const by = this.accused.get(server);
    const isOther = by === undefined || (by !== 'kept' && by !== server.applier);
    hold(isOther, this.name, () => `${server.name} differs, and a client gets what it says`);
  }

  onInstalled(server: SimulatedServer, { name, state }: SimulatedSnapshot): void {
    hold(!state.isTainted, this.name, () => `${server.name} installs ${name}, which is of a server that differed`);
    this.accused.delete(server);
  }

  onConfirmed(server: SimulatedServer, { name, state }: SimulatedSnapshot): void {
    hold(!state.isTainted, this.name, () => `${name} of ${server.name} counts, though that server differed`);
  }

  onDatabaseLost(server: SimulatedServer): void {
    this.accused.delete(server);
  }

  /** The state of a file is that of no server before. */
  onApplied(server: SimulatedServer, commands: readonly MergedCommand[]): void {
    if (commands.some(({ name }) => name === RESTORE_COMMAND)) this.accused.delete(server);
  }

  onFinished(): void {
    for (const { name, database } of this.world.operator.members) {
      hold(!database.isTainted, this.name, () => `${name} differs, and was not found`);
    }
  }
}
