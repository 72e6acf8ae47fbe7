/**
 * The snapshots of a cluster in one JetStream object store (T10): `<C>_SNAPSHOTS`. Any server
 * writes them, any server reads them.
 *
 * A snapshot is there once the object store has its metadata, which comes last and carries the
 * position and a SHA-256 of the compressed bytes. What a writer that ended half way has left is
 * removed later.
 */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import {
  DeliverPolicy,
  type JetStreamClient,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
  StorageType,
} from '@nats-io/jetstream';
import { type NatsConnection, nanos } from '@nats-io/nats-core';
import { type ObjectStore, Objm } from '@nats-io/obj';
import { z } from 'zod';
import { VERSION } from '../config/version.js';
import { type EngineSnapshot, SnapshotFormatError } from '../engine/port.js';
import { NOTHING_MERGED, type ServerId } from '../raft/entry.js';
import { isStreamNameInUse } from '../wire/jetstream-errors.js';
import type { Subjects } from '../wire/subjects.js';
import { type SnapshotFile, type SnapshotMetadata, snapshotMetadata } from './metadata.js';

/** What is known of a snapshot without reading it. */
export interface SnapshotInfo extends SnapshotMetadata {
  readonly name: string;
  /** Compressed. */
  readonly bytes: number;
  /** ISO 8601. */
  readonly savedAt: string;
  /** A majority of servers had the same rows and outcomes there: only then it is installed. */
  readonly confirmed: boolean;
}

/**
 * A file in the bucket, with the SHA-256 (base64url) of all that it says: of the snapshot, and in
 * its compressed bytes.
 */
export interface StoredFile extends EngineSnapshot {
  readonly digest: string;
}

/** What the object store says of an object, as far as it is needed here. */
const storedObject = z.object({
  name: z.string(),
  /** A token of the subjects that its chunks are in. */
  nuid: z.string().regex(/^[A-Za-z0-9_-]+$/),
  size: z.number().int().nonnegative().default(0),
  chunks: z.number().int().nonnegative().default(0),
  digest: z.string().default(''),
  mtime: z.string().default(''),
  deleted: z.boolean().default(false),
  metadata: z.record(z.string(), z.string()).optional(),
});
type StoredObject = Readonly<z.output<typeof storedObject>>;

/** Of the metadata: 'true' or 'false'. */
const CONFIRMED = 'confirmed';
const INDEX_DIGITS = 16;
/** Compression that costs little more than it saves. */
const GZIP_LEVEL = 3;
/** A chunk that is not acknowledged within this fails the save (milliseconds). */
const PUBLISH_MS_MAX = 10_000;
/** Read ahead while a snapshot is installed (bytes). */
const PREFETCH_BYTES = 2 * 1024 * 1024;
/** Without a chunk for this long a read has failed (milliseconds). */
const READ_MS_MAX = 30_000;
/** What is not finished after this is removed (milliseconds). */
const LEFTOVER_MS = 3_600_000;

export class SnapshotBucket {
  private constructor(
    readonly name: string,
    private readonly cluster: string,
    private readonly store: ObjectStore,
    private readonly client: JetStreamClient,
    private readonly manager: JetStreamManager,
    private readonly onBadObject: (subject: string) => void,
  ) {}

  /**
   * Opens the bucket, or makes it with so many replicas. `onBadObject` is told of metadata that is
   * none, and passed over.
   */
  static async open(
    connection: NatsConnection,
    subjects: Subjects,
    replicas: number,
    onBadObject: (subject: string) => void = () => undefined,
  ): Promise<SnapshotBucket> {
    const client = jetstream(connection);
    const manager = await jetstreamManager(connection);
    const name = subjects.snapshotBucket();
    const objm = new Objm(client);
    let store: ObjectStore;
    try {
      store = await objm.create(name, { storage: StorageType.File, replicas });
    } catch (error) {
      // It has been made, with other options.
      if (!isStreamNameInUse(error)) throw error;
      store = await objm.open(name);
    }
    return new SnapshotBucket(name, subjects.cluster, store, client, manager, onBadObject);
  }

  /** Opens the bucket that the appliers have made. Rejects when there is none. */
  static async find(connection: NatsConnection, subjects: Subjects): Promise<SnapshotBucket> {
    const client = jetstream(connection);
    const name = subjects.snapshotBucket();
    const store = await new Objm(client).open(name);
    const manager = await jetstreamManager(connection);
    return new SnapshotBucket(name, subjects.cluster, store, client, manager, () => undefined);
  }

