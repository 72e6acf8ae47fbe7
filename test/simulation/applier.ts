/**
 * The applier process of a simulated server: the production core, with simulated time, stream,
 * database, object store and network around it (in production: services/applier/executor.ts).
 */
import { ApplierCore } from '../../services/applier/core/applier.js';
import type { CheckpointMessage } from '../../services/applier/core/comparison.js';
import type { Effect } from '../../services/applier/core/effect.js';
import type { EnginePosition } from '../../shared/engine/port.js';
import { encodeVerify, VERIFY_COMMAND } from '../../shared/engine/verify.js';
import { LOG_START, type LogIndex } from '../../shared/raft/entry.js';
import { encodeCommand } from '../../shared/wire/command.js';
import type { LocatedState } from '../../shared/wire/locate.js';
import { ApplierAnswers } from './applier-answers.js';
import { ApplierDatabase } from './applier-database.js';
import { ApplierReader } from './applier-reader.js';
import { ApplierSnapshots } from './applier-snapshots.js';
import type { Random } from './random.js';
import type { SimulatedServer } from './server.js';
import { Violation, type World } from './world.js';

/** The effect of that type. */
export type EffectOf<T extends Effect['type']> = Extract<Effect, { readonly type: T }>;

/** More wakes in a row that leave something due are no accident of rounding. */
const OVERDUE_WAKES_MAX = 10;

export class SimulatedApplier {
  isAlive = true;
  /** How often in a row something was still due after a wake. */
  private overdueWakes = 0;
  readonly core: ApplierCore;
  readonly random: Random;
  readonly database: ApplierDatabase;
  readonly reader = new ApplierReader(this);
  readonly snapshots = new ApplierSnapshots(this);
  readonly answers = new ApplierAnswers(this);
  private wakes = 0;
  private nextRequest = 1;
  private readonly installs = new Map<number, (position: EnginePosition | null) => void>();
  private readonly takes = new Map<number, (isTaken: boolean) => void>();
  private readonly rebuilds = new Map<number, (position: EnginePosition | null) => void>();

  constructor(
    readonly world: World,
    readonly server: SimulatedServer,
    life: number,
  ) {
    this.random = world.random.fork(900_000 + server.index * 100 + (life % 100) + life * 10_000);
    this.database = new ApplierDatabase(this);
    const { database } = server;
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

  /**
   * Where the state is once it is at or beyond `atLeast`, for the merger and the replica; null when
   * there is none that reaches it yet (T10).
   */
  locate(atLeast: readonly LogIndex[], answer: (state: LocatedState | null) => void): void {
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

  /** Another server takes a snapshot, or takes none any more: there may be a new one. */
  hearTaking(name: string, isTaking: boolean): void {
    this.dispatch((core) => core.heardTaking(name, isTaking));
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

  later(delayUs: number, action: () => void): void {
    this.server.after(this, delayUs, action);
  }

  dispatch(event: (core: ApplierCore) => void): void {
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
        this.database.begin(effect);
        return;
      case 'seek':
        this.reader.seek(effect);
        return;
      case 'read':
        this.reader.read(effect);
        return;
      case 'follow':
        this.reader.follow(effect);
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
        this.answers.answer(effect);
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
        this.snapshots.list();
        return;
      case 'confirm':
        this.snapshots.confirm(effect);
        return;
      case 'remove':
        world.snapshots.withdraw(server.name, effect.name);
        return;
      case 'withdraw':
        world.snapshots.withdraw(server.name);
        return;
      case 'compact':
        this.snapshots.compact(effect);
        return;
      case 'locate':
        this.later(this.random.between(200, 2_000), () => {
          const found = this.database.position();
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
        if (effect.isOwn && this.database.isOpen) world.observer.onVerdict(server, effect.message);
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

  private look({ id, wanted }: EffectOf<'look'>): void {
    this.later(this.random.between(200, 2_000), () => {
      const { stream } = this.server;
      const found = this.database.position();
      const last = stream.messages[stream.messages.length - 1];
      const hasMore = last !== undefined && last.after.mergedIndex >= wanted;
      this.dispatch((core) => (found instanceof Error ? core.lookFailed(id, found) : core.looked(id, hasMore, found)));
    });
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

  isSessionLost(): boolean {
    return this.server.isSessionLossy && this.random.chance(0.3);
  }

  isLost(): boolean {
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
  leader.after(replica, 0, () =>
    replica.offer(0, { tag, body, acknowledgement: 'applied', isAwaited: true, isWatched: false }, 0),
  );
}
