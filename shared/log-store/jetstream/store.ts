/**
 * JetStreamLogStore: the logs of all groups of a server in one JetStream stream, for hosts that
 * have no disk to rely on. A write is one record in the stream; record.ts has the layout. Opening
 * reads the stream once and writes to it, which fences off the process that had it open before.
 *
 * In memory it keeps the head of every group, and where its entries lie in the stream; the entries
 * themselves are read back from there.
 */
import { randomBytes } from 'node:crypto';
import type { NatsConnection } from '@nats-io/nats-core';
import type { GroupId, LogEntry, LogIndex, Timestamp } from '../../raft/entry.js';
import { LogStoreFencedError, type LogStoreIdentity } from '../errors.js';
import { demand, demandGroups, EMPTY_HEAD, type GroupHead, headOnBase, headsAfter, termOf } from '../head.js';
import { loadGroups } from '../loading.js';
import { type LoadedState, type LogStore, LogStoreCorruptError, LogStoreWriteError, type WriteBatch } from '../port.js';
import { Cleaning, type Move } from './cleaning.js';
import { type GroupIndex, indexOf, type Segment } from './group-index.js';
import { entriesIn, located, readRecord, readStream } from './read.js';
import {
  type Block,
  blockOf,
  encodeRecord,
  MessageError,
  type RecordHeader,
  STREAM_FORMAT,
  WRITER_BYTES,
} from './record.js';
import { placeRecord, type Replay } from './replay.js';
import { StoreStream, WrongSequenceError } from './stream.js';
import { requireSyncAlways, type SyncOptions } from './sync.js';

export interface JetStreamLogStoreOptions extends LogStoreIdentity, SyncOptions {
  /** Of this store alone, and not closed by it. */
  readonly connection: NatsConnection;
  readonly stream: string;
  readonly subject: string;
  /** Of the NATS server that a new stream is made on; none: any. */
  readonly tags?: readonly string[];
}

/** Records of one group read at once. */
const SEGMENTS_MAX = 16;
/** Every so many writes the record has a checkpoint, whatever else it has. */
const CHECKPOINT_WRITES = 1_024;
/** How often opening and mending go after a stream that grows under them. */
const TRIES_MAX = 5;

export class JetStreamLogStore implements LogStore {
  /** Tells the messages of this store from those of others. */
  readonly #writer = randomBytes(WRITER_BYTES).toString('hex');
  readonly #heads: Map<GroupId, GroupHead>;
  readonly #indexes: Map<GroupId, GroupIndex>;
  readonly #cleaning: Cleaning;
  #promiseLimit: Timestamp;
  /** Sequence of the last message that counts. */
  #counted: number;
  /**
   * Opening writes one: a store that is opened again and again gives its space back all the same.
   */
  #writesSinceCheckpoint = CHECKPOINT_WRITES;
  #writing: Promise<void> | undefined;
  /** A write failed, and some of it may be in the stream, or arrive there yet. */
  #failed = false;
  #isFenced = false;
  /** Raised when a write that drops entries begins and when it ends, so odd within one. */
  #droppings = 0;
  #state: 'opened' | 'loaded' | 'closed' = 'opened';

  private constructor(
    private readonly identity: LogStoreIdentity,
    private readonly stream: StoreStream,
    replay: Replay,
  ) {
    this.#heads = replay.heads;
    this.#indexes = replay.indexes;
    this.#promiseLimit = replay.promiseLimit;
    this.#counted = replay.last;
    this.#cleaning = new Cleaning(stream, replay.indexes, (group, segments) => this.#readSegments(group, segments));
  }

