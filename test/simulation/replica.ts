/**
 * The replica process of a simulated server: the production core, driven as
 * services/replica/runner.ts drives it, with the disk, the network and the clients of the
 * simulation around it.
 */

import type { Acknowledgement, Effect, FailedEffect, QueuedCommand } from '../../services/replica/core/effect.js';
import type { FeedAnswer } from '../../services/replica/core/feed.js';
import { ReplicaCore } from '../../services/replica/core/server.js';
import type { LoadedState, WriteBatch } from '../../shared/log-store/port.js';
import type { GroupId, LogIndex, ServerId, Timestamp } from '../../shared/raft/entry.js';
import { decodeCommand } from '../../shared/wire/command.js';
import { decodeConfiguration, encodeConfiguration } from '../../shared/wire/configuration.js';
import { encodeEntry, entryBody } from '../../shared/wire/entry-block.js';
import type { Envelope } from '../../shared/wire/envelope.js';
import type { FeedRequest } from '../../shared/wire/feed.js';
import type { LocatedState } from '../../shared/wire/locate.js';
import type { Random } from './random.js';
import type { SimulatedServer } from './server.js';
import { countFault, Violation, type World } from './world.js';

/** A command with the tag of the attempt that it belongs to. */
export interface SimulatedCommand extends QueuedCommand {
  readonly tag: string;
}

const RETRY_WRITE_US = 200_000;
const INSTALL_US_MAX = 5_000_000;
const INSTALL_RETRY_US = 200_000;
/**
 * Requests that wait for the core; the oldest is forgotten (services/replica/pending-requests.ts).
 */
const WAITING_MAX = 8;

export class SimulatedReplica {
  readonly core: ReplicaCore<SimulatedCommand>;
  /** Groups whose command subjects it listens to. */
  readonly leading = new Set<GroupId>();
  isAlive = true;
  /** The batch that the disk is working on. */
  writing: WriteBatch | null = null;
  private isScheduled = false;
  /** When the next turn comes by itself (milliseconds, monotonic). */
  private wakesAtMs = Number.POSITIVE_INFINITY;
  private nextRequest = 1;
  private readonly polls = new Map<number, (answer: FeedAnswer) => void>();
  private readonly barriers = new Map<number, (positions: readonly LogIndex[]) => void>();
  private readonly random: Random;

  constructor(
    private readonly world: World,
    private readonly server: SimulatedServer,
    loaded: LoadedState,
    life: number,
  ) {
    this.random = world.random.fork(1_000 + server.index * 100 + (life % 100) + life * 10_000);
    const { options } = world;
    this.core = new ReplicaCore<SimulatedCommand>(
      {
        ...options.core,
        server: server.name,
        servers: server.index < options.servers ? world.names.slice(0, options.servers) : [],
        groups: options.groups,
        encodeEntry,
        encodeConfiguration,
        decodeConfiguration,
        random: () => this.random.next(),
      },
      loaded,
      this.time(),
    );
    this.server.after(this, this.random.between(0, options.tickMs * 1_000), () => this.tick());
    this.schedule();
  }

  /**
   * Gives the core something that has happened; the turn comes a moment later and takes along what
   * else comes until then.
   */
  dispatch(event: (core: ReplicaCore<SimulatedCommand>) => void): void {
    this.guard(() => {
      const { physical, nowMs } = this.time();
      this.core.advance(physical, nowMs);
      event(this.core);
    });
    this.world.observer.look(this.server, this.core);
    this.schedule();
  }

  deliver(envelope: Envelope): void {
    this.dispatch((core) => core.receive(envelope));
  }

  /** A command of a client; `refuse` when nothing was appended. */
  offer(group: GroupId, command: SimulatedCommand, after: Timestamp): void {
    this.dispatch((core) => {
      const refusal = core.offer(group, command, after);
      if (refusal !== null) this.world.clients.onRefused(this.server.index, command.tag, refusal);
    });
  }

  poll(request: FeedRequest, answer: (answer: FeedAnswer) => void): void {
    this.wait(
      this.polls,
      answer,
      (id) => this.core.forgetPoll(id),
      (core, id) => core.poll(id, request),
    );
  }

