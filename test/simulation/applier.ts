/**
 * The applier process of a simulated server: the production core, with simulated time, stream,
 * database, object store and network around it (in production: services/applier/executor.ts).
 */
import { ApplierCore } from '../../services/applier/core/applier.js';
import type { CheckpointMessage } from '../../services/applier/core/comparison.js';
import type { Effect, EngineEffect } from '../../services/applier/core/effect.js';
import { type EnginePosition, SnapshotFormatError } from '../../shared/engine/port.js';
import { encodeVerify, VERIFY_COMMAND } from '../../shared/engine/verify.js';
import { DirectMergedLog } from '../../shared/link/merged-log.js';
import type { MergedRun } from '../../shared/merge/merge.js';
import { LOG_START, type LogIndex, type MergedIndex } from '../../shared/raft/entry.js';
import { encodeCommand } from '../../shared/wire/command.js';
import type { InstalledState } from '../../shared/wire/install.js';
import type { Random } from './random.js';
import type { SimulatedServer } from './server.js';
import { countFault, Violation, type World } from './world.js';

interface Reading {
  readonly positions: readonly LogIndex[];
  readonly key: string;
  readonly tag: string;
}

/** A request that was lost, or a database that is gone for a moment. */
class ConnectionLost extends Error {}

/** More wakes in a row that leave something due are no accident of rounding. */
const OVERDUE_WAKES_MAX = 10;

export class SimulatedApplier {
  isAlive = true;
  /** How often in a row something was still due after a wake. */
  private overdueWakes = 0;
  /** Where it has added up its rows last. */
  verifiedAt: MergedIndex = 0;
  readonly core: ApplierCore;
  private readonly random: Random;
  /** Of the database, as it was opened. */
  private generation: number;
  /**
   * How many messages of the stream, removed ones included, come before the next one that is read.
   */
  private cursor = 0;
  /** The newest runs, as they are heard by an applier that is a process of its own. */
  private readonly heard = new DirectMergedLog();
  /** The reader gets nothing any more, and nothing says so. */
  private isStalled = false;
  private wakes = 0;
  private readings: Reading[] = [];
  private nextRequest = 1;
  private readonly installs = new Map<number, (position: EnginePosition | null) => void>();
  private readonly takes = new Map<number, (isTaken: boolean) => void>();
  private readonly rebuilds = new Map<number, (position: EnginePosition | null) => void>();
  /** What the engine is doing: the core may not ask for two things at once. */
  private engineWork: EngineEffect | null = null;

  constructor(
    private readonly world: World,
    private readonly server: SimulatedServer,
    life: number,
  ) {
    this.random = world.random.fork(900_000 + server.index * 100 + (life % 100) + life * 10_000);
    const { database } = server;
    this.generation = database.open();
    const { options, names } = world;
    this.core = new ApplierCore(
      {
        server: server.name,
        servers: server.index < options.servers ? names.slice(0, options.servers) : [],
        groups: options.groups,
        machine: { name: 'kv', versions: server.loaded },
        queue: options.applier,
        snapshots: { entries: options.snapshotEvery, bytes: Number.POSITIVE_INFINITY, ageMs: Number.POSITIVE_INFINITY },
        verifyEveryMs: options.verifyEveryMs,
        random: () => this.random.next(),
      },
      { position: database.position(), divergence: database.engine.divergence },
      this.nowMs(),
    );
    this.dispatch(() => undefined);
    this.watchVoters();
  }

  /** A message on the subject of the stream; it may get lost. */
  hearRun(run: MergedRun): void {
    if (this.isLost()) return;
    this.later(this.random.between(20, 300), () => this.heard.push(run));
  }

  /** No message arrives any more. */
  stall(): void {
    this.isStalled = true;
  }

  query(key: string, tag: string): void {
    const { replica } = this.server;
    if (replica === null || this.core.refusal !== undefined) return;
    replica.barrier((positions) => {
      this.later(this.random.between(20, 200), () => {
        this.readings.push({ positions, key, tag });
        this.serveReads();
        this.dispatch((core) => core.setAwaited(this.readings.length > 0));
      });
    });
  }

