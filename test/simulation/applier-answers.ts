/**
 * What a simulated applier answers clients: their commands, and reads once the state holds what
 * they need.
 */
import type { LogIndex } from '../../shared/raft/entry.js';
import type { EffectOf, SimulatedApplier } from './applier.js';

interface Reading {
  readonly positions: readonly LogIndex[];
  readonly key: string;
  readonly tag: string;
}

export class ApplierAnswers {
  private readings: Reading[] = [];

  constructor(private readonly applier: SimulatedApplier) {}

  query(key: string, tag: string): void {
    const { replica } = this.applier.server;
    if (replica === null || this.applier.core.refusal !== undefined) return;
    replica.barrier((positions) => {
      this.applier.later(this.applier.random.between(20, 200), () => {
        this.readings.push({ positions, key, tag });
        this.serveReads();
        this.applier.dispatch((core) => core.setAwaited(this.readings.length > 0));
      });
    });
  }

  answer({ commands, done, isTrusted }: EffectOf<'answer'>): void {
    const { world, server } = this.applier;
    for (let at = 0; at < commands.length; at++) {
      const command = commands[at];
      const applied = done.applied[at];
      if (command === undefined || applied === undefined || command.server !== server.name) continue;
      if (command.traceparent !== 'applied') continue;
      if (!isTrusted) {
        world.clients.onUnknown(command.reply);
        continue;
      }
      const { timestamp, group, mergedIndex, outcome } = applied;
      world.observer.onServed(server);
      world.clients.onAcknowledged('applied', command.reply, { timestamp, group, mergedIndex, outcome });
    }
    this.serveReads();
  }

  private serveReads(): void {
    if (this.readings.length === 0 || this.applier.core.refusal !== undefined) return;
    const { database } = this.applier.server;
    const { positions: reached } = database;
    this.readings = this.readings.filter(({ positions, key, tag }) => {
      // Now and then a read is the first to notice that the database went back.
      if (this.applier.core.appliedIndex > database.mergedIndex && this.applier.random.chance(0.3)) {
        const found = database.position();
        this.applier.later(1, () => this.applier.dispatch((core) => core.foundAt(found)));
      }
      if (positions.some((index, group) => (reached[group]?.index ?? 0) < index)) return true;
      const row = database.engine.rows.get(key);
      const { place, mergedIndex } = database;
      this.applier.world.observer.onServed(this.applier.server);
      this.applier.world.clients.onRead(tag, { place, mergedIndex, version: row?.version ?? 0 });
      return false;
    });
    this.applier.later(1, () => this.applier.dispatch((core) => core.setAwaited(this.readings.length > 0)));
  }
}