  barrier(answer: (positions: readonly LogIndex[]) => void): void {
    this.wait(
      this.barriers,
      answer,
      (id) => this.core.forgetBarrier(id),
      (core, id) => core.barrier(id),
    );
  }

  private wait<T>(
    waiting: Map<number, T>,
    answer: T,
    forget: (id: number) => void,
    begin: (core: ReplicaCore<SimulatedCommand>, id: number) => void,
  ): void {
    const id = this.nextRequest++;
    waiting.set(id, answer);
    for (const old of waiting.keys()) {
      if (waiting.size <= WAITING_MAX) break;
      waiting.delete(old);
      forget(old);
    }
    this.dispatch((core) => begin(core, id));
  }

  /**
   * NATS knows which processes take messages; now and then it does not say so, or is wrong for a
   * moment.
   */
  private probe(peer: ServerId): void {
    const { world, server } = this;
    const asked = world.servers[world.names.indexOf(peer)];
    server.after(this, world.options.latencyUs * this.random.between(0.5, 1.5), () => {
      const isGone = asked?.replica === null;
      if (this.random.chance(isGone ? 0.9 : world.isFaulty ? 0.1 : 0)) this.dispatch((core) => core.unreachable(peer));
    });
  }

  private time(): { physical: Timestamp; nowMs: number } {
    const { nowUs } = this.world.queue;
    return { physical: this.server.clock.physical(nowUs), nowMs: this.server.clock.monotonicMs(nowUs) };
  }

  private tick(): void {
    // The turn of a tick comes with it; whatever else waits for its own takes part.
    const wasScheduled = this.isScheduled;
    this.isScheduled = true;
    this.dispatch((core) => core.tick());
    this.turn();
    this.isScheduled ||= wasScheduled;
    this.server.after(this, this.world.options.tickMs * 1_000, () => this.tick());
  }

  private schedule(): void {
    if (this.isScheduled || !this.isAlive) return;
    this.isScheduled = true;
    this.server.after(this, this.random.between(5, 80), () => this.turn());
  }

  private turn(): void {
    this.isScheduled = false;
    this.guard(() => {
      const { physical, nowMs } = this.time();
      this.core.advance(physical, nowMs);
      const effects = this.core.run();
      this.world.observer.look(this.server, this.core);
      for (const effect of effects) if (this.isAlive) this.execute(effect);
    });
    if (this.isAlive) this.wakeLater();
  }

  private wakeLater(): void {
    const at = this.core.nextWakeMs();
    if (at === null || at >= this.wakesAtMs) return;
    this.wakesAtMs = at;
    this.server.after(this, Math.max(1, at - this.time().nowMs) * 1_000, () => {
      // One that was to come later is no longer needed, but harmless.
      this.wakesAtMs = Number.POSITIVE_INFINITY;
      this.schedule();
    });
  }

  private execute(effect: Effect<SimulatedCommand>): void {
    const { world, server } = this;
    switch (effect.type) {
      case 'send':
        world.observer.onSend(server, this.core, effect.envelope);
        world.network.send(server.index, world.names.indexOf(effect.to), effect.envelope);
        if (effect.isProbe) this.probe(effect.to);
        break;
      case 'write':
        this.write(effect.batch);
        break;
      case 'read':
        this.server.after(this, this.random.between(50, 500), () => {
          const isFailing = server.isDiskFailing && this.random.chance(0.3);
          const { group, from, to, bytesMax } = effect;
          const entries = isFailing ? [] : server.disk.read(group, from, to, bytesMax);
          this.dispatch((core) => core.readDone(effect, entries));
        });
        break;
      case 'refused':
        for (const { tag } of effect.commands) world.clients.onRefused(server.index, tag, effect.reason);
        break;
      case 'committed':
        world.observer.onPlaced('committed', server, effect.group, effect.placed);
        if (effect.placed.command.acknowledgement === 'committed') this.acknowledge('committed', effect);
        break;
      case 'ordered':
        world.observer.onPlaced('ordered', server, effect.group, effect.placed);
        this.acknowledge('ordered', effect);
        break;
      case 'leading':
        world.note('leads', server.index, () => `group ${effect.group} term ${effect.term}`);
        this.leading.add(effect.group);
        break;
      case 'lost':
        world.note('steps down', server.index, () => `group ${effect.group} term ${effect.term}`);
        this.leading.delete(effect.group);
        break;
      case 'failed':
        this.onFailed(effect);
        break;
      case 'feed':
        this.answer(this.polls, effect.request, effect);
        break;
      case 'barrier':
        this.answer(this.barriers, effect.request, effect.positions);
        break;
      case 'snapshot-needed':
        this.install(effect.atLeast);
        break;
      case 'impossible':
        // Every server here runs the real code: one of them has just sent what it never may.
        throw new Violation('assertion', `${server.name} was sent the impossible by ${effect.from}: ${effect.what}`);
      case 'clock-refused':
        countFault(world, 'clock refusal');
        world.note('clock', server.index, () => `group ${effect.group} ${effect.what} ${effect.timestamp}`);
        break;
    }
  }