  /**
   * Where the state is once it is at or beyond `atLeast`, for the merger and the replica; null when
   * there is none that reaches it yet (T10).
   */
  locate(atLeast: readonly LogIndex[], answer: (state: InstalledState | null) => void): void {
    const request = this.nextRequest++;
    this.installs.set(request, (position) => {
      const { groups } = this.world.options;
      const positions = Array.from({ length: groups }, (_, group) => position?.positions[group] ?? LOG_START);
      answer(position === null ? null : { mergedIndex: position.mergedIndex, checksum: position.checksum, positions });
    });
    this.dispatch((core) => core.install(request, atLeast));
  }

  /** An operator has this state made again; false: it could not be. */
  rebuild(answer: (isDone: boolean) => void): void {
    const request = this.nextRequest++;
    this.rebuilds.set(request, (position) => answer(position !== null));
    this.dispatch((core) => core.rebuild(request));
  }

  /** An operator wants a snapshot of everything applied until now. */
  take(answer: (isTaken: boolean) => void): void {
    const request = this.nextRequest++;
    this.takes.set(request, answer);
    this.dispatch((core) => core.takeSnapshot(request));
  }

  hear(message: CheckpointMessage): void {
    this.dispatch((core) => core.heard(message));
  }

  wantSnapshot(): void {
    this.dispatch((core) => core.wantSnapshot());
  }

  private nowMs(): number {
    return this.world.queue.nowUs / 1_000;
  }

  private later(delayUs: number, action: () => void): void {
    this.server.after(this, delayUs, action);
  }

  private dispatch(event: (core: ApplierCore) => void): void {
    this.guard(() => {
      this.core.advance(this.nowMs());
      event(this.core);
      for (const effect of this.core.run()) this.execute(effect);
    });
    this.wakeLater();
  }

  /** What is due is done when it is woken: else it would be woken again and again. */
  private wake(): void {
    this.dispatch(() => undefined);
    this.overdueWakes = this.core.nextWakeMs <= this.nowMs() ? this.overdueWakes + 1 : 0;
    if (this.isAlive && this.overdueWakes > OVERDUE_WAKES_MAX) {
      throw new Violation('liveness', `the applier of ${this.server.name} is woken for nothing`);
    }
  }

  private wakeLater(): void {
    const wake = ++this.wakes;
    this.later(Math.max(1, this.core.nextWakeMs * 1_000 - this.world.queue.nowUs), () => {
      if (wake === this.wakes) this.wake();
    });
  }

  private execute(effect: Effect): void {
    const { world, server } = this;
    switch (effect.type) {
      case 'open':
      case 'apply':
      case 'install':
      case 'begin':
      case 'mark':
        this.begin(effect);
        return;
      case 'seek':
        this.seek(effect.id, effect.wanted);
        return;
      case 'read':
        this.read(effect.id);
        return;
      case 'follow':
        this.follow(effect);
        return;
      case 'look':
        this.look(effect);
        return;
      case 'restart-log':
        server.merger?.beginAgain();
        return;
      case 'moved':
        return;
      case 'answer':
        this.answer(effect);
        return;
      case 'tell':
        this.tell(effect.message);
        return;
      case 'ask-verify':
        this.askVerify(effect.save);
        return;
      case 'ask-snapshot':
        this.askSnapshot();
        return;
      case 'list':
        this.later(this.random.between(500, 5_000), () => {
          if (this.isLost()) this.dispatch((core) => core.bucket.listFailed());
          else this.dispatch((core) => core.bucket.listed(world.snapshots.list()));
        });
        return;
      case 'confirm':
        this.later(this.random.between(500, 5_000), () => this.confirm(effect.name));
        return;
      case 'remove':
        world.snapshots.withdraw(server.name, effect.name);
        return;
      case 'withdraw':
        world.snapshots.withdraw(server.name);
        return;
      case 'compact':
        this.compact(effect);
        return;
      case 'locate':
        this.later(this.random.between(200, 2_000), () => {
          const found = this.tryDatabase(() => server.database.position());
          this.dispatch((core) => core.located(effect.request, found instanceof Error ? null : found));
        });
        return;
      case 'installed':
        this.installs.get(effect.request)?.(effect.position);
        this.installs.delete(effect.request);
        return;
      case 'rebuilt':
        this.rebuilds.get(effect.request)?.(effect.position);
        this.rebuilds.delete(effect.request);
        return;
      case 'differs':
        world.note('differs', server.index, () => effect.message);
        // A verdict on a database that is gone, which it has not noticed yet, harms none.
        if (effect.isOwn && server.database.isOpenAs(this.generation)) world.observer.onVerdict(server, effect.message);
        return;
      case 'trouble':
        world.note('trouble', server.index, () => String(effect.error));
        return;
      case 'taken':
        this.takes.get(effect.request)?.(effect.snapshot !== null);
        this.takes.delete(effect.request);
        return;
      case 'refusal':
      case 'recovered':
      case 'waiting':
      case 'version':
      case 'ask-machine':
        return;
      case 'fatal':
        throw new Violation('assertion', `${server.name} applier: ${effect.error.stack}`);
    }
  }

