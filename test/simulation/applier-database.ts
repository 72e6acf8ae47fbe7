/** What a simulated applier does with its database, one thing at a time. */
import type { ApplierCore } from '../../services/applier/core/applier.js';
import type { EngineEffect } from '../../services/applier/core/effect.js';
import { type EnginePosition, SnapshotFormatError } from '../../shared/engine/port.js';
import type { MergedIndex } from '../../shared/raft/entry.js';
import type { SimulatedApplier } from './applier.js';
import { countFault, Violation } from './world.js';

/** A database that is gone for a moment. */
class ConnectionLost extends Error {}

export class ApplierDatabase {
  /** Where it has added up its rows last. */
  verifiedAt: MergedIndex = 0;
  /** Of the database, as it was opened. */
  private generation: number;
  /** What the engine is doing: the core may not ask for two things at once. */
  private underWay: EngineEffect | null = null;

  constructor(private readonly applier: SimulatedApplier) {
    this.generation = applier.server.database.open();
  }

  get isOpen(): boolean {
    return this.applier.server.database.isOpenAs(this.generation);
  }

  /** Where the state is, or why that cannot be told. */
  position(): EnginePosition | Error {
    return this.tried(() => this.applier.server.database.position());
  }

  begin(effect: EngineEffect): void {
    if (this.underWay !== null) {
      throw new Violation(
        'assertion',
        `${this.applier.server.name} applier: ${effect.type} during ${this.underWay.type}`,
      );
    }
    this.underWay = effect;
    this.applier.later(this.engineUs(effect), () => {
      this.underWay = null;
      this.work(effect);
    });
  }

  private engineUs({ type }: EngineEffect): number {
    const { world, random } = this.applier;
    if (type !== 'install') return random.between(200, 2_000);
    const isSlow = world.isFaulty && world.options.faults.has('slow-install') && random.chance(0.3);
    return isSlow ? random.between(0.5e6, 4e6) : random.between(1e3, 50e3);
  }

  private work(effect: EngineEffect): void {
    const { database } = this.applier.server;
    if (effect.type === 'open') {
      if (this.applier.isSessionLost()) {
        this.applier.dispatch((core) => core.engineFailed(new ConnectionLost('the database cannot be opened')));
        return;
      }
      this.generation = database.open();
      const { engine } = database;
      this.applier.dispatch((core) => core.opened({ position: database.position(), divergence: engine.divergence }));
      return;
    }
    const done = this.tried(() => this.workOf(effect));
    if (done instanceof Error) this.applier.dispatch((core) => core.engineFailed(done));
    else this.applier.dispatch(done);
  }

  private workOf(effect: Exclude<EngineEffect, { type: 'open' }>): (core: ApplierCore) => void {
    const { world, server } = this.applier;
    const { database } = server;
    switch (effect.type) {
      case 'apply': {
        const { batch, restoring } = effect;
        const file = restoring === undefined ? undefined : world.snapshots.files.get(restoring.object);
        if (restoring !== undefined && file === undefined) throw new SnapshotFormatError('the file is gone');
        const restored = file === undefined ? null : { file, digest: restoring?.digest ?? '' };
        const isHeard = !server.isSessionLossy || this.applier.random.chance(0.5);
        const done = database.apply(batch, restored, isHeard);
        world.observer.onApplied(server, batch.commands, done.applied);
        if (!isHeard) throw new ConnectionLost('the answer to a batch is lost');
        return (core) => core.applied(done);
      }
      case 'install': {
        const snapshot = world.snapshots.find(effect.snapshot.name);
        if (snapshot === undefined) throw new SnapshotFormatError('the snapshot is gone');
        countFault(world, 'install');
        world.note('installed', server.index, () => `snapshot at ${snapshot.position.mergedIndex}`);
        world.observer.onInstalled(server, snapshot);
        database.restore(snapshot.state);
        const position = database.position();
        return (core) => core.installed(position);
      }
      case 'begin': {
        const position = database.position();
        this.verify(position.mergedIndex, database.rowsChecksum());
        const isSaved = effect.save && position.mergedIndex === effect.mark;
        if (!isSaved) return (core) => core.begun(position);
        if (!this.applier.isSessionLost()) {
          this.applier.snapshots.save();
          return (core) => core.begun(position);
        }
        return (core) => {
          core.begun(position);
          core.bucket.saveFailed();
        };
      }
      case 'mark':
        database.markDiverged(effect.reason);
        world.observer.onVerdictKept(server);
        return (core) => core.marked();
    }
  }

  /** What `work` gives, or why it could not be done. */
  private tried<T>(work: () => T): T | Error {
    const { database } = this.applier.server;
    try {
      database.require(this.generation);
      if (this.applier.isSessionLost()) throw new ConnectionLost('the session is lost');
      return work();
    } catch (error) {
      if (error instanceof Violation || !(error instanceof Error)) throw error;
      return error;
    }
  }

  private verify(mergedIndex: MergedIndex, checksum: string): void {
    const isSlow = this.applier.world.isFaulty && this.applier.random.chance(0.1);
    this.applier.later(isSlow ? this.applier.random.between(50e3, 3e6) : this.applier.random.between(500, 50e3), () => {
      if (this.applier.isSessionLost()) {
        this.applier.dispatch((core) => core.verifyFailed(new ConnectionLost('the session is lost')));
        return;
      }
      this.verifiedAt = mergedIndex;
      this.applier.dispatch((core) => core.verified(mergedIndex, checksum));
    });
  }
}
