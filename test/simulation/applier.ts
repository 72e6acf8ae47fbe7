/**
 * The applier process of a simulated server: the production queue and the production key-value machine (in memory), with a
 * database that may forget its last transactions. Answers clients and serves linearizable reads (T6).
 */

import { ApplyQueue } from '../../services/applier/queue.js';
import { MemoryEngine } from '../../shared/engine/memory.js';
import { type EngineBatch, type EnginePosition, PositionError } from '../../shared/engine/port.js';
import type { Index } from '../../shared/raft/entry.js';
import type { Random } from './random.js';
import type { SimulatedServer } from './server.js';
import { placeOf, Violation, type World } from './world.js';

/** Longer than any run: ids are not forgotten within one. */
const RESULT_WINDOW_MS = 4 * 3_600_000;

/** The state machine and what it has committed, batch by batch. */
export class SimulatedDatabase {
  engine = new MemoryEngine({ resultWindowMs: RESULT_WINDOW_MS });
  readonly batches: EngineBatch[] = [];
  /** For each group the index of its last command applied. */
  readonly positions: Index[];
  mergedIndex = 0;
  /** Place in the merged order of the last command applied. */
  place = 0;

  constructor(private readonly groups: number) {
    this.positions = new Array<Index>(groups).fill(0);
  }

  apply(batch: EngineBatch) {
    const done = this.engine.applyNow(batch);
    this.batches.push(batch);
    for (const { group, index, mergedIndex, timestamp } of batch.commands) {
      this.positions[group] = index;
      this.mergedIndex = mergedIndex;
      this.place = placeOf(timestamp, group);
    }
    return done;
  }

  /** Forgets the last `count` transactions. */
  loseTail(count: number): void {
    if (count === 0) return;
    const kept = this.batches.slice(0, Math.max(0, this.batches.length - count));
    this.engine = new MemoryEngine({ resultWindowMs: RESULT_WINDOW_MS });
    this.batches.length = 0;
    this.positions.fill(0, 0, this.groups);
    this.mergedIndex = 0;
    this.place = 0;
    for (const batch of kept) this.apply(batch);
  }

  /** The memory engine opens asynchronously; here it is asked for its field. */
  position(): EnginePosition {
    return Reflect.get(this.engine, 'position') as EnginePosition;
  }
}

interface Reading {
  readonly positions: readonly Index[];
  readonly key: string;
  readonly tag: string;
}

export class SimulatedApplier {
  isAlive = true;
  private readonly queue: ApplyQueue;
  private cursor = 0;
  private isApplying = false;
  private isReading = false;
  private readings: Reading[] = [];
  private readonly random: Random;

  constructor(
    private readonly world: World,
    private readonly server: SimulatedServer,
    life: number,
  ) {
    this.random = world.random.fork(900_000 + server.index * 100 + (life % 100) + life * 10_000);
    this.queue = new ApplyQueue(server.database.position(), world.options.applier);
    this.seek();
    this.onStream();
  }

  /** The stream may have something new. */
  onStream(): void {
    if (this.isReading) return;
    this.isReading = true;
    this.server.after(this, this.random.between(20, 300), () => {
      this.isReading = false;
      this.read();
    });
  }

  /** The stream is another one now. */
  seek(): void {
    this.cursor = this.server.stream.find(this.queue.wanted);
  }

  onReconnected(): void {
    this.queue.reset(this.server.database.position());
    this.seek();
    this.onStream();
  }

  query(key: string, tag: string): void {
    const { replica } = this.server;
    if (replica === null) return;
    replica.barrier((positions) => {
      this.server.after(this, this.random.between(20, 200), () => {
        this.readings.push({ positions, key, tag });
        this.serveReads();
      });
    });
  }

  private read(): void {
    const { stream } = this.server;
    if (this.cursor > stream.messages.length) this.seek();
    while (!this.queue.isFull) {
      const run = stream.messages[this.cursor];
      if (run === undefined) break;
      if (this.queue.offer(run) === 'hole') {
        this.seek();
        if (this.cursor >= stream.messages.length || stream.messages[this.cursor] === run) break;
        continue;
      }
      this.cursor += 1;
    }
    this.maybeApply();
  }

  private maybeApply(): void {
    if (this.isApplying) return;
    const taken = this.guard(() => this.queue.take());
    if (taken === null || taken === undefined) return;
    this.isApplying = true;
    this.server.after(this, this.random.between(200, 2_000), () => {
      this.isApplying = false;
      this.commit(taken.batch);
      this.read();
    });
  }

  private commit(batch: EngineBatch): void {
    const { server, world } = this;
    let done: ReturnType<SimulatedDatabase['apply']>;
    try {
      done = server.database.apply(batch);
    } catch (error) {
      if (!(error instanceof PositionError)) throw error;
      this.queue.reset(error.position);
      this.seek();
      return;
    }
    world.witness.onApplied(server, batch.commands, done.applied);
    for (let at = 0; at < batch.commands.length; at++) {
      const command = batch.commands[at];
      const applied = done.applied[at];
      if (command === undefined || applied === undefined || command.server !== server.name) continue;
      if (command.traceparent !== 'applied') continue;
      const { timestamp, group, mergedIndex, outcome } = applied;
      world.clients.onAcknowledged('applied', command.reply, { timestamp, group, mergedIndex, outcome });
    }
    this.serveReads();
  }

  private serveReads(): void {
    if (this.readings.length === 0) return;
    const { database } = this.server;
    this.readings = this.readings.filter(({ positions, key, tag }) => {
      if (positions.some((index, group) => (database.positions[group] ?? 0) < index)) return true;
      const row = database.engine.rows.get(key);
      const { place, mergedIndex } = database;
      this.world.clients.onRead(tag, { place, mergedIndex, version: row?.version ?? 0 });
      return false;
    });
  }

  private guard<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw new Violation('assertion', `${this.server.name} applier: ${error instanceof Error ? error.stack : error}`);
    }
  }
}