  /**
   * Writes a snapshot, which is not confirmed yet; nothing of it is to be seen when this rejects.
   */
  async save(server: ServerId, { position, format, machine, data }: EngineSnapshot): Promise<SnapshotInfo> {
    const name = `${String(position.mergedIndex).padStart(INDEX_DIGITS, '0')}-${server}`;
    const gzip = createGzip({ level: GZIP_LEVEL });
    const feeding = pipeline(Readable.from(data, { objectMode: false }), gzip);
    // A failure of the engine reaches the object store through the stream, which it destroys.
    feeding.catch(() => undefined);
    const about = { server, version: VERSION, cluster: this.cluster, format, machine, position };
    const text = JSON.stringify(about);
    const stream = Readable.toWeb(gzip) as ReadableStream<Uint8Array>;
    const info = await this.store.put({ name, metadata: { craft: text, [CONFIRMED]: 'false' } }, stream, {
      timeout: PUBLISH_MS_MAX,
    });
    await feeding;
    return this.infoOf(info) ?? fail(name);
  }

  /** The snapshot counts from now on. @throws SnapshotFormatError when it is gone. */
  async confirm(name: string): Promise<void> {
    const found = await this.find(name, 'snapshot');
    await this.store.update(name, { name, metadata: { ...found.metadata, [CONFIRMED]: 'true' } });
    // The library leaves what the metadata was before.
    await this.manager.streams.purge(`OBJ_${this.name}`, { filter: this.subjectOf(name), keep: 1 });
  }

  /**
   * Puts a file there, for `openFile`, under a name that tells what is in it; among the snapshots
   * of this cluster it does not count.
   */
  async saveFile({ about, bytes, digest, data }: SnapshotFile): Promise<string> {
    // The same bytes under another header are another file: they must not take the place of one
    // that a log speaks of.
    const name = `file-${digestOfFile(about, digest)}`;
    const stream = Readable.toWeb(Readable.from(data, { objectMode: false })) as ReadableStream<Uint8Array>;
    const text = JSON.stringify(about);
    const info = await this.store.put({ name, metadata: { file: text } }, stream, { timeout: PUBLISH_MS_MAX });
    if (info.size !== bytes || digestOf(info) !== digest) fail(name);
    return name;
  }

  /**
   * What `saveFile` has put there, to be read once. @throws SnapshotFormatError when it is gone, or
   * something else.
   */
  async openFile(name: string): Promise<StoredFile> {
    const found = await this.find(name, 'the file');
    const about = metadataOf(found, 'file');
    if (about === undefined) throw new SnapshotFormatError(`${name} is not a file of a snapshot`);
    const { position, format, machine } = about;
    return { position, format, machine, digest: digestOfFile(about, digestOf(found)), data: this.read(found) };
  }

  /** In order of their merged index. */
  async list(): Promise<SnapshotInfo[]> {
    return this.snapshotsOf(await this.objects());
  }

  /**
   * Objects with the subjects of their metadata. Asked for one by one: the library's own list makes
   * a consumer each time, which the NATS server keeps for minutes, and it takes only so many (1,000
   * by default).
   */
  private async objects(): Promise<{ subject: string; info: StoredObject }[]> {
    const found = (await this.subjects(`$O.${this.name}.M.`)).map(async (subject) => {
      const info = await this.infoAt(subject);
      return info === undefined ? [] : [{ subject, info }];
    });
    return (await Promise.all(found)).flat();
  }

  /** In order of their merged index. */
  private snapshotsOf(objects: readonly { readonly info: StoredObject }[]): SnapshotInfo[] {
    const all = objects.flatMap(({ info }) => this.infoOf(info) ?? []);
    return all.sort((a, b) => a.position.mergedIndex - b.position.mergedIndex);
  }

  /**
   * Undefined for an object that is not a snapshot of this cluster: the name of the bucket is the
   * same
   * for names that differ only in case.
   */
  private infoOf(info: StoredObject): SnapshotInfo | undefined {
    const about = metadataOf(info, 'craft');
    if (about === undefined || (about.cluster ?? this.cluster) !== this.cluster) return undefined;
    // Those of versions that knew no confirmation count.
    const confirmed = info.metadata?.[CONFIRMED] !== 'false';
    return { name: info.name, ...about, bytes: info.size, savedAt: info.mtime, confirmed };
  }

