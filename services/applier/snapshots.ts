/**
 * Snapshots of this server's state (T10): taken when they are due, while commands go on being applied; what they cover is then dropped
 * from the own log and the own merged-log stream; and installed when the own state lacks what is in no log any more.
 *
 * Logs begin at the newest but one: whoever installs the newest finds everything that comes after it, however long that takes.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { NatsConnection } from '@nats-io/nats-core';
import { z } from 'zod';
import type { EnginePosition, StorageEngine } from '../../shared/engine/port.js';
import { type Index, LOG_START, type LogPosition } from '../../shared/raft/entry.js';
import { SnapshotBucket, type SnapshotInfo, type StoredFile } from '../../shared/snapshot/bucket.js';
import type { Logger, WarnOccasionally } from '../../shared/telemetry/log.js';
import { type Metrics, SECONDS } from '../../shared/telemetry/metrics.js';
import { CraftError } from '../../shared/wire/errors.js';
import { isStreamNotFound } from '../../shared/wire/jetstream-errors.js';
import { parseJson } from '../../shared/wire/json.js';
import type { Subjects } from '../../shared/wire/subjects.js';
import { SnapshotPolicy } from './snapshot-policy.js';
import { trimStream } from './trim.js';

export interface SnapshotsOptions {
  readonly connection: NatsConnection;
  readonly subjects: Subjects;
  readonly server: string;
  readonly engine: Pick<StorageEngine, 'snapshot' | 'restore'>;
  readonly limits: ConstructorParameters<typeof SnapshotPolicy>[0];
  readonly replicas: number;
  readonly groups: number;
  /** Merged index of the last command applied. */
  readonly applied: () => Index;
  /** Runs `work` while nothing is applied; the state is where it says afterwards, or where it was (null). */
  readonly exclusively: (work: () => Promise<EnginePosition | null>) => Promise<void>;
  readonly logger: Logger;
  readonly warn: WarnOccasionally;
  readonly metrics: Metrics;
  readonly signal: AbortSignal;
}

/** Snapshots in the bucket: the one that logs begin at, and one beyond. */
const KEPT = 2;
/** Between two looks at age and at what other servers have saved (milliseconds). */
const LOOK_MS = 15_000;
/** After a failure (milliseconds). */
const RETRY_MS = 5_000;
const COMPACT_MS_MAX = 5_000;
/** How long a save under way may take to end before what this server has saved is removed (milliseconds). */
const WITHDRAW_MS_MAX = 10_000;
/** Between two times that all servers are asked for a snapshot (milliseconds). */
const ASK_MS = 10_000;
/** Of several servers for which a snapshot is due at once one begins a little earlier (milliseconds). */
const JITTER_MS = 500;
/** Who takes one says so that often, and who says nothing more is taken for gone (milliseconds). */
const TELL_MS = 5_000;
const TAKING_MS_MAX = 15_000;

const snapshotNews = z.object({ server: z.string(), taking: z.boolean() });
type SnapshotNews = z.output<typeof snapshotNews>;

export class Snapshots {
  private readonly policy: SnapshotPolicy;
  private bucket: Promise<SnapshotBucket> | undefined;
  /** The save, and the tidying, under way. */
  private saving: Promise<SnapshotInfo> | undefined;
  private settling: Promise<void> | undefined;
  private installing: Promise<boolean> | undefined;
  private isScheduled = false;
  private isWithdrawn = false;
  /** Another server is taking one, as far as is known. */
  private elsewhereUntilMs = 0;
  private askedAtMs = Number.NEGATIVE_INFINITY;
  /** What the own log and stream have been told to begin at. */
  private compactedTo: Index = 0;
  private readonly timer: NodeJS.Timeout;
  private readonly seconds;
  private readonly bytes;
  private readonly installs;

  constructor(private readonly options: SnapshotsOptions) {
    const { limits, applied, metrics, connection, subjects, signal } = options;
    this.policy = new SnapshotPolicy(limits, applied(), performance.now());
    this.seconds = metrics.histogram('snapshot_seconds', 'Time of one snapshot, saved', SECONDS);
    this.bytes = metrics.counter('snapshot_bytes_total', 'Bytes of the snapshots saved, compressed');
    this.installs = metrics.counter('snapshot_installs_total', 'Snapshots installed');
    this.timer = setInterval(() => this.settleSoon(), LOOK_MS);
    this.timer.unref();
    signal.addEventListener('abort', () => clearInterval(this.timer));
    connection.subscribe(subjects.snapshots(), {
      callback: (error, message) => {
        if (error === null) this.heard(message.data);
      },
    });
    this.settleSoon();
  }

