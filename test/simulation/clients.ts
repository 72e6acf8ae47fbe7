/**
 * Clients: writes at every acknowledgement level and linearizable reads, at any server, again with
 * the same id until they know the outcome, or given up. What they do and hear is the history that
 * the invariants judge.
 */

import type { Acknowledgement, CommandRefusal } from '../../services/replica/core/effect.js';
import type { CommandOutcome } from '../../shared/engine/state-machine.js';
import type { GroupId, Timestamp } from '../../shared/raft/entry.js';
import { encodeCommand } from '../../shared/wire/command.js';
import { FAILING_COMMAND } from './database.js';
import type { Random } from './random.js';
import type { World } from './world.js';

export interface Operation {
  readonly number: number;
  readonly kind: 'write' | 'read';
  readonly client: number;
  readonly key: string;
  readonly id: string;
  readonly name: string;
  readonly payload: Uint8Array;
  readonly level: Acknowledgement;
  /** Craft-After; 0 for none. */
  readonly after: Timestamp;
  readonly invokedUs: number;
  attempts: number;
  /** Attempts that were definitely refused (T9). */
  refused: number;
  /** Gives up at the first outcome that is not a success. */
  readonly isOnce: boolean;
  /** Its client goes on with others meanwhile. */
  readonly isExtra: boolean;
  state: 'open' | 'ok' | 'failed' | 'unknown';
}

/** Where an operation is sent: a server, and one of its groups unless any will do. */
interface Target {
  readonly server: number;
  readonly group: GroupId | null;
}

interface Beginning {
  readonly isExtra: boolean;
  /** Of the first attempt; any leader when undefined. */
  readonly target: Target | undefined;
}

/** What an acknowledgement says; an index and an outcome only when it was applied. */
export interface Acknowledged {
  readonly timestamp: Timestamp;
  readonly group: GroupId;
  readonly mergedIndex?: number;
  readonly outcome?: CommandOutcome;
}

export interface ReadResult {
  /** Place in the merged order, and merged index, of the last command that the state contains. */
  readonly place: number;
  readonly mergedIndex: number;
  readonly version: number;
}

const encoder = new TextEncoder();
const RETRY_MEAN_US = 100_000;
/** Operations that one client has under way at once, at most. */
const CHAINS_MAX = 4;

export class Clients {
  /** By number; ended ones stay, since their history is judged to the end. */
  readonly operations: Operation[] = [];
  open = 0;
  isStopped = false;
  /** Clients make no pause between operations. */
  isBursting = false;
  isQuiet = false;
  private readonly random: Random;
  /** What each client has seen: the largest timestamp of its acknowledgements. */
  private readonly seen: number[];
  private readonly chains: number[];

  constructor(private readonly world: World) {
    this.random = world.random.fork(21);
    this.seen = new Array<number>(world.options.clients).fill(0);
    this.chains = new Array<number>(world.options.clients).fill(1);
  }

  start(): void {
    for (let client = 0; client < this.world.options.clients; client++) this.think(client);
  }

  /**
   * So many writes beyond those that clients do by themselves, each tried once; to any leader
   * unless stated.
   */
  writeMore(count: number, target?: Target): void {
    for (let n = 0; n < count; n++) this.begin(this.random.below(this.chains.length), { isExtra: true, target });
  }

  private think(client: number): void {
    const { options, queue } = this.world;
    const mean = this.isBursting ? 2_000 : options.thinkUs;
    queue.after(Math.min(this.random.exponential(mean), 3e6), () => {
      if (this.isStopped) return;
      if (this.isQuiet) this.think(client);
      else this.begin(client);
    });
  }

  private begin(client: number, { isExtra, target }: Beginning = { isExtra: false, target: undefined }): void {
    const { random, world } = this;
    const number = this.operations.length;
    const isRead = !isExtra && random.chance(0.25);
    const key = `k${random.below(world.options.keys)}`;
    const isAfter = random.chance(0.5);
    // Sometimes another client has told this one what it has seen.
    const seen = random.chance(0.3) ? Math.max(...this.seen) : (this.seen[client] ?? 0);
    const operation: Operation = {
      number,
      kind: isRead ? 'read' : 'write',
      client,
      key,
      id: random.chance(0.9) ? `id-${number}` : '',
      ...this.command(key, number),
      level: random.pick(['applied', 'ordered', 'committed']),
      after: isAfter ? seen : 0,
      invokedUs: world.queue.nowUs,
      attempts: 0,
      refused: 0,
      isOnce: isExtra || random.chance(0.2),
      isExtra,
      state: 'open',
    };
    this.operations.push(operation);
    this.open += 1;
    world.observer.onInvoked(operation);
    this.attempt(operation, target);
    // A client does not always wait: then several of its operations are under way.
    if (!isExtra && random.chance(0.1) && (this.chains[client] ?? 0) < CHAINS_MAX) {
      this.chains[client] = (this.chains[client] ?? 0) + 1;
      this.think(client);
    }
  }

  private command(key: string, number: number): { name: string; payload: Uint8Array } {
    const kind = this.random.next();
    if (kind < 0.02) return json(FAILING_COMMAND, { key });
    const condition = this.random.chance(0.1) ? { ifVersion: this.random.below(4) } : {};
    if (kind < 0.75) return json('kv.put', { key, value: number, ...condition });
    if (kind < 0.85) return json('kv.delete', { key, ...condition });
    const other = `k${this.random.below(this.world.options.keys)}`;
    return json('kv.txn', {
      ops: [{ put: { key, value: number, ...condition } }, { put: { key: other, value: number } }],
    });
  }