  /**
   * Asks the applier, which may have to install a snapshot first, as services/replica/locating.ts
   * does.
   */
  private install(atLeast: readonly LogIndex[]): void {
    let isOver = false;
    const end = (state: LocatedState | null) => {
      if (isOver) return;
      isOver = true;
      this.world.note('installs', this.server.index, () => (state === null ? 'nothing' : `at ${state.mergedIndex}`));
      this.dispatch((core) => core.installed(state?.positions ?? null));
    };
    this.server.after(this, INSTALL_US_MAX, () => end(null));
    this.server.after(this, this.random.between(100, 2_000), () => {
      const { applier } = this.server;
      if (applier === null || this.server.isLocalLossy) return;
      applier.locate(atLeast, (state) => {
        const delayUs = state === null ? INSTALL_RETRY_US : this.random.between(20, 500);
        this.server.after(this, delayUs, () => end(state));
      });
    });
  }

  private answer<T>(waiting: Map<number, (answer: T) => void>, request: number, answer: T): void {
    const waiter = waiting.get(request);
    waiting.delete(request);
    waiter?.(answer);
  }

  private acknowledge(
    level: Acknowledgement,
    {
      group,
      placed,
    }: { readonly group: GroupId; readonly placed: { timestamp: Timestamp; command: SimulatedCommand } },
  ): void {
    this.world.clients.onAcknowledged(level, placed.command.tag, { timestamp: placed.timestamp, group });
  }

  private onFailed({ outcome, entries, waiting }: FailedEffect<SimulatedCommand>): void {
    const { clients } = this.world;
    const tell = (tag: string) =>
      outcome === 'replaced' ? clients.onRefused(this.server.index, tag, outcome) : clients.onUnknown(tag);
    for (const { command } of waiting) tell(command.tag);
    for (const entry of entries) {
      const { reply, traceparent } = decodeCommand(entryBody(entry));
      // `traceparent` carries the level here: the applier answers only `applied` commands.
      if (traceparent === 'applied') tell(reply);
    }
  }

  private write(batch: WriteBatch): void {
    this.writing = batch;
    const { server } = this;
    const delayUs = this.world.options.diskUs * this.random.between(0.5, 2) + server.diskExtraUs();
    this.server.after(this, delayUs, () => this.finishWrite(batch));
  }

  private finishWrite(batch: WriteBatch): void {
    const { server, world } = this;
    const stallUs = server.diskStallUs();
    if (stallUs > 0) {
      this.server.after(this, stallUs, () => this.finishWrite(batch));
      return;
    }
    if (server.isDiskFailing && this.random.chance(0.5)) {
      countFault(world, 'failed write');
      this.server.after(this, RETRY_WRITE_US, () => this.dispatch((core) => core.retryWrite()));
      return;
    }
    this.guard(() => server.land(batch));
    this.writing = null;
    // Durable; the process hears of it a moment later.
    this.server.after(this, this.random.between(1, 60), () => this.dispatch((core) => core.written()));
  }

  /**
   * An exception out of the core is a broken invariant: production stops, and so does the
   * simulation.
   */
  private guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (error instanceof Violation) throw error;
      const text = error instanceof Error ? `${error.message}\n${error.stack ?? ''}` : String(error);
      throw new Violation('assertion', `${this.server.name}: ${text}`);
    }
  }
}