  private async find(name: string, what: string): Promise<StoredObject> {
    const found = await this.infoAt(this.subjectOf(name));
    if (found === undefined || found.deleted) throw new SnapshotFormatError(`${what} ${name} is gone`);
    return found;
  }

  /**
   * Undefined when nothing is there, or nothing that the library would take for an object: that
   * must not hide all others.
   */
  private async infoAt(subject: string): Promise<StoredObject | undefined> {
    const stored = await this.manager.streams.getMessage(`OBJ_${this.name}`, { last_by_subj: subject });
    if (stored === null) return undefined;
    const found = storedObject.safeParse(jsonOf(stored.data)).data;
    // Its name leads to its metadata: what says another one is a forgery.
    if (found !== undefined && subject === this.subjectOf(found.name)) return found;
    this.onBadObject(subject);
    return undefined;
  }

  /** Of the metadata of an object: its name in base64url with padding, as the library has it. */
  private subjectOf(name: string): string {
    const encoded = Buffer.from(name).toString('base64').replaceAll('+', '-').replaceAll('/', '_');
    return `$O.${this.name}.M.${encoded}`;
  }

  private async subjects(prefix: string): Promise<string[]> {
    const { state } = await this.manager.streams.info(`OBJ_${this.name}`, { subjects_filter: `${prefix}>` });
    return Object.keys(state.subjects ?? {});
  }

  /** The snapshot to be read once. Its data ends with an error when it is not what was saved. */
  async open(name: string): Promise<EngineSnapshot> {
    const found = await this.find(name, 'snapshot');
    const info = this.infoOf(found);
    if (info === undefined) throw new SnapshotFormatError(`${name} is not a snapshot`);
    const { position, format, machine } = info;
    return { position, format, machine, data: this.read(found) };
  }

  /** Its bytes as they are stored, with their number and SHA-256 (base64url). */
  async raw(info: SnapshotInfo): Promise<{ digest: string; bytes: number; data: AsyncIterable<Uint8Array> }> {
    const found = await this.find(info.name, 'snapshot');
    return { digest: digestOf(found), bytes: found.size, data: this.chunks(found) };
  }

  /**
   * Removes all but the newest `keep` that are confirmed, those beyond them that may still be, and
   * those that are being read. A server that installs one more slowly than new ones are taken would
   * else never come to its end. Also removes files that had been restored long before those, and
   * what unfinished saves have left.
   */
  async prune(keep: number): Promise<void> {
    const objects = await this.objects();
    const all = this.snapshotsOf(objects);
    const counting = all.filter(({ confirmed }) => confirmed).slice(-keep);
    const newest = counting[counting.length - 1]?.position.mergedIndex ?? NOTHING_MERGED;
    const kept = all.filter((one) => counting.includes(one) || one.position.mergedIndex > newest);
    const names = new Set(kept.map(({ name }) => name));
    const oldestMs = counting.length < keep ? 0 : Math.min(...counting.map(({ savedAt }) => Date.parse(savedAt)));
    const isRead = await this.subjectsBeingRead();
    for (const { subject, info } of objects) {
      const chunks = this.chunksOf(info.nuid);
      if (names.has(info.name) || isRead.has(chunks) || (await this.isNeeded(subject, info, oldestMs))) continue;
      // Not the library's `delete`, which leaves a word of each object for ever.
      await this.purge(subject);
      await this.purge(chunks);
    }
    await this.removeLeftovers(new Set(objects.map(({ info }) => info.nuid)));
  }

  /**
   * Whether something that is no kept snapshot stays all the same. A file is to be restored by
   * every server that applies that command. The logs have gone past it when even the oldest kept
   * snapshot (0 for none) is much younger. By the time of the NATS server: the other one is the
   * operator's.
   */
  private async isNeeded(subject: string, info: StoredObject, oldestMs: number): Promise<boolean> {
    if (info.deleted || this.infoOf(info) !== undefined) return false;
    if (metadataOf(info, 'file') === undefined) return true;
    const stored = await this.manager.streams.getMessage(`OBJ_${this.name}`, { last_by_subj: subject });
    return stored !== null && stored.time.getTime() > oldestMs - LEFTOVER_MS;
  }

