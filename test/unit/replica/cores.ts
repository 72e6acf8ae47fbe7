/**
 * The replica cores of a few servers in one thread, joined by messages that arrive at once, with
 * disks that can hang and servers that can be cut off. Time passes only when the test says so.
 */
import type { Acknowledgement, CommandRefusal, Effect, QueuedCommand } from '../../../services/replica/core/effect.js';
import type { ReplicaCore } from '../../../services/replica/core/server.js';
import { EntryKind, type GroupId, type LogEntry, type LogIndex, type ServerId } from '../../../shared/raft/entry.js';
import { GROUP_DEFAULTS } from '../../../shared/raft/options.js';
import type { Envelope } from '../../../shared/wire/envelope.js';
import { EPOCH_US, replicaCore, TICK_MS } from './core.js';

export const ELECTION_TIMEOUT_MS = GROUP_DEFAULTS.electionTimeoutMs;

type Told = Exclude<Effect<QueuedCommand>, { type: 'send' | 'write' | 'read' }>;

export interface Server {
  readonly name: ServerId;
  readonly core: ReplicaCore<QueuedCommand>;
  /** By group, the last entry applied there, as its core is told; null: it is told nothing. */
  applied: readonly LogIndex[] | null;
  /** Everything that the core told its owner so far. */
  readonly told: Told[];
  /** Its writes wait until it no longer is. */
  isDiskHung: boolean;
  /** A write takes so long (milliseconds). */
  diskMs: number;
  /** Messages neither reach it nor leave it. */
  isCutOff: boolean;
  /** Its process has ended: the transport knows that no messages are taken there. */
  isGone: boolean;
  /** How far its clock is ahead (milliseconds). */
  clockOffsetMs: number;
  isWriting: boolean;
  wroteAtMs: number;
}

export class Cores {
  readonly servers: readonly Server[];
  /** Bytes of entries in each envelope that was sent so far. */
  readonly carried: number[] = [];
  private wires: { readonly to: ServerId; readonly envelope: Envelope; readonly isProbe: boolean }[] = [];
  private nowMs = 0;

  constructor(names: readonly ServerId[], options: { groups: number; uncommittedBytesMax?: number }) {
    this.servers = names.map((name, at) => {
      const core = replicaCore(names, at, { ...options, applied: () => this.servers[at]?.applied ?? null });
      return {
        name,
        core,
        applied: null,
        told: [],
        isDiskHung: false,
        diskMs: 0,
        isCutOff: false,
        isGone: false,
        clockOffsetMs: 0,
        isWriting: false,
        wroteAtMs: 0,
      };
    });
  }

  server(name: ServerId): Server {
    const found = this.servers.find((server) => server.name === name);
    if (found === undefined) throw new RangeError(`no server ${name}`);
    return found;
  }

  /** Who believes to lead the group. */
  leadersOf(group: GroupId): ServerId[] {
    return this.servers
      .filter(({ core, isGone }) => !isGone && core.groups[group]?.role === 'leader')
      .map(({ name }) => name);
  }

  offer(
    name: ServerId,
    group: GroupId,
    body: Uint8Array,
    acknowledgement: Acknowledgement = 'committed',
    isAwaited = true,
  ): CommandRefusal | null {
    const { core } = this.server(name);
    this.advance(this.server(name));
    return core.offer(group, { body, acknowledgement, isAwaited, isWatched: false }, 0);
  }

  /** Lets so much time pass, a tick after the other. */
  pass(ms: number): void {
    for (const untilMs = this.nowMs + ms; this.nowMs < untilMs; ) {
      this.nowMs += TICK_MS;
      for (const server of this.servers) {
        if (server.isGone) continue;
        this.advance(server);
        server.core.tick();
      }
      this.settle();
    }
  }

  /** Turns of all servers until nothing is left to do. */
  settle(): void {
    do {
      for (const server of this.servers) if (!server.isGone) this.turn(server);
      for (const { to, envelope, isProbe } of this.wires.splice(0)) {
        const receiver = this.server(to);
        if (receiver.isGone) {
          if (isProbe) this.server(envelope.from).core.unreachable(to);
          continue;
        }
        if (receiver.isCutOff || this.server(envelope.from).isCutOff) continue;
        this.advance(receiver);
        receiver.core.receive(envelope);
        this.turn(receiver);
      }
    } while (this.wires.length > 0);
  }

  private turn(server: Server): void {
    const { core } = server;
    this.advance(server);
    if (this.isDurable(server)) {
      server.isWriting = false;
      core.written();
    }
    for (const effect of core.run()) {
      if (effect.type === 'send') {
        this.wires.push(effect);
        const entries = effect.envelope.messages.flatMap(({ body }) => (body.type === 'append' ? body.entries : []));
        this.carried.push(entries.reduce((sum, { bytes }) => sum + bytes.length, 0));
      } else if (effect.type === 'write') {
        server.isWriting = true;
        server.wroteAtMs = this.nowMs;
      } else if (effect.type !== 'read') server.told.push(effect);
    }
    // What is written becomes durable in a turn of its own.
    if (this.isDurable(server)) this.turn(server);
  }

  private isDurable({ isWriting, isDiskHung, diskMs, wroteAtMs }: Server): boolean {
    return isWriting && !isDiskHung && this.nowMs - wroteAtMs >= diskMs;
  }

  private advance({ core, clockOffsetMs }: Server): void {
    core.advance(EPOCH_US + (this.nowMs + clockOffsetMs) * 1_000, this.nowMs);
  }
}

/** Every command in a server's window of a group's log. */
export function commandsOf({ core }: Server, group: GroupId): LogEntry[] {
  const log = core.groups[group];
  const entries = Array.from({ length: log?.lastIndex ?? 0 }, (_, at) => log?.at(at + 1));
  return entries.filter((entry): entry is LogEntry => entry?.kind === EntryKind.command);
}
