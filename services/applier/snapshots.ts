/**
 * Does what the core wants done about snapshots (T10): saves them in the object store of the
 * cluster, confirms, lists and removes them. Drops from the own log and the own stream what they
 * cover. What is to be done when is decided in core/snapshots.
 */
import type { NatsConnection } from '@nats-io/nats-core';
import { z } from 'zod';
import { type EngineSnapshot, SnapshotFormatError } from '../../shared/engine/port.js';
import type { LogPosition, MergedIndex, ServerId } from '../../shared/raft/entry.js';
import { SnapshotBucket, type SnapshotInfo, type StoredFile } from '../../shared/snapshot/bucket.js';
import type { Logger, WarnOccasionally } from '../../shared/telemetry/log.js';
import { type Metrics, SECONDS } from '../../shared/telemetry/metrics.js';
import { ask } from '../../shared/wire/ask.js';
import { CraftError } from '../../shared/wire/errors.js';
import { isStreamNotFound } from '../../shared/wire/jetstream-errors.js';
import { parseJson } from '../../shared/wire/json.js';
import type { Subjects } from '../../shared/wire/subjects.js';
import { KEPT } from './core/snapshots/compaction.js';
import { trimStream } from './trim.js';

export interface SnapshotsOptions {
  readonly connection: NatsConnection;
  readonly subjects: Subjects;
  readonly server: ServerId;
  readonly replicas: number;
  /** One is due after so many entries. */
  readonly dueEntries: () => number;
  /** The bucket works, or it does not, because of this. */
  readonly onBucket: (trouble: unknown) => void;
  /** Another server says whether it is taking one. */
  readonly onTaking: (server: ServerId, isTaking: boolean) => void;
  readonly logger: Logger;
  readonly warn: WarnOccasionally;
  readonly metrics: Metrics;
}

const COMPACT_MS_MAX = 5_000;
/** A server that takes one says so that often (milliseconds). */
const TELL_MS = 5_000;

const snapshotNews = z.object({ server: z.string(), taking: z.boolean() });
type SnapshotNews = z.output<typeof snapshotNews>;

export class Snapshots {
  private bucket: Promise<SnapshotBucket> | undefined;
  private telling: NodeJS.Timeout | undefined;
  /** The one that is being told of: saved last, and not confirmed yet. */
  private told: string | undefined;
  /** One that can be listed may still take no snapshot: it is full. */
  private readonly troubles = new Map<'save' | 'other', unknown>();
  /** When a save has failed last (milliseconds since the Unix epoch). */
  private saveFailedAtMs = 0;
  private readonly seconds;
  private readonly bytes;
  private readonly failures;
  /** Of those that count, as they were listed last. */
  private newest: SnapshotInfo | undefined;

  constructor(private readonly options: SnapshotsOptions) {
    const { metrics, dueEntries } = options;
    this.seconds = metrics.histogram('snapshot_seconds', 'Time of one snapshot, saved', SECONDS);
    this.bytes = metrics.counter('snapshot_bytes_total', 'Bytes of the snapshots saved, compressed');
    this.failures = metrics.counter('snapshot_failures_total', 'Snapshots that could not be saved');
    metrics.gauge('snapshot_age_seconds', 'Age of the newest snapshot that counts, by the own clock', () =>
      this.newest === undefined ? undefined : (Date.now() - Date.parse(this.newest.savedAt)) / 1_000,
    );
    metrics.gauge(
      'snapshot_size_bytes',
      'Compressed size of the newest snapshot that counts',
      () => this.newest?.bytes,
    );
    metrics.gauge(
      'snapshot_merged_index',
      'Merged index of the newest snapshot that counts',
      () => this.newest?.position.mergedIndex,
    );
    metrics.gauge('snapshot_due_entries', 'Entries after which the next snapshot is due', dueEntries);
  }

  /** Hears what other servers say, until the connection is closed. */
  start(): void {
    const { connection, subjects } = this.options;
    connection.subscribe(subjects.snapshots(), {
      callback: (error, message) => {
        if (error === null) this.heard(message.data);
      },
    });
  }

  /** Writes it to the bucket, where it counts once it is confirmed. */
  async save(snapshot: EngineSnapshot): Promise<SnapshotInfo> {
    const { server, logger } = this.options;
    const startMs = performance.now();
    this.beginTelling();
    const info = await this.withBucket((bucket) => bucket.save(server, snapshot), 'save').catch((error: unknown) => {
      this.failures.add();
      this.endTelling();
      throw error;
    });
    this.told = info.name;
    const ms = performance.now() - startMs;
    this.seconds.observe(ms / 1_000);
    this.bytes.add(info.bytes);
    logger.info({ snapshot: info.name, bytes: info.bytes, ms: Math.round(ms) }, 'a snapshot is taken');
    return info;
  }