  /**
   * Removes what one server has taken and is not confirmed: all of it, or the one with this name.
   */
  async withdraw(server: ServerId, name?: string): Promise<void> {
    for (const { subject, info } of await this.objects()) {
      const snapshot = this.infoOf(info);
      if (snapshot?.server !== server || snapshot.confirmed || (name !== undefined && snapshot.name !== name)) continue;
      await this.purge(subject);
      await this.purge(this.chunksOf(info.nuid));
    }
  }

  private async subjectsBeingRead(): Promise<Set<string>> {
    const subjects = new Set<string>();
    for await (const { config } of this.manager.consumers.list(`OBJ_${this.name}`)) {
      for (const subject of config.filter_subjects ?? [config.filter_subject ?? '']) subjects.add(subject);
    }
    return subjects;
  }

  private chunksOf(nuid: string): string {
    return `$O.${this.name}.C.${nuid}`;
  }

  private async purge(subject: string): Promise<void> {
    await this.manager.streams.purge(`OBJ_${this.name}`, { filter: subject });
  }

  private async *read(info: StoredObject): AsyncGenerator<Uint8Array> {
    const gunzip = createGunzip();
    const feeding = pipeline(Readable.from(this.chunks(info), { objectMode: false }), gunzip);
    feeding.catch(() => undefined);
    try {
      for await (const chunk of gunzip) yield chunk as Uint8Array;
      await feeding;
    } finally {
      gunzip.destroy();
    }
  }

  /**
   * The library's own reader holds whatever has come in memory; this one takes as much as is taken
   * from it.
   */
  private async *chunks(info: StoredObject): AsyncGenerator<Uint8Array> {
    const { name, nuid, size, chunks } = info;
    const consumer = await this.client.consumers.get(`OBJ_${this.name}`, {
      filter_subjects: [this.chunksOf(nuid)],
      deliver_policy: DeliverPolicy.All,
      inactive_threshold: nanos(READ_MS_MAX * 2),
    });
    const sum = createHash('sha256');
    let bytes = 0;
    let left = chunks;
    const messages = await consumer.consume({ max_bytes: PREFETCH_BYTES });
    let timer: NodeJS.Timeout | undefined;
    const watch = () => {
      clearTimeout(timer);
      timer = setTimeout(() => messages.stop(), READ_MS_MAX);
    };
    try {
      watch();
      if (left > 0) {
        for await (const { data } of messages) {
          sum.update(data);
          bytes += data.length;
          left -= 1;
          // The sum is compared before the last piece is given: a restore commits only after the
          // end.
          if (left === 0) requireWhole(name, bytes === size && sum.digest('base64url') === digestOf(info));
          // How long the restore takes for it is not the bucket's silence.
          clearTimeout(timer);
          yield data;
          if (left === 0) break;
          watch();
        }
      }
      requireWhole(name, left === 0);
    } finally {
      clearTimeout(timer);
      messages.stop();
      await consumer.delete().catch(() => undefined);
    }
  }

  /** What came since is younger than whatever is removed here. */
  private async removeLeftovers(known: ReadonlySet<string>): Promise<void> {
    const prefix = this.chunksOf('');
    const subjects = await this.subjects(prefix);
    for (const subject of subjects) {
      if (known.has(subject.slice(prefix.length))) continue;
      const last = await this.manager.streams.getMessage(`OBJ_${this.name}`, { last_by_subj: subject });
      if (last === null || Date.now() - last.time.getTime() < LEFTOVER_MS) continue;
      await this.purge(subject);
    }
  }
}

function requireWhole(name: string, isWhole: boolean): void {
  if (!isWhole) throw new SnapshotFormatError(`snapshot ${name} is damaged or incomplete`);
}

function fail(name: string): never {
  throw new SnapshotFormatError(`snapshot ${name} was not saved as it was given`);
}

function jsonOf(data: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(data));
  } catch {
    return undefined;
  }
}

/** It is written `SHA-256=` and base64url with padding. */
function digestOf({ digest }: StoredObject): string {
  return digest.slice(digest.indexOf('=') + 1).replace(/=+$/, '');
}

/** `about` as its schema orders it. */
function digestOfFile(about: SnapshotFile['about'], digest: string): string {
  return createHash('sha256')
    .update(JSON.stringify([about, digest]))
    .digest('base64url');
}

function metadataOf(info: StoredObject, key: 'craft' | 'file'): SnapshotFile['about'] | undefined {
  let json: unknown;
  try {
    json = JSON.parse(info.metadata?.[key] ?? '');
  } catch {
    return undefined;
  }
  return snapshotMetadata.safeParse(json).data;
}
