/**
 * The stream of a jetstream log store: one copy, in files, all of one server. Every message is
 * published with the sequence that it must follow, so that of two writers one is refused. A publish
 * has been synced to the disk when it is acknowledged (sync.ts checks that).
 */
import {
  DiscardPolicy,
  type JetStreamClient,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamInfo,
} from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/nats-core';
import { OtherClusterError } from '../../config/other-cluster.js';
import { messageOf } from '../../errors.js';
import { isStreamNotFound, isWrongLastSequence } from '../../wire/jetstream-errors.js';
import { placementOn, requireOwnStream } from '../../wire/own-stream.js';
import { LogStoreWriteError } from '../port.js';
import {
  decodeMessage,
  encodeMessage,
  MESSAGE_HEADER_BYTES,
  MessageError,
  PARTS_MAX,
  type StoredMessage,
} from './record.js';

/** How long one request may take (milliseconds). */
const TIMEOUT_MS = 5_000;
/** The NATS headers of a message count towards its size. */
const NATS_HEADER_BYTES = 512;

/**
 * The stream has gone on past where this writer believes its end to be. Nothing has been stored.
 */
export class WrongSequenceError extends Error {}

/** Where a record lies. */
export interface Placed {
  readonly sequence: number;
  readonly parts: number;
}

export class StoreStream {
  /**
   * How many times messages have begun to be purged: a reader that knows where they were may find
   * them missing.
   */
  purges = 0;
  readonly #client: JetStreamClient;

  private constructor(
    private readonly connection: NatsConnection,
    private readonly manager: JetStreamManager,
    readonly name: string,
    private readonly subject: string,
    /** Sequence of the first message. */
    public first: number,
    /** Sequence of the last message of any writer, as far as this writer knows. */
    public last: number,
    /** The NATS server that has the stream. */
    readonly host: string,
  ) {
    this.#client = jetstream(connection);
  }

  /**
   * Opens the stream, or makes it on a NATS server with all of `tags`. Rejects with
   * LogStoreWriteError when JetStream cannot be had, with OtherClusterError.
   */
  static async open(
    connection: NatsConnection,
    name: string,
    subject: string,
    tags: readonly string[] = [],
  ): Promise<StoreStream> {
    try {
      const manager = await jetstreamManager(connection, { timeout: TIMEOUT_MS });
      const { state, cluster } = await openStream(manager, name, subject, tags);
      const host = cluster?.leader ?? connection.info?.server_name ?? '';
      return new StoreStream(connection, manager, name, subject, state.first_seq, state.last_seq, host);
    } catch (cause) {
      if (cause instanceof OtherClusterError) throw cause;
      throw new LogStoreWriteError(`the stream ${name} of the log store cannot be opened: ${messageOf(cause)}`, {
        cause,
      });
    }
  }

  /**
   * Resolves when all of the record is durable. Rejects with WrongSequenceError, or with
   * LogStoreWriteError when the outcome is not known: some or all of it may be there, or arrive
   * there later.
   */
  async publish(record: Buffer, writer: string): Promise<Placed> {
    const room = (this.connection.info?.max_payload ?? 0) - MESSAGE_HEADER_BYTES - NATS_HEADER_BYTES;
    if (room <= 0) throw new LogStoreWriteError('the NATS server takes no message of a useful size (max_payload)');
    const parts = Math.max(1, Math.ceil(record.length / room));
    if (parts > PARTS_MAX) throw new LogStoreWriteError(`a record of ${record.length} bytes has too many parts`);
    const sequence = this.last + 1;
    for (let part = 0; part < parts; part++) {
      const data = record.subarray(part * room, (part + 1) * room);
      await this.#publishPart(encodeMessage({ sequence: this.last + 1, writer, part, parts, data }));
    }
    return { sequence, parts };
  }

  async #publishPart(message: Buffer): Promise<void> {
    const expect = { lastSequence: this.last, streamName: this.name };
    try {
      const { seq } = await this.#client.publish(this.subject, message, { expect, timeout: TIMEOUT_MS });
      if (seq !== this.last + 1) throw new Error(`the message was stored as ${seq}, not as ${this.last + 1}`);
      this.last = seq;
    } catch (cause) {
      if (isWrongLastSequence(cause)) {
        throw new WrongSequenceError(`stream ${this.name} has gone on past ${this.last}`, { cause });
      }
      throw new LogStoreWriteError(`the write to stream ${this.name} failed: ${messageOf(cause)}`, { cause });
    }
  }

  /** Learns where the stream begins and ends. */
  async refresh(): Promise<void> {
    try {
      const { state } = await this.manager.streams.info(this.name);
      this.first = state.first_seq;
      this.last = state.last_seq;
    } catch (cause) {
      throw new LogStoreWriteError(`stream ${this.name} does not answer: ${messageOf(cause)}`, { cause });
    }
  }

  /**
   * Throws MessageError when it is missing or damaged, LogStoreWriteError when it cannot be read
   * now.
   */
  async get(sequence: number): Promise<StoredMessage> {
    let found: Awaited<ReturnType<JetStreamManager['direct']['getMessage']>>;
    try {
      found = await this.manager.direct.getMessage(this.name, { seq: sequence });
    } catch (cause) {
      throw new LogStoreWriteError(`reading stream ${this.name} failed: ${messageOf(cause)}`, { cause });
    }
    if (found === null || found.seq !== sequence) throw new MessageError(sequence, 'the message is missing');
    return decodeMessage(sequence, found.data);
  }

  /** Removes every message before `sequence`. */
  async purge(sequence: number): Promise<void> {
    this.purges++;
    await this.manager.streams.purge(this.name, { seq: sequence });
    this.first = sequence;
  }
}

async function openStream(
  manager: JetStreamManager,
  name: string,
  subject: string,
  tags: readonly string[],
): Promise<StreamInfo> {
  try {
    const info = await manager.streams.info(name);
    requireOwnStream(info, subject);
    return info;
  } catch (error) {
    if (!isStreamNotFound(error)) throw error;
  }
  return manager.streams.add({
    name,
    subjects: [subject],
    // The groups replicate their logs among the servers; more copies of each would be work for
    // nothing.
    num_replicas: 1,
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.New,
    allow_direct: true,
    deny_delete: true,
    ...placementOn(tags),
  });
}