  // The stream.

  private seek(id: number, wanted: MergedIndex): void {
    this.isStalled = false;
    this.later(this.random.between(50, 2_000), () => {
      if (this.isLost()) {
        this.dispatch((core) => core.readEnded(id));
        return;
      }
      const { stream } = this.server;
      const at = stream.find(wanted);
      this.cursor = stream.removed + at;
      const firstMergedIndex = stream.messages[at]?.firstMergedIndex;
      this.dispatch((core) => core.stream.placed(id, { firstMergedIndex }));
    });
  }

  private read(id: number): void {
    this.later(this.random.between(50, 2_000), () => {
      if (this.isStalled) return;
      if (this.isLost()) {
        this.dispatch((core) => core.readEnded(id));
        return;
      }
      const { stream } = this.server;
      // What was removed before it was read is missed, and what comes after a lost tail is read on
      // from there.
      this.cursor = Math.min(Math.max(this.cursor, stream.removed), stream.removed + stream.messages.length);
      const from = this.cursor - stream.removed;
      const runs = stream.messages.slice(from, from + 1 + this.random.below(5));
      this.cursor += runs.length;
      const isEnd = this.cursor === stream.removed + stream.messages.length;
      this.dispatch((core) => core.stream.read(id, { runs, isEnd }));
    });
  }

  private follow({ id, wanted }: Extract<Effect, { type: 'follow' }>): void {
    const tail = this.world.options.isOneProcess ? this.server.tail : this.heard;
    tail.next(wanted, (found) => {
      if (this.isStalled) return;
      this.later(this.random.between(1, 300), () => this.dispatch((core) => core.stream.followed(id, found)));
    });
  }

  private look({ id, wanted }: Extract<Effect, { type: 'look' }>): void {
    this.later(this.random.between(200, 2_000), () => {
      const { stream, database } = this.server;
      const found = this.tryDatabase(() => database.position());
      const last = stream.messages[stream.messages.length - 1];
      const hasMore = last !== undefined && last.after.mergedIndex >= wanted;
      this.dispatch((core) => (found instanceof Error ? core.lookFailed(id, found) : core.looked(id, hasMore, found)));
    });
  }

  // The database.

  private begin(effect: EngineEffect): void {
    if (this.engineWork !== null) {
      throw new Violation('assertion', `${this.server.name} applier: ${effect.type} during ${this.engineWork.type}`);
    }
    this.engineWork = effect;
    this.later(this.engineUs(effect), () => {
      this.engineWork = null;
      this.work(effect);
    });
  }

  private engineUs({ type }: EngineEffect): number {
    const { world, random } = this;
    if (type !== 'install') return random.between(200, 2_000);
    const isSlow = world.isFaulty && world.options.faults.has('slow-install') && random.chance(0.3);
    return isSlow ? random.between(0.5e6, 4e6) : random.between(1e3, 50e3);
  }