  /** A batch is committed. */
  onApplied(mergedIndex: Index, bytes: number): void {
    this.policy.onApplied(mergedIndex, bytes);
    this.takeIfDue();
  }

  /** The state is elsewhere: it was restored, or has gone back. */
  onMoved(mergedIndex: Index): void {
    this.policy.onMoved(mergedIndex);
  }

  /**
   * Takes one now, whatever the policy says, unless there is one that has everything applied here. One that is being taken serves all who
   * wait, if it began late enough for them.
   */
  async take(): Promise<SnapshotInfo> {
    const wanted = this.options.applied();
    for (;;) {
      this.saving ??= this.save().finally(() => {
        this.saving = undefined;
      });
      const info = await this.saving;
      if (info.position.mergedIndex >= wanted) return info;
    }
  }

  /** Somebody needs one of everything applied until now: one of the servers takes it. */
  takeSoon(): void {
    this.policy.onWanted(this.options.applied());
    this.takeIfDue();
  }

  /** Removes what this server has saved: its state is not what the others have. Takes a bounded time. */
  async withdraw(): Promise<void> {
    this.isWithdrawn = true;
    await Promise.race([this.saving?.catch(() => undefined), delay(WITHDRAW_MS_MAX, undefined, { ref: false })]);
    await this.withBucket((bucket) => bucket.removeOf(this.options.server));
  }

  /** A file that is to be restored. @throws SnapshotFormatError when it is not there. */
  async openFile(object: string): Promise<StoredFile> {
    return this.withBucket((bucket) => bucket.openFile(object));
  }

  async list(): Promise<SnapshotInfo[]> {
    return this.withBucket((bucket) => bucket.list());
  }

  /**
   * Installs the newest snapshot, if that is beyond the own state and reaches `atLeast` in every group; one that is being installed serves all
   * who wait, who look themselves whether it reaches what they need. False when there is none such: the others have been asked to take one.
   */
  install(atLeast: readonly Index[]): Promise<boolean> {
    this.installing ??= this.installNewest(atLeast).finally(() => {
      this.installing = undefined;
    });
    return this.installing;
  }

  private async installNewest(atLeast: readonly Index[]): Promise<boolean> {
    const { options } = this;
    const all = await this.list();
    const newest = all[all.length - 1];
    const isOfUse =
      newest !== undefined &&
      newest.position.mergedIndex > options.applied() &&
      reaches(newest.position.positions, atLeast);
    if (!isOfUse) {
      this.askForOne();
      return false;
    }
    const { name, bytes, server, position } = newest;
    options.logger.info({ snapshot: name, bytes, server }, 'installing a snapshot');
    await options.exclusively(async () => {
      // The batch before may have brought the state further than that.
      if (options.applied() >= position.mergedIndex) return null;
      return this.withBucket(async (bucket) => options.engine.restore(await bucket.open(newest)));
    });
    this.installs.add();
    this.policy.onMoved(position.mergedIndex);
    options.logger.info({ snapshot: name, mergedIndex: position.mergedIndex }, 'a snapshot is installed');
    return true;
  }

  /** Whoever needs one asks again and again; each of the others takes a whole snapshot for it. */
  private askForOne(): void {
    const { connection, subjects } = this.options;
    if (performance.now() - this.askedAtMs < ASK_MS) return;
    this.askedAtMs = performance.now();
    connection.publish(subjects.admin('snapshot'));
  }

  /** What a server says of its snapshots: that it is taking one, or has taken one. */
  private heard(data: Uint8Array): void {
    const { server } = this.options;
    let news: SnapshotNews;
    try {
      news = parseJson(data, snapshotNews);
    } catch (error) {
      this.options.warn('a message about snapshots is none', error);
      return;
    }
    if (news.server === server) return;
    this.elsewhereUntilMs = news.taking ? performance.now() + TAKING_MS_MAX : 0;
    if (!news.taking) this.settleSoon();
  }

  private tell(taking: boolean): void {
    const { connection, subjects, server } = this.options;
    const news: SnapshotNews = { server, taking };
    if (!connection.isClosed()) connection.publish(subjects.snapshots(), JSON.stringify(news));
  }

