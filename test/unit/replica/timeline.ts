/**
 * The replica cores of a few servers in simulated time, joined by links with a latency, with disks
 * that take their time: for what depends on when something happens. Each server runs in the way of
 * services/replica/runner.ts.
 */
import type { Acknowledgement, Effect, QueuedCommand } from '../../../services/replica/core/effect.js';
import type { ReplicaCore } from '../../../services/replica/core/server.js';
import type { GroupId, ServerId } from '../../../shared/raft/entry.js';
import type { Message } from '../../../shared/raft/message.js';
import type { Envelope } from '../../../shared/wire/envelope.js';
import { EventQueue } from '../../simulation/event-queue.js';
import { EPOCH_US, replicaCore, TICK_MS } from './core.js';

export interface TimelineOptions {
  readonly groups: number;
  /** One way (milliseconds); a function where sites are not equally far from each other. */
  readonly latencyMs: number | ((from: ServerId, to: ServerId) => number);
  /** Of a write (milliseconds). */
  readonly diskMs: number;
  /** Nothing wakes a server but messages, disks and ticks. */
  readonly isWakerLate?: boolean;
}

/** Something that can be seen from outside, since `begin`. */
export interface Moment {
  readonly atMs: number;
  readonly text: string;
}

interface Server {
  readonly name: ServerId;
  readonly core: ReplicaCore<QueuedCommand>;
  diskMs: number;
  isScheduled: boolean;
  wakesAtMs: number;
}

export class Timeline {
  /** Envelopes that have left. */
  readonly envelopes: Moment[] = [];
  /** What clients and readers were told. */
  readonly told: Moment[] = [];
  private readonly queue = new EventQueue();
  private readonly servers: readonly Server[];
  private sinceMs = 0;

  constructor(
    names: readonly ServerId[],
    private readonly options: TimelineOptions,
  ) {
    this.servers = names.map((name, at) => {
      const core = replicaCore(names, at, { groups: options.groups });
      const { diskMs } = options;
      const server = { name, core, diskMs, isScheduled: false, wakesAtMs: Number.POSITIVE_INFINITY };
      this.tick(server);
      return server;
    });
  }

  get nowMs(): number {
    return this.queue.nowUs / 1_000;
  }

  /** Lets so much time pass. */
  pass(ms: number): void {
    let isOver = false;
    this.queue.after(ms * 1_000, () => {
      isOver = true;
    });
    while (!isOver) this.queue.next()?.();
  }

  /** Lets time pass until a client is told that, for a second at most; returns when that was. */
  until(text: string): number {
    for (let ms = 0; ms < 1_000; ms += 0.01) {
      const moment = this.told.find((one) => one.text === text);
      if (moment !== undefined) return moment.atMs;
      this.pass(0.01);
    }
    throw new Error(`nobody was told: ${text}`);
  }

  /** Forgets what was seen so far; moments count from now on. */
  begin(): void {
    this.envelopes.length = 0;
    this.told.length = 0;
    this.sinceMs = this.nowMs;
  }

  /** A command for the leader of the group; what becomes of it is told as `s1 ordered 0`. */
  offer(name: ServerId, group: GroupId, acknowledgement: Acknowledgement): void {
    this.dispatch(this.server(name), (core) => {
      const command = { body: new Uint8Array(100), acknowledgement, isAwaited: true, isWatched: true };
      const refusal = core.offer(group, command, 0);
      if (refusal !== null) throw new Error(`refused: ${refusal}`);
    });
  }

  /** A linearizable read; that it may be served is told as `s1 reads`. */
  read(name: ServerId): void {
    this.dispatch(this.server(name), (core) => core.barrier(1));
  }

  server(name: ServerId): Server {
    const found = this.servers.find((server) => server.name === name);
    if (found === undefined) throw new RangeError(`no server ${name}`);
    return found;
  }

  private dispatch(server: Server, event: (core: ReplicaCore<QueuedCommand>) => void): void {
    this.advance(server);
    event(server.core);
    this.schedule(server);
  }

  private advance({ core }: Server): void {
    core.advance(EPOCH_US + this.queue.nowUs, this.nowMs);
  }

  private tick(server: Server): void {
    this.queue.after(TICK_MS * 1_000, () => this.tick(server));
    this.dispatch(server, (core) => core.tick());
  }

  /** A turn takes along what happens at the same time. */
  private schedule(server: Server): void {
    if (server.isScheduled) return;
    server.isScheduled = true;
    this.queue.after(1, () => {
      server.isScheduled = false;
      this.advance(server);
      for (const effect of server.core.run()) this.execute(server, effect);
      if (this.options.isWakerLate !== true) this.wakeLater(server);
    });
  }

  private wakeLater(server: Server): void {
    const at = server.core.nextWakeMs();
    if (at === null || at >= server.wakesAtMs) return;
    server.wakesAtMs = at;
    this.queue.after((at - this.nowMs) * 1_000, () => {
      server.wakesAtMs = Number.POSITIVE_INFINITY;
      this.schedule(server);
    });
  }

  private execute(server: Server, effect: Effect<QueuedCommand>): void {
    switch (effect.type) {
      case 'send': {
        const receiver = this.server(effect.to);
        this.note(this.envelopes, `${server.name}->${effect.to} ${describe(effect.envelope)}`);
        const { latencyMs } = this.options;
        const onTheWayMs = typeof latencyMs === 'number' ? latencyMs : latencyMs(server.name, effect.to);
        this.queue.after(onTheWayMs * 1_000, () => this.dispatch(receiver, (core) => core.receive(effect.envelope)));
        break;
      }
      case 'write':
        this.queue.after(server.diskMs * 1_000, () => this.dispatch(server, (core) => core.written()));
        break;
      case 'committed':
      case 'ordered':
        this.note(this.told, `${server.name} ${effect.type} ${effect.group}`);
        break;
      case 'barrier':
        this.note(this.told, `${server.name} reads`);
        break;
    }
  }

  private note(moments: Moment[], text: string): void {
    moments.push({ atMs: this.nowMs - this.sinceMs, text });
  }
}

function describe({ messages, barrierAsks, barrierAnswers }: Envelope): string {
  const parts = messages.map(describeMessage);
  if (barrierAsks.length > 0) parts.push('ask');
  if (barrierAnswers.length > 0) parts.push('answer');
  return parts.join(', ');
}

/** The group in brackets. A claim wants a reply, as a heartbeat does; a commit does not. */
function describeMessage({ group, body }: Message): string {
  switch (body.type) {
    case 'append':
      if (body.entries.length > 0) return `append [${group}]`;
      return body.round > 0 ? `claim [${group}]` : `commit [${group}]`;
    case 'append-reply':
      return `reply [${group}]`;
    default:
      return `${body.type} [${group}]`;
  }
}
