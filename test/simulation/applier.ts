/**
 * The applier process of a simulated server: the production queue and the production key-value machine (in memory), with a
 * database that may forget its last transactions. Answers clients and serves linearizable reads (T6).
 */

import { ApplyQueue } from '../../services/applier/queue.js';
import { MemoryEngine } from '../../shared/engine/memory.js';
import { type EngineBatch, type EnginePosition, PositionError } from '../../shared/engine/port.js';
import { type Index, LOG_START, type LogPosition } from '../../shared/raft/entry.js';
import type { InstalledState } from '../../shared/wire/install.js';
import type { Random } from './random.js';
import type { SimulatedServer } from './server.js';
import type { SimulatedSnapshot } from './snapshots.js';
import { countFault, placeOf, Violation, type World } from './world.js';

/** Longer than any run: ids are not forgotten within one. */
const RESULT_WINDOW_MS = 4 * 3_600_000;
/** Between two looks at a hole in the stream. */
const HOLE_US = 500_000;
/** Looks at a hole that no snapshot reaches over, before the stream is to begin again (services/applier/stream.ts). */
const LOOKS_BEFORE_RESTART = 10;

/** The state machine and what it has committed, batch by batch. */
export class SimulatedDatabase {
  engine = new MemoryEngine({ resultWindowMs: RESULT_WINDOW_MS });
  readonly batches: EngineBatch[] = [];
  /** For each group its last command applied. */
  readonly positions: LogPosition[];
  mergedIndex = 0;
  private durableBatches = 0;
  /** Place in the merged order of the last command applied. */
  place = 0;

  constructor(private readonly groups: number) {
    this.positions = new Array<LogPosition>(groups).fill(LOG_START);
  }

  apply(batch: EngineBatch) {
    const done = this.engine.applyNow(batch);
    this.batches.push(batch);
    for (const { group, index, term, mergedIndex, timestamp } of batch.commands) {
      this.positions[group] = { index, term, timestamp };
      this.mergedIndex = mergedIndex;
      this.place = placeOf(timestamp, group);
    }
    return done;
  }

  /** Forgets the last `count` transactions. */
  loseTail(count: number): void {
    const kept = Math.max(this.durableBatches, this.batches.length - count);
    if (kept < this.batches.length) this.become(this.batches.slice(0, kept), this.durableBatches);
  }

  /** What is here now survives every crash: before logs that it was made from go (T10). */
  flush(): void {
    this.durableBatches = this.batches.length;
  }

  snapshot(): SimulatedSnapshot {
    const { mergedIndex, batches, positions } = this;
    return { mergedIndex, batches: [...batches], positions: [...positions] };
  }

  /** Its state is that of these commands from now on. */
  become(batches: readonly EngineBatch[], durable: number): void {
    this.durableBatches = durable;
    this.engine = new MemoryEngine({ resultWindowMs: RESULT_WINDOW_MS });
    this.batches.length = 0;
    this.positions.fill(LOG_START, 0, this.groups);
    this.mergedIndex = 0;
    this.place = 0;
    for (const batch of batches) this.apply(batch);
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
  private looksAtHole = 0;
  private isInstalling = false;
  private isSnapshotting = false;
  /** Up to where the own log and stream have been told to begin. */
  private compactedTo: Index = 0;
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
        if (this.cursor >= stream.messages.length) break;
        if (stream.messages[this.cursor] !== run) continue;
        // What it lacks is in no stream any more.
        if (!this.install([])) {
          this.takeSnapshots();
          if (++this.looksAtHole % LOOKS_BEFORE_RESTART === 0) this.server.merger?.beginAgain();
          this.server.after(this, HOLE_US, () => this.onStream());
        }
        break;
      }
      this.cursor += 1;
      this.looksAtHole = 0;
    }
    this.maybeApply();
  }

  private maybeApply(): void {
    if (this.isApplying || this.isInstalling) return;
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
    this.snapshotIfDue();
    this.compact();
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

  /**
   * Where the state is once it is at or beyond `atLeast`, after a snapshot has been installed if need be; null when there is none that reaches it
   * (T10; services/applier).
   */
  locate(atLeast: readonly Index[], answer: (state: InstalledState | null) => void): void {
    const { database } = this.server;
    const reaches = (positions: readonly LogPosition[]) =>
      atLeast.every((index, group) => (positions[group]?.index ?? 0) >= index);
    const tell = () => {
      const { mergedIndex, positions } = database;
      answer(
        reaches(positions) ? { mergedIndex, checksum: database.position().checksum, positions: [...positions] } : null,
      );
    };
    if (reaches(database.positions)) tell();
    else if (!this.install(atLeast, tell)) {
      this.takeSnapshots();
      answer(null);
    }
  }

  /** Installs the newest snapshot when that is beyond the own state and reaches `atLeast`; false when there is none. */
  private install(atLeast: readonly Index[], done?: () => void): boolean {
    const { world, server, random } = this;
    const snapshot = world.snapshots.newest;
    if (this.isInstalling || snapshot === undefined || snapshot.mergedIndex <= server.database.mergedIndex)
      return false;
    if (atLeast.some((index, group) => (snapshot.positions[group]?.index ?? 0) < index)) return false;
    this.isInstalling = true;
    countFault(world, 'install');
    const isSlow = world.isFaulty && world.options.faults.has('slow-install') && random.chance(0.3);
    server.after(this, isSlow ? random.between(0.5e6, 4e6) : random.between(1e3, 50e3), () => {
      this.isInstalling = false;
      if (snapshot.mergedIndex > server.database.mergedIndex) {
        world.note('installed', server.index, () => `snapshot at ${snapshot.mergedIndex}`);
        server.database.become(snapshot.batches, snapshot.batches.length);
      }
      this.onReconnected();
      done?.();
    });
    return true;
  }

  private snapshotIfDue(): void {
    const { world, server, random } = this;
    const isDue = () => server.database.mergedIndex - world.snapshots.newestIndex >= world.options.snapshotEvery;
    if (this.isSnapshotting || !isDue()) return;
    this.isSnapshotting = true;
    server.after(this, random.between(1e3, 100e3), () => {
      this.isSnapshotting = false;
      if (isDue()) this.takeSnapshot();
    });
  }

  /** Everybody is asked to take one now: somebody needs it. */
  private takeSnapshots(): void {
    for (const { applier } of this.world.operator.members) applier?.takeSnapshot();
  }

  private takeSnapshot(): void {
    const { world, server } = this;
    if (server.database.mergedIndex <= world.snapshots.newestIndex) return;
    world.snapshots.save(server.database.snapshot());
    countFault(world, 'snapshot');
    world.note('snapshot', server.index, () => `at ${server.database.mergedIndex}`);
  }

  /** What snapshots cover goes from the own log and stream, once the own state has it too. */
  private compact(): void {
    const { world, server } = this;
    const { covered } = world.snapshots;
    if (covered === undefined || covered.mergedIndex <= this.compactedTo) return;
    if (covered.mergedIndex > server.database.mergedIndex) return;
    this.compactedTo = covered.mergedIndex;
    world.snapshots.onCompacted(covered.mergedIndex);
    server.database.flush();
    server.replica?.happen((core) => core.compact(covered.positions));
    server.stream.trim(covered.mergedIndex);
    this.seek();
  }

  private serveReads(): void {
    if (this.readings.length === 0) return;
    const { database } = this.server;
    this.readings = this.readings.filter(({ positions, key, tag }) => {
      if (positions.some((index, group) => (database.positions[group]?.index ?? 0) < index)) return true;
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