  /** It counts from now on; older ones go. */
  async confirm(name: string): Promise<void> {
    await this.withBucket((bucket) => bucket.confirm(name));
    if (name === this.told) this.endTelling();
    else this.tell(false);
    this.options.logger.info({ snapshot: name }, 'a majority of servers has confirmed a snapshot');
    await this.withBucket((bucket) => bucket.prune(KEPT));
  }

  /** One that was not confirmed in time. */
  async remove(name: string): Promise<void> {
    if (name === this.told) this.endTelling();
    await this.withBucket((bucket) => bucket.withdraw(this.options.server, name));
  }

  /** What this server has taken and is not confirmed is never to count. */
  async withdraw(): Promise<void> {
    this.endTelling();
    await this.withBucket((bucket) => bucket.withdraw(this.options.server));
  }

  async list(): Promise<SnapshotInfo[]> {
    const all = await this.withBucket((bucket) => bucket.list());
    this.newest = newestOf(all);
    // A newer snapshot of another server takes the place of the one that failed here.
    if (all.some(({ confirmed, savedAt }) => confirmed && Date.parse(savedAt) > this.saveFailedAtMs)) {
      this.troubles.delete('save');
      this.options.onBucket(this.troubles.get('other'));
    }
    return all;
  }

  /** @throws SnapshotFormatError when it is not there any more. */
  open(name: string): Promise<EngineSnapshot> {
    return this.withBucket((bucket) => bucket.open(name));
  }

  /** A file that is to be restored. @throws SnapshotFormatError when it is not there. */
  openFile(object: string): Promise<StoredFile> {
    return this.withBucket((bucket) => bucket.openFile(object));
  }

  /** The own log and stream begin at these positions from now on. */
  async compact(mergedIndex: MergedIndex, positions: readonly LogPosition[]): Promise<void> {
    const { connection, subjects, server } = this.options;
    await ask(connection, subjects.compact(server), JSON.stringify({ positions }), { timeout: COMPACT_MS_MAX });
    await trimStream(connection, subjects.logStream(server), mergedIndex);
  }

  stop(): void {
    clearInterval(this.telling);
  }

  private heard(data: Uint8Array): void {
    const { server, onTaking, warn } = this.options;
    let news: SnapshotNews;
    try {
      news = parseJson(data, snapshotNews);
    } catch (error) {
      warn('a message about snapshots is malformed', error);
      return;
    }
    if (news.server !== server) onTaking(news.server, news.taking);
  }

  private beginTelling(): void {
    clearInterval(this.telling);
    this.told = undefined;
    this.tell(true);
    this.telling = setInterval(() => this.tell(true), TELL_MS);
    this.telling.unref();
  }

  private endTelling(): void {
    clearInterval(this.telling);
    this.tell(false);
  }

  private tell(taking: boolean): void {
    const { connection, subjects, server } = this.options;
    const news: SnapshotNews = { server, taking };
    if (!connection.isClosed()) connection.publish(subjects.snapshots(), JSON.stringify(news));
  }

  /** A bucket that has been removed is made anew. */
  private async withBucket<T>(
    work: (bucket: SnapshotBucket) => Promise<T>,
    kind: 'save' | 'other' = 'other',
  ): Promise<T> {
    const { connection, subjects, replicas, warn, onBucket } = this.options;
    this.bucket ??= SnapshotBucket.open(connection, subjects, replicas, (subject) =>
      warn('the bucket of the snapshots has an object that is not a snapshot; it is skipped', { subject }),
    );
    try {
      const done = await work(await this.bucket);
      this.troubles.delete(kind);
      return done;
    } catch (error) {
      this.bucket = undefined;
      // What is wrong with one snapshot is not wrong with all.
      if (!(error instanceof SnapshotFormatError)) this.troubles.set(kind, error);
      if (kind === 'save') this.saveFailedAtMs = Date.now();
      if (!isStreamNotFound(error)) throw error;
      throw new CraftError('UNAVAILABLE', 'the bucket of the snapshots is gone; it is created again', {
        cause: error,
      });
    } finally {
      onBucket(this.troubles.get('save') ?? this.troubles.get('other'));
    }
  }
}

/** Of the confirmed ones, the one of the largest merged index. */
function newestOf(all: readonly SnapshotInfo[]): SnapshotInfo | undefined {
  return all
    .filter(({ confirmed }) => confirmed)
    .reduce<SnapshotInfo | undefined>(
      (newest, one) => (newest !== undefined && newest.position.mergedIndex >= one.position.mergedIndex ? newest : one),
      undefined,
    );
}