  /** By this server; while another one is at it, all of them at once would only cost three times as much. */
  private isDueHere(): boolean {
    const nowMs = performance.now();
    return nowMs >= this.elsewhereUntilMs && this.policy.isDue(nowMs);
  }

  private takeIfDue(): void {
    if (this.isScheduled || this.saving !== undefined || !this.isDueHere()) return;
    this.isScheduled = true;
    setTimeout(() => void this.takeScheduled(), Math.random() * JITTER_MS).unref();
  }

  private async takeScheduled(): Promise<void> {
    const { signal, warn } = this.options;
    try {
      if (signal.aborted) return;
      // Another server may have been faster.
      await this.settle();
      if (!signal.aborted && this.isDueHere()) await this.take();
    } catch (error) {
      if (signal.aborted) return;
      warn('no snapshot could be taken', error);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref());
    } finally {
      this.isScheduled = false;
    }
  }

  private async save(): Promise<SnapshotInfo> {
    if (this.isWithdrawn) throw new CraftError('UNAVAILABLE', 'the state of this server is not what the others have');
    const { engine, server, logger } = this.options;
    const startMs = performance.now();
    const newest = (await this.list()).pop();
    // Somebody has saved this state, or a later one.
    if (newest !== undefined && newest.position.mergedIndex >= this.options.applied()) return newest;
    this.tell(true);
    const telling = setInterval(() => this.tell(true), TELL_MS);
    const info = await this.withBucket(async (bucket) => {
      const saved = await bucket.save(server, await engine.snapshot());
      await bucket.prune(KEPT);
      return saved;
    }).finally(() => {
      clearInterval(telling);
      this.tell(false);
    });
    const ms = performance.now() - startMs;
    this.seconds.observe(ms / 1_000);
    this.bytes.add(info.bytes);
    const { mergedIndex } = info.position;
    this.policy.onSnapshot(mergedIndex, performance.now());
    logger.info({ snapshot: info.name, bytes: info.bytes, ms: Math.round(ms) }, 'a snapshot is taken');
    return info;
  }

  private settleSoon(): void {
    const { signal, warn } = this.options;
    this.settle()
      .then(() => this.takeIfDue())
      .catch((error: unknown) => {
        if (!signal.aborted) warn('snapshots cannot be looked at', error);
      });
  }

  private settle(): Promise<void> {
    this.settling ??= this.look().finally(() => {
      this.settling = undefined;
    });
    return this.settling;
  }

  /** What others have saved counts as well; what is covered goes, once the own state has it too. */
  private async look(): Promise<void> {
    const all = await this.list();
    const newest = all[all.length - 1];
    if (newest !== undefined) this.policy.onSnapshot(newest.position.mergedIndex, performance.now());
    const covered = all[all.length - KEPT];
    if (covered === undefined) return;
    const { mergedIndex, positions } = covered.position;
    if (mergedIndex <= this.compactedTo || mergedIndex > this.options.applied()) return;
    const { connection, subjects, server, groups } = this.options;
    const request = JSON.stringify({ positions: padded(positions, groups) });
    await connection.request(subjects.compact(server), request, { timeout: COMPACT_MS_MAX });
    await trimStream(connection, subjects.logStream(server), mergedIndex);
    this.compactedTo = mergedIndex;
  }

  /** A bucket that has been removed is made anew. */
  private async withBucket<T>(work: (bucket: SnapshotBucket) => Promise<T>): Promise<T> {
    const { connection, subjects, replicas } = this.options;
    this.bucket ??= SnapshotBucket.open(connection, subjects.snapshotBucket(), replicas);
    try {
      return await work(await this.bucket);
    } catch (error) {
      this.bucket = undefined;
      if (!isStreamNotFound(error)) throw error;
      throw new CraftError('UNAVAILABLE', 'the bucket of the snapshots is gone; it is being made anew', {
        cause: error,
      });
    }
  }
}

export function reaches(positions: readonly LogPosition[], atLeast: readonly Index[]): boolean {
  return atLeast.every((index, group) => (positions[group]?.index ?? 0) >= index);
}

/** One position for every group: an engine knows only those that it has had a command of. */
export function padded(positions: readonly LogPosition[], groups: number): LogPosition[] {
  return Array.from({ length: groups }, (_, group) => positions[group] ?? LOG_START);
}
