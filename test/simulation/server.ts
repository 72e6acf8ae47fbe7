/**
 * One simulated server: its machine (clock, disk, stream, database), which outlives its processes,
 * and the processes (replica, merger, applier), which a crash ends one by one or all at once.
 */

import { FIRST_VERSION } from '../../shared/engine/switch.js';
import { DirectMergedLog } from '../../shared/link/merged-log.js';
import type { WriteBatch } from '../../shared/log-store/port.js';
import type { MergedRun } from '../../shared/merge/merge.js';
import type { MergedIndex, ServerId } from '../../shared/raft/entry.js';
import type { Envelope } from '../../shared/wire/envelope.js';
import { SimulatedApplier } from './applier.js';
import { SimulatedClock } from './clock.js';
import { SimulatedDatabase } from './database.js';
import { SimulatedDisk } from './disk.js';
import { SimulatedMerger } from './merger.js';
import { SimulatedReplica } from './replica.js';
import { SimulatedStream } from './stream.js';
import type { World } from './world.js';

export interface Process {
  readonly isAlive: boolean;
}

export class SimulatedServer {
  readonly name: ServerId;
  readonly clock: SimulatedClock;
  readonly disk = new SimulatedDisk();
  readonly stream: SimulatedStream;
  readonly database: SimulatedDatabase;
  /**
   * Between merger and applier, where they share a process. Outlives both, since each is started
   * again alone.
   */
  readonly tail = new DirectMergedLog();
  /** The merged index that the merger has emitted last. */
  emitted: MergedIndex = 0;
  replica: SimulatedReplica | null = null;
  merger: SimulatedMerger | null = null;
  applier: SimulatedApplier | null = null;
  /** Until when the whole machine stands still. */
  pausedUntilUs = 0;
  /** Until when no write ends. */
  stalledUntilUs = 0;
  /** What every write takes longer. */
  slowUs = 0;
  isDiskFailing = false;
  /** Versions of the state machine that its processes are started with (T12). */
  loaded: readonly number[] = [FIRST_VERSION];
  /** Requests between the processes of this server get lost. */
  isLocalLossy = false;
  /** Sessions at its database break, before or after a commit. */
  isSessionLossy = false;
  /** It may be added to the cluster, and has not been yet (T11). */
  isSpare: boolean;
  private isPresent: boolean;
  private lives = 0;

  constructor(
    private readonly world: World,
    readonly index: number,
  ) {
    const { options } = world;
    const random = world.random.fork(100 + index);
    this.name = world.names[index] ?? '';
    this.isSpare = index >= options.servers;
    this.isPresent = !this.isSpare;
    this.clock = new SimulatedClock(options.clockGranularityUs, random.between(0, 1e6), random.between(-100, 100));
    const share = random.chance(0.7) ? random.pick([-1, 1]) : random.between(-1, 1);
    this.clock.set(0, options.clockOffsetUs * share, random.between(-100, 100));
    this.stream = new SimulatedStream(options.groups);
    this.database = new SimulatedDatabase(options.groups);
  }

  /**
   * Runs `action` after `delayUs`, later when the machine is paused, never when the process is gone
   * by then.
   */
  after(process: Process, delayUs: number, action: () => void): void {
    this.world.queue.after(delayUs, () => {
      if (!process.isAlive) return;
      const restUs = this.pausedUntilUs - this.world.queue.nowUs;
      if (restUs > 0) this.after(process, restUs, action);
      else action();
    });
  }

  deliver(envelope: Envelope): void {
    const { replica } = this;
    if (replica === null) return;
    const restUs = this.pausedUntilUs - this.world.queue.nowUs;
    if (restUs > 0) this.after(replica, restUs, () => replica.deliver(envelope));
    else replica.deliver(envelope);
  }

  /** The database comes back without its last transactions. */
  crashDatabase(lost: number): void {
    this.database.loseTail(lost);
  }

  /** The stream is gone, and made anew without anything in it. */
  loseStream(): void {
    this.stream.loseTail(this.stream.messages.length);
  }

  /** The database is another one, and empty. */
  loseDatabase(): void {
    this.database.lose();
    this.world.observer.onDatabaseLost(this);
  }

  startReplica(): void {
    if (this.replica !== null || !this.isPresent) return;
    const loaded = this.disk.load();
    this.world.observer.onStart(this);
    this.replica = new SimulatedReplica(this.world, this, loaded, ++this.lives);
    this.world.observer.look(this, this.replica.core);
  }

  /** The process ends now; its write in flight may have become durable or not. */
  crashReplica(hasLanded: boolean): void {
    const { replica } = this;
    if (replica === null) return;
    replica.isAlive = false;
    this.replica = null;
    if (replica.writing !== null && hasLanded) this.land(replica.writing);
    this.world.note('crash', this.index, () => (replica.writing === null ? '' : `a write landed: ${hasLanded}`));
    this.world.observer.onCrash(this);
  }

  startMerger(): void {
    if (this.isPresent) this.merger ??= new SimulatedMerger(this.world, this, ++this.lives);
  }

  crashMerger(): void {
    if (this.merger !== null) this.merger.isAlive = false;
    this.merger = null;
  }

  startApplier(): void {
    if (this.isPresent) this.applier ??= new SimulatedApplier(this.world, this, ++this.lives);
  }

  crashApplier(): void {
    if (this.applier !== null) this.applier.isAlive = false;
    this.applier = null;
  }

  /** It is started again with other versions of the state machine. */
  load(versions: readonly number[]): void {
    this.loaded = versions;
    if (this.applier === null) return;
    this.crashApplier();
    this.startApplier();
  }

  /** A new server, with nothing on its disk. */
  join(): void {
    this.isSpare = false;
    this.isPresent = true;
    this.startAll();
  }

  /** Switched off for good. */
  leave(): void {
    this.isPresent = false;
    this.crashReplica(false);
    this.crashMerger();
    this.crashApplier();
  }

  startAll(): void {
    this.startReplica();
    this.startMerger();
    this.startApplier();
  }

  /** The disk has a batch. */
  land(batch: WriteBatch): void {
    this.disk.land(batch);
    this.world.observer.onLanded(this, batch);
  }

  /** A merger begins after this merged index. */
  beginMerging(mergedIndex: MergedIndex): void {
    this.emitted = mergedIndex;
    if (this.world.options.isOneProcess) this.tail.begin(mergedIndex);
  }

  /** A merger gives its applier what has its final place. */
  emit(run: MergedRun): void {
    this.world.observer.onMerged(this, run);
    this.emitted = run.after.mergedIndex;
    if (this.world.options.isOneProcess) this.tail.push(run);
  }

  /**
   * A message on the subject of the stream; false when the fence refuses it. An applier that is a
   * process of its own hears it all the same.
   */
  publish(run: MergedRun, expectedSequence: number): boolean {
    if (!this.world.options.isOneProcess) this.applier?.reader.hear(run);
    if (!this.stream.publish(run, expectedSequence)) return false;
    this.world.observer.onStored(this, run);
    return true;
  }

  diskExtraUs(): number {
    return this.slowUs;
  }

  /** For how long the disk still stands still (microseconds). */
  diskStallUs(): number {
    return Math.max(0, this.stalledUntilUs - this.world.queue.nowUs);
  }

  healMachine(): void {
    this.slowUs = 0;
    this.stalledUntilUs = 0;
    this.isDiskFailing = false;
    this.isLocalLossy = false;
    this.isSessionLossy = false;
  }
}