  private work(effect: EngineEffect): void {
    const { database } = this.server;
    if (effect.type === 'open') {
      if (this.isSessionLost()) {
        this.dispatch((core) => core.engineFailed(new ConnectionLost('the database cannot be opened')));
        return;
      }
      this.generation = database.open();
      const { engine } = database;
      this.dispatch((core) => core.opened({ position: database.position(), divergence: engine.divergence }));
      return;
    }
    const done = this.tryDatabase(() => this.workOf(effect));
    if (done instanceof Error) this.dispatch((core) => core.engineFailed(done));
    else this.dispatch(done);
  }

  private workOf(effect: Exclude<EngineEffect, { type: 'open' }>): (core: ApplierCore) => void {
    const { world, server } = this;
    const { database } = server;
    switch (effect.type) {
      case 'apply': {
        const { batch, restoring } = effect;
        const file = restoring === undefined ? undefined : world.snapshots.files.get(restoring.object);
        if (restoring !== undefined && file === undefined) throw new SnapshotFormatError('the file is gone');
        const restored = file === undefined ? null : { file, digest: restoring?.digest ?? '' };
        const isHeard = !server.isSessionLossy || this.random.chance(0.5);
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
        if (!this.isSessionLost()) {
          this.save();
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
  private tryDatabase<T>(work: () => T): T | Error {
    const { database } = this.server;
    try {
      database.require(this.generation);
      if (this.isSessionLost()) throw new ConnectionLost('the session is lost');
      return work();
    } catch (error) {
      if (error instanceof Violation || !(error instanceof Error)) throw error;
      return error;
    }
  }

  private verify(mergedIndex: MergedIndex, checksum: string): void {
    const isSlow = this.world.isFaulty && this.random.chance(0.1);
    this.later(isSlow ? this.random.between(50e3, 3e6) : this.random.between(500, 50e3), () => {
      if (this.isSessionLost()) {
        this.dispatch((core) => core.verifyFailed(new ConnectionLost('the session is lost')));
        return;
      }
      this.verifiedAt = mergedIndex;
      this.dispatch((core) => core.verified(mergedIndex, checksum));
    });
  }

  private save(): void {
    const { world, server } = this;
    const state = server.database.save();
    this.sayTaking(true);
    this.later(this.random.between(1e3, 100e3), () => {
      if (this.isSessionLost()) {
        this.sayTaking(false);
        this.dispatch((core) => core.bucket.saveFailed());
        return;
      }
      const name = world.snapshots.save(server.name, state);
      countFault(world, 'snapshot');
      world.note('snapshot', server.index, () => name);
      this.dispatch((core) => core.bucket.saved(state.position.mergedIndex, name));
    });
  }

  private confirm(name: string): void {
    const { world, server } = this;
    const isUnheard = this.isLost();
    const confirmed = isUnheard && this.random.chance(0.5) ? undefined : world.snapshots.confirm(name);
    if (confirmed !== undefined) world.observer.onConfirmed(server, confirmed);
    if (isUnheard || confirmed === undefined) {
      const isGone = world.snapshots.find(name) === undefined;
      this.dispatch((core) => core.bucket.confirmFailed(name, isGone));
      return;
    }
    world.note('confirmed', server.index, () => name);
    this.dispatch((core) => core.bucket.confirmed(name));
    this.sayTaking(false);
  }

  private sayTaking(isTaking: boolean): void {
    const { world, server } = this;
    for (const other of world.servers) {
      if (other === server) continue;
      world.network.carry(server.index, other.index, () => {
        const { applier } = other;
        if (applier !== null) other.after(applier, 0, () => applier.hearTaking(server.name, isTaking));
      });
    }
  }

  /** Another server takes a snapshot, or takes none any more: there may be a new one. */
  hearTaking(name: string, isTaking: boolean): void {
    this.dispatch((core) => core.heardTaking(name, isTaking));
  }

  /** What snapshots cover goes from the own log and stream. */
  private compact({ mergedIndex, positions }: Extract<Effect, { type: 'compact' }>): void {
    const { world, server } = this;
    this.later(this.random.between(100, 2_000), () => {
      if (this.isLost()) {
        this.dispatch((core) => core.bucket.compactFailed());
        return;
      }
      world.snapshots.onCompacted(mergedIndex);
      server.replica?.dispatch((core) => core.compact(positions));
      server.stream.trim(mergedIndex);
      this.dispatch((core) => core.bucket.compacted());
    });
  }

  // Clients and other servers.

  private answer({ commands, done, isTrusted }: Extract<Effect, { type: 'answer' }>): void {
    const { world, server } = this;
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
    if (this.readings.length === 0 || this.core.refusal !== undefined) return;
    const { database } = this.server;
    const { positions: reached } = database;
    this.readings = this.readings.filter(({ positions, key, tag }) => {
      // Now and then a read is the first to notice that the database went back.
      if (this.core.appliedIndex > database.mergedIndex && this.random.chance(0.3)) {
        const found = database.position();
        this.later(1, () => this.dispatch((core) => core.foundAt(found)));
      }
      if (positions.some((index, group) => (reached[group]?.index ?? 0) < index)) return true;
      const row = database.engine.rows.get(key);
      const { place, mergedIndex } = database;
      this.world.observer.onServed(this.server);
      this.world.clients.onRead(tag, { place, mergedIndex, version: row?.version ?? 0 });
      return false;
    });
    this.later(1, () => this.dispatch((core) => core.setAwaited(this.readings.length > 0)));
  }

  private tell(message: CheckpointMessage): void {
    const { world, server } = this;
    for (const other of world.servers) {
      if (other === server) continue;
      world.network.carry(server.index, other.index, () => {
        const { applier } = other;
        if (applier !== null) other.after(applier, 0, () => applier.hear(message));
      });
    }
  }

  private askVerify(save: boolean): void {
    const { world, server } = this;
    world.note('asks for a mark', server.index, () => (save ? 'with a snapshot' : ''));
    this.later(this.random.between(50, 1_000), () => {
      if (!this.isLost())
        appendByServices(world, VERIFY_COMMAND, encodeVerify(save ? { snapshotBy: server.name } : {}));
    });
  }

  private askSnapshot(): void {
    for (const other of this.world.operator.members) {
      const { applier } = other;
      if (applier !== null) other.after(applier, this.random.between(50, 1_000), () => applier.wantSnapshot());
    }
  }

  /** As production looks at its own replica now and then. */
  private watchVoters(): void {
    this.later(this.random.between(100e3, 1e6), () => {
      const groups = this.server.replica?.core.groups ?? [];
      const voters = new Set(groups.flatMap(({ configuration }) => configuration.voters));
      if (voters.size > 0) this.dispatch((core) => core.setVoters([...voters]));
      this.watchVoters();
    });
  }

  private isSessionLost(): boolean {
    return this.server.isSessionLossy && this.random.chance(0.3);
  }

  private isLost(): boolean {
    return this.server.isLocalLossy && this.random.chance(0.2);
  }

  private guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (error instanceof Violation) throw error;
      throw new Violation('assertion', `${this.server.name} applier: ${error instanceof Error ? error.stack : error}`);
    }
  }
}

/** A command of the services themselves: the leader of group 0 appends it, if there is one. */
export function appendByServices(world: World, name: string, payload: Uint8Array): void {
  const leader = world.servers.find(({ replica }) => replica?.leading.has(0) === true);
  if (leader === undefined || leader.replica === null) return;
  const { replica } = leader;
  // A name of its own, which is the number of no operation.
  const tag = `${name} ${world.step}`;
  const fields = { name, payload, id: '', server: leader.name, reply: tag, traceparent: '' };
  const body = encodeCommand({ ...fields, replyFormat: 'json' });
  leader.after(replica, 0, () => replica.offer(0, { tag, body, acknowledgement: 'applied', isWatched: false }, 0));
}