  /**
   * Opens the stream, or makes a new store in it, and fences off the process that has it open.
   * @throws LogStoreSyncError when the NATS server is not known to sync always,
   *   LogStoreIdentityError when the stream is another server's, LogStoreFormatError when another
   *   version wrote it. LogStoreCorruptError when it is damaged, LogStoreFencedError when others
   *   keep writing to it, LogStoreWriteError when JetStream is not available.
   */
  static async open(options: JetStreamLogStoreOptions): Promise<JetStreamLogStore> {
    const stream = await StoreStream.open(options.connection, options.stream, options.subject, options.tags);
    await requireSyncAlways(stream.host, options);
    const { cluster, server, groups } = options;
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const { first } = stream;
      try {
        const store = new JetStreamLogStore({ cluster, server, groups }, stream, await readStream(stream, options));
        // Nobody who had it open before can write from here on.
        await store.#publish({ groups: [] });
        return store;
      } catch (error) {
        if (!(error instanceof WrongSequenceError || error instanceof LogStoreCorruptError)) throw error;
        await stream.refresh();
        // What is missing may have been purged by the process that had it open.
        if (error instanceof LogStoreCorruptError && stream.first === first) throw error;
      }
    }
    throw new LogStoreFencedError(options.stream);
  }

  async load(): Promise<LoadedState> {
    demand(this.#state === 'opened', this.#state === 'closed' ? 'the store is closed' : 'the store is loaded already');
    const groups = await loadGroups(this.#heads, (group, from, to) => {
      return this.#read(group, from, to, Number.MAX_SAFE_INTEGER);
    });
    this.#state = 'loaded';
    return { promiseLimit: this.#promiseLimit, groups };
  }

  write(batch: WriteBatch): Promise<void> {
    demand(this.#state === 'loaded', this.#state === 'closed' ? 'the store is closed' : 'the store is not loaded');
    demand(this.#writing === undefined, 'a write is in flight');
    demandGroups(batch, this.identity.groups);
    const heads = headsAfter(batch, this.#promiseLimit, (group) => this.#headOf(group));
    if (heads.size === 0 && batch.promiseLimit === undefined) return Promise.resolve();
    const writing = this.#commit(batch, heads).finally(() => {
      this.#writing = undefined;
    });
    this.#writing = writing;
    return writing;
  }

  async read(group: GroupId, from: LogIndex, to: LogIndex, bytesMax: number): Promise<LogEntry[]> {
    demand(this.#state !== 'closed', 'the store is closed');
    for (;;) {
      const droppings = this.#droppings;
      const { purges } = this.stream;
      try {
        return await this.#read(group, from, to, bytesMax);
      } catch (error) {
        const undisturbed = droppings === this.#droppings && droppings % 2 === 0 && purges === this.stream.purges;
        if (undisturbed || !(error instanceof LogStoreCorruptError)) throw error;
        // What it missed may have been dropped or moved under it: it is damage only when it shows
        // again without that.
        await this.#writing?.catch(() => undefined);
      }
    }
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    await this.#writing?.catch(() => undefined);
    await this.#cleaning.idle();
  }

  #headOf(group: GroupId): GroupHead {
    return this.#heads.get(group) ?? EMPTY_HEAD;
  }

  async #commit(batch: WriteBatch, heads: ReadonlyMap<GroupId, GroupHead>): Promise<void> {
    const drops = batch.groups.some(({ truncateFrom, base }) => truncateFrom !== undefined || base !== undefined);
    if (drops) this.#droppings++;
    try {
      if (this.#isFenced) throw new LogStoreFencedError(this.stream.name);
      if (this.#failed) await this.#mend();
      await this.#publish(batch, heads).catch((error: unknown) => this.#onFailed(error));
    } finally {
      if (drops) this.#droppings++;
    }
  }

  /**
   * Tries to mend at once, so that nothing of the write is left even when the process ends next;
   * else before the next write.
   */
  async #onFailed(error: unknown): Promise<never> {
    this.#failed = true;
    await this.#mend().catch((reason: unknown) => {
      if (!(reason instanceof LogStoreWriteError)) throw reason;
    });
    throw error instanceof WrongSequenceError ? new LogStoreWriteError(error.message, { cause: error }) : error;
  }

  /**
   * Writes the batch as a record, and takes note of it when it is durable. Rejects with
   * WrongSequenceError or LogStoreWriteError.
   */
  async #publish(batch: WriteBatch, heads: ReadonlyMap<GroupId, GroupHead> = new Map()): Promise<void> {
    const dropping = batch.groups.filter(({ base, truncateFrom }) => base !== undefined || truncateFrom !== undefined);
    const move = this.#cleaning.takeMove();
    // A log that this very batch cuts is moved another time.
    const moved = move === undefined || dropping.some(({ group }) => group === move.block.group) ? [] : [move];
    const isDue =
      this.#writesSinceCheckpoint >= CHECKPOINT_WRITES ||
      moved.length > 0 ||
      batch.groups.some(({ base }) => base !== undefined);
    const promiseLimit = batch.promiseLimit ?? this.#promiseLimit;
    const header = this.#headerOf(batch, moved, isDue ? new Map([...this.#heads, ...heads]) : undefined, promiseLimit);
    const placed = await this.stream.publish(encodeRecord(header, entriesOf(batch, moved)), this.#writer);

    this.#counted = placed.sequence + placed.parts - 1;
    this.#promiseLimit = promiseLimit;
    for (const [group, head] of heads) this.#heads.set(group, head);
    placeRecord(header, placed, this.#indexes);
    this.#writesSinceCheckpoint++;
    if (header.checkpoint === undefined) return;
    this.#writesSinceCheckpoint = 0;
    this.#cleaning.start(placed.sequence);
  }

  #headerOf(
    { groups, promiseLimit }: WriteBatch,
    moved: readonly Move[],
    heads: ReadonlyMap<GroupId, GroupHead> | undefined,
    limit: Timestamp,
  ): RecordHeader {
    return {
      after: this.#counted,
      ...(promiseLimit === undefined ? {} : { promiseLimit }),
      groups: groups.map((write) => {
        const { entries = [], ...rest } = write;
        const before = this.#headOf(write.group);
        const drops = headOnBase(before, write).lastIndex !== before.lastIndex;
        return {
          ...rest,
          ...(drops ? { drops } : {}),
          ...(entries.length === 0 ? {} : { block: blockOf(write.group, entries) }),
        };
      }),
      moved: moved.map(({ block }) => block),
      ...(heads === undefined
        ? {}
        : {
            checkpoint: {
              identity: { format: STREAM_FORMAT, ...this.identity },
              promiseLimit: limit,
              heads: [...heads],
            },
          }),
    };
  }

  /**
   * After a failed write: writes an empty record that says what counts, so that the failed one does
   * not, be it there or still on its way. Rejects with LogStoreFencedError when another process has
   * written, with LogStoreWriteError when JetStream cannot be had.
   */
  async #mend(): Promise<void> {
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      await this.stream.refresh();
      await this.#demandOwn();
      try {
        await this.#publish({ groups: [] });
        this.#failed = false;
        return;
      } catch (error) {
        if (!(error instanceof WrongSequenceError)) throw error;
      }
    }
    throw new LogStoreWriteError(`stream ${this.stream.name} grows while it is mended`);
  }

  async #demandOwn(): Promise<void> {
    if (this.stream.last < this.#counted) {
      throw new LogStoreCorruptError(
        `stream ${this.stream.name}`,
        `it ends at ${this.stream.last}, before ${this.#counted}`,
      );
    }
    for (let sequence = this.#counted + 1; sequence <= this.stream.last; sequence++) {
      const message = await this.stream.get(sequence).catch((error: unknown) => {
        if (!(error instanceof MessageError)) throw error;
      });
      if (message?.writer === this.#writer) continue;
      this.#isFenced = true;
      throw new LogStoreFencedError(this.stream.name);
    }
  }

  async #read(group: GroupId, from: LogIndex, to: LogIndex, bytesMax: number): Promise<LogEntry[]> {
    const head = this.#headOf(group);
    const first = Math.max(1, from);
    const last = Math.min(to, head.lastIndex);
    const result: LogEntry[] = [];
    if (first > last || first <= head.base.index) return result;
    let bytes = 0;
    for (let next = first; next <= last; ) {
      const segments = indexOf(this.#indexes, group).from(next, last, bytesMax - bytes, SEGMENTS_MAX);
      for (const entry of await this.#readSegments(group, segments)) {
        if (entry.index < next) continue;
        if (entry.index !== next || entry.term !== termOf(head, next)) {
          throw new LogStoreCorruptError(
            `stream ${this.stream.name}`,
            `entry ${next} of group ${group} is not where it was written`,
          );
        }
        result.push(entry);
        bytes += entry.bytes.length;
        if (bytes >= bytesMax || next === last) return result;
        next++;
      }
      if (segments.length === 0) {
        throw new LogStoreCorruptError(`stream ${this.stream.name}`, `entry ${next} of group ${group} is missing`);
      }
    }
    return result;
  }

  async #readSegments(group: GroupId, segments: readonly Segment[]): Promise<LogEntry[]> {
    const lists = await located(
      this.stream,
      Promise.all(segments.map(async (segment) => entriesIn(await readRecord(this.stream, segment), group, segment))),
    );
    return lists.flat();
  }
}

function entriesOf(batch: WriteBatch, moved: readonly Move[]): (block: Block) => readonly LogEntry[] {
  const moves = new Map(moved.map(({ block, entries }) => [block, entries]));
  const appended = new Map(batch.groups.map(({ group, entries = [] }) => [group, entries]));
  return (block) => moves.get(block) ?? appended.get(block.group) ?? [];
}
