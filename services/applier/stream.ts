/**
 * Reads the merged-log stream of this server, from a merged index on. Sequences of the stream mean nothing outside this file: for every
 * seek the place is looked up by merged index. When to seek, read and look is decided in core/reading.ts.
 */
import {
  type ConsumerMessages,
  DeliverPolicy,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
} from '@nats-io/jetstream';
import { type NatsConnection, nanos } from '@nats-io/nats-core';
import type { MergedRun } from '../../shared/merge/merge.js';
import type { Index } from '../../shared/raft/entry.js';
import type { WarnOccasionally } from '../../shared/telemetry/log.js';
import { isStreamNotFound } from '../../shared/wire/jetstream-errors.js';
import { decodeMergedBatch } from '../../shared/wire/merged-batch.js';
import { WireError } from '../../shared/wire/wire-error.js';
import type { StreamPlace } from './core/reading.js';

export interface ReaderOptions {
  readonly connection: NatsConnection;
  readonly stream: string;
  /** The place that was sought; undefined while there is no stream. */
  readonly onPlaced: (id: number, place: StreamPlace | undefined) => void;
  /** Takes a message; the next one comes when it resolves. False: none is wanted. */
  readonly take: (id: number, run: MergedRun) => Promise<boolean>;
  /** What was read may not be all there is. */
  readonly onEnded: (id: number) => void;
  readonly warn: WarnOccasionally;
}

/** Bytes that the server may send ahead, and how long one request for more lasts when nothing comes (milliseconds). */
const PREFETCH_BYTES = 4 * 1024 * 1024;
const PULL_MS = 5_000;
const IDLE_CONSUMER_MS = 60_000;

/** What the client says when what was read may not be all there is. */
const DOUBTS: ReadonlySet<string> = new Set([
  'reset',
  'ordered_consumer_recreated',
  'consumer_not_found',
  'consumer_deleted',
  'stream_not_found',
  'heartbeats_missed',
]);

interface Place extends StreamPlace {
  readonly sequence: number;
}

export class MergedLogReader {
  /** Of the newest seek. */
  private id = 0;
  private place: Place | undefined;
  private messages: ConsumerMessages | undefined;
  /** Sequence of the last message that was taken, or of the one before the place. */
  private lastSequence = 0;
  private isStopped = false;

  constructor(private readonly options: ReaderOptions) {}

  /** Gives up what is being read, and looks the place up. */
  seek(id: number, wanted: Index): void {
    this.id = id;
    this.place = undefined;
    this.messages?.stop();
    void this.during(id, async () => {
      const place = await this.find(wanted);
      if (!this.isCurrent(id)) return;
      this.place = place;
      this.options.onPlaced(id, place);
    });
  }

  /** Reads from the place that was found. */
  read(id: number): void {
    const { place } = this;
    if (!this.isCurrent(id) || place === undefined) return;
    void this.during(id, async () => {
      await this.readFrom(id, place.sequence);
      if (this.isCurrent(id)) this.options.onEnded(id);
    });
  }

  /** Whether the stream ends elsewhere than what was read. */
  async hasMore(): Promise<boolean> {
    const { connection, stream } = this.options;
    const manager = await jetstreamManager(connection, { checkAPI: false });
    const state = await streamState(manager, stream);
    return state?.last_seq !== this.lastSequence;
  }

  stop(): void {
    this.isStopped = true;
    this.messages?.stop();
  }

  private isCurrent(id: number): boolean {
    return id === this.id && !this.isStopped;
  }

  private async during(id: number, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!this.isCurrent(id)) return;
      this.options.warn('the merged-log stream cannot be read', error);
      this.options.onEnded(id);
    }
  }

  private async readFrom(id: number, sequence: number): Promise<void> {
    const { connection, stream, take, warn } = this.options;
    this.lastSequence = sequence - 1;
    const consumer = await jetstream(connection).consumers.get(stream, {
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: sequence,
      inactive_threshold: nanos(IDLE_CONSUMER_MS),
    });
    const messages = await consumer.consume({ max_bytes: PREFETCH_BYTES, expires: PULL_MS });
    // Given up while the consumer was being made: there was nothing to stop then.
    if (this.isCurrent(id)) this.messages = messages;
    else messages.stop();
    void watch(messages);
    try {
      for await (const message of messages) {
        if (!this.isCurrent(id)) break;
        const run = this.decode(message.data, message.seq);
        if (run !== undefined && !(await take(id, run))) break;
        if (this.isCurrent(id)) this.lastSequence = message.seq;
      }
    } finally {
      messages.stop();
      consumer.delete().catch((error: unknown) => {
        if (!connection.isClosed()) warn('an old consumer of the merged-log stream stays behind', error);
      });
    }
  }

  /**
   * By bisection: the first message that reaches the wanted merged index; the end of the stream when none does yet (the
   * database may be ahead of a stream that lost its tail). Undefined while there is no stream.
   */
  private async find(wanted: Index): Promise<Place | undefined> {
    const { connection, stream } = this.options;
    const manager = await jetstreamManager(connection, { checkAPI: false });
    const state = await streamState(manager, stream);
    if (state === undefined) return undefined;
    if (state.messages === 0) return { sequence: state.last_seq + 1, firstMergedIndex: undefined };
    let low = state.first_seq;
    let high = state.last_seq + 1;
    let found: MergedRun | undefined;
    // Most of the time the place is near the end: probe the last message first.
    for (let probe = state.last_seq; low < high; probe = Math.floor((low + high) / 2)) {
      const at = await this.probe(manager, probe, high);
      if (at === undefined) high = probe;
      else if (at.run.after.mergedIndex >= wanted) {
        found = at.run;
        high = probe;
      } else low = at.sequence + 1;
    }
    return { sequence: low, firstMergedIndex: found?.firstMergedIndex };
  }

  /** The first message with a run at or after `sequence` and before `end`. */
  private async probe(
    manager: JetStreamManager,
    sequence: number,
    end: number,
  ): Promise<{ run: MergedRun; sequence: number } | undefined> {
    for (let at = sequence; at < end; at++) {
      const message = await manager.streams.getMessage(this.options.stream, { seq: at });
      const run = message === null ? undefined : this.decode(message.data, at);
      if (run !== undefined) return { run, sequence: at };
    }
    return undefined;
  }

  /** What is no merged batch is passed over: if anything of the log was in it, there is a hole now, and that is noticed. */
  private decode(data: Uint8Array, sequence: number): MergedRun | undefined {
    try {
      return decodeMergedBatch(data);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.options.warn('a message of the merged-log stream is damaged', { sequence, reason: error.message });
      return undefined;
    }
  }
}

async function watch(messages: ConsumerMessages): Promise<void> {
  for await (const status of messages.status()) {
    if (DOUBTS.has(status.type)) messages.stop();
  }
}

async function streamState(manager: JetStreamManager, stream: string) {
  try {
    return (await manager.streams.info(stream)).state;
  } catch (error) {
    if (isStreamNotFound(error)) return undefined;
    throw error;
  }
}
