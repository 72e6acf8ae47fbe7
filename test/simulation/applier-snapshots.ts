/**
 * A simulated applier and the snapshots that all servers share: in an object store, which may lose
 * requests.
 */
import type { EffectOf, SimulatedApplier } from './applier.js';
import { countFault } from './world.js';

export class ApplierSnapshots {
  constructor(private readonly applier: SimulatedApplier) {}

  list(): void {
    const { applier } = this;
    applier.later(applier.random.between(500, 5_000), () => {
      if (applier.isLost()) applier.dispatch((core) => core.bucket.listFailed());
      else applier.dispatch((core) => core.bucket.listed(applier.world.snapshots.list()));
    });
  }

  /** Of the state as it is now. */
  save(): void {
    const { applier } = this;
    const { world, server, random } = applier;
    const state = server.database.save();
    this.sayTaking(true);
    applier.later(random.between(1e3, 100e3), () => {
      if (applier.isSessionLost()) {
        this.sayTaking(false);
        applier.dispatch((core) => core.bucket.saveFailed());
        return;
      }
      const name = world.snapshots.save(server.name, state);
      countFault(world, 'snapshot');
      world.note('snapshot', server.index, () => name);
      applier.dispatch((core) => core.bucket.saved(state.position.mergedIndex, name));
    });
  }

  confirm({ name }: EffectOf<'confirm'>): void {
    this.applier.later(this.applier.random.between(500, 5_000), () => this.confirmNow(name));
  }

  private confirmNow(name: string): void {
    const { world, server } = this.applier;
    const isUnheard = this.applier.isLost();
    const confirmed = isUnheard && this.applier.random.chance(0.5) ? undefined : world.snapshots.confirm(name);
    if (confirmed !== undefined) world.observer.onConfirmed(server, confirmed);
    if (isUnheard || confirmed === undefined) {
      const isGone = world.snapshots.find(name) === undefined;
      this.applier.dispatch((core) => core.bucket.confirmFailed(name, isGone));
      return;
    }
    world.note('confirmed', server.index, () => name);
    this.applier.dispatch((core) => core.bucket.confirmed(name));
    this.sayTaking(false);
  }

  private sayTaking(isTaking: boolean): void {
    const { world, server } = this.applier;
    for (const other of world.servers) {
      if (other === server) continue;
      world.network.carry(server.index, other.index, () => {
        const { applier } = other;
        if (applier !== null) other.after(applier, 0, () => applier.hearTaking(server.name, isTaking));
      });
    }
  }

  /** What snapshots cover goes from the own log and stream. */
  compact({ mergedIndex, positions }: EffectOf<'compact'>): void {
    const { world, server } = this.applier;
    this.applier.later(this.applier.random.between(100, 2_000), () => {
      if (this.applier.isLost()) {
        this.applier.dispatch((core) => core.bucket.compactFailed());
        return;
      }
      world.snapshots.onCompacted(mergedIndex);
      server.replica?.dispatch((core) => core.compact(positions));
      server.stream.trim(mergedIndex);
      this.applier.dispatch((core) => core.bucket.compacted());
    });
  }
}