  private attempt(operation: Operation, target?: Target): void {
    const { world, random } = this;
    const attempt = ++operation.attempts;
    if (attempt > 1) world.counts.retries += 1;
    const tag = `${operation.number}.${attempt}`;
    world.queue.after(random.between(400_000, 2_000_000), () => {
      if (operation.state === 'open' && operation.attempts === attempt) this.onUnknown(tag);
    });
    if (operation.kind === 'read') this.sendRead(operation, tag);
    else this.sendWrite(operation, tag, target ?? this.target());
  }

  private sendRead(operation: Operation, tag: string): void {
    const { world, random } = this;
    const server = random.pick(world.servers.filter(({ applier }) => applier !== null).concat(world.servers[0] ?? []));
    if (this.isLost()) return;
    world.queue.after(this.latencyUs(), () => {
      const { applier } = server ?? {};
      if (applier && server) server.after(applier, 0, () => applier.answers.query(operation.key, tag));
    });
  }

  private sendWrite(operation: Operation, tag: string, target: Target | null): void {
    const { world, random } = this;
    if (target === null || this.isLost()) return;
    const { id, name, payload, level, after } = operation;
    const server = world.servers[target.server];
    world.queue.after(this.latencyUs(), () => {
      const replica = server?.replica;
      if (server === undefined || !replica) return;
      const fields = { name, payload, id, server: server.name, reply: tag, traceparent: level };
      const body = encodeCommand({ ...fields, replyFormat: 'json' });
      server.after(replica, 0, () => {
        const group = target.group ?? random.below(world.options.groups);
        replica.offer(group, { tag, body, acknowledgement: level, isAwaited: true, isWatched: false }, after);
      });
    });
  }

  /**
   * As NATS does it: any server that listens for commands. Now and then one that does not lead at
   * all.
   */
  private target(): Target | null {
    const { world, random } = this;
    if (random.chance(0.05)) return { server: random.below(world.servers.length), group: null };
    const targets: Target[] = [];
    for (const { index, replica } of world.servers) {
      for (const group of replica?.leading ?? []) targets.push({ server: index, group });
    }
    return targets.length === 0 ? null : random.pick(targets);
  }

  private latencyUs(): number {
    return this.random.between(50, 400);
  }

  private isLost(): boolean {
    const { isFaulty, options } = this.world;
    return isFaulty && options.faults.has('loss') && this.random.chance(0.05);
  }

  /** `committed` or `ordered` by the replica, `applied` by the applier. */
  onAcknowledged(level: Acknowledgement, tag: string, what: Acknowledged): void {
    const operation = this.operationOf(tag);
    if (operation === undefined || operation.level !== level) return;
    this.world.observer.onAcknowledged(operation, level, tag, what);
    if (operation.state !== 'open' || this.isLost()) return;
    this.world.queue.after(this.latencyUs(), () => {
      if (operation.state !== 'open') return;
      this.seen[operation.client] = Math.max(this.seen[operation.client] ?? 0, what.timestamp);
      this.world.counts.writes += 1;
      this.end(operation, 'ok');
    });
  }

  onRead(tag: string, result: ReadResult): void {
    const operation = this.operationOf(tag);
    if (operation === undefined) return;
    this.world.observer.onRead(operation, result);
    if (operation.state !== 'open' || this.isLost()) return;
    this.world.counts.reads += 1;
    this.end(operation, 'ok');
  }

  /** This attempt will never be executed (T9). */
  onRefused(server: number, tag: string, reason: CommandRefusal): void {
    const operation = this.operationOf(tag);
    if (operation === undefined) return;
    this.world.counts.refusals += 1;
    operation.refused += 1;
    this.world.note('refused', server, () => `${tag} ${reason}`);
    this.world.observer.onRefused(operation, tag, reason);
    this.again(operation, tag, operation.isOnce ? 'failed' : null);
  }

  /** May or may not have happened (T9). */
  onUnknown(tag: string): void {
    const operation = this.operationOf(tag);
    if (operation !== undefined) this.again(operation, tag, null);
  }

  private again(operation: Operation, tag: string, ending: 'failed' | null): void {
    if (operation.state !== 'open' || tag !== `${operation.number}.${operation.attempts}`) return;
    // Without an id another try could take effect twice.
    const mustEnd = operation.kind === 'write' && (operation.isOnce || operation.id === '');
    if (ending !== null || mustEnd) {
      this.end(operation, ending ?? 'unknown');
      return;
    }
    const attempt = operation.attempts;
    this.world.queue.after(this.random.exponential(RETRY_MEAN_US), () => {
      if (operation.state === 'open' && operation.attempts === attempt) this.attempt(operation);
    });
  }

  private end(operation: Operation, state: 'ok' | 'failed' | 'unknown'): void {
    operation.state = state;
    this.open -= 1;
    this.world.observer.onEnded(operation);
    if (!this.isStopped && !operation.isExtra) this.think(operation.client);
  }

  private operationOf(tag: string): Operation | undefined {
    return this.operations[Number.parseInt(tag, 10)];
  }
}

function json(name: string, input: unknown): { name: string; payload: Uint8Array } {
  return { name, payload: encoder.encode(JSON.stringify(input)) };
}
