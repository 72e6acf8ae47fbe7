/**
 * Reads the merged-log stream of this server, from a merged index on. Sequences of the stream mean nothing outside this file: after
 * every doubt (reconnect, lost consumer, hole) the place is looked up again by merged index.
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
import { pause } from './pause.js';

export interface ReaderOptions {
  readonly connection: NatsConnection;
  readonly stream: string;
  /** The first merged index that is still wanted. */
  readonly wanted: () => Index;
  /** Takes a message; the next one comes when it resolves. False: look the place up again. */
  readonly take: (run: MergedRun) => Promise<boolean>;
  /** What is wanted next is gone from the stream; true when something else is wanted now. */
  readonly onMissing: () => Promise<boolean>;
  /** No snapshot has helped for a while: the stream is to begin again where this state is. */
  readonly onRestart: () => void;
  /** It could not be helped; it will be tried again. */
  readonly onStuck: (error: MissingEntriesError) => void;
  readonly warn: WarnOccasionally;
  readonly signal: AbortSignal;
}

/** What is wanted next is gone from the stream. */
export class MissingEntriesError extends Error {
  readonly code = 'MISSING_ENTRIES';
}

/** Between two looks for a stream that is not there, or a hole that may be filled (milliseconds). */
const RETRY_MS = 500;
/** Looks at a hole before it counts as one. */
const HOLE_TRIES = 5;
/** Further looks, each with a try to install a snapshot, before the stream is to begin again. */
const RESTART_TRIES = 10;
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

interface Place {
  readonly sequence: number;
  /** Of the first message from there on; undefined when there is none yet. */
  readonly firstMergedIndex: Index | undefined;
}

export class MergedLogReader {
  private messages: ConsumerMessages | undefined;
  private isInterrupted = false;

  constructor(private readonly options: ReaderOptions) {}

  /** Reads until the signal. */
  async run(): Promise<void> {
    const { signal, warn } = this.options;
    const onAbort = () => this.interrupt();
    signal.addEventListener('abort', onAbort);
    let holes = 0;
    while (!signal.aborted) {
      this.isInterrupted = false;
      try {
        const place = await this.find();
        if (place === undefined || isBeyond(place, this.options.wanted())) {
          if (place !== undefined && ++holes >= HOLE_TRIES) await this.fillHole(place, holes - HOLE_TRIES + 1);
          await pause(RETRY_MS, signal);
          continue;
        }
        holes = 0;
        await this.readFrom(place.sequence);
      } catch (error) {
        if (signal.aborted) break;
        warn('the merged-log stream cannot be read', error);
        await pause(RETRY_MS, signal);
      }
    }
    signal.removeEventListener('abort', onAbort);
  }

  /** Looks the place up again. */
  interrupt(): void {
    this.isInterrupted = true;
    this.messages?.stop();
  }

  private async readFrom(sequence: number): Promise<void> {
    const { connection, stream, signal, take, warn } = this.options;
    const consumer = await jetstream(connection).consumers.get(stream, {
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: sequence,
      inactive_threshold: nanos(IDLE_CONSUMER_MS),
    });
    const messages = await consumer.consume({ max_bytes: PREFETCH_BYTES, expires: PULL_MS });
    this.messages = messages;
    // Told to stop while the consumer was being made: there was nothing to stop then.
    if (signal.aborted || this.isInterrupted) messages.stop();
    void this.watch(messages);
    try {
      for await (const message of messages) {
        if (signal.aborted || this.isInterrupted) break;
        const run = this.decode(message.data, message.seq);
        if (run !== undefined && !(await take(run))) break;
      }
    } finally {
      this.messages = undefined;
      messages.stop();
      consumer.delete().catch((error: unknown) => {
        if (!connection.isClosed()) warn('an old consumer of the merged-log stream stays behind', error);
      });
    }
  }

  private async watch(messages: ConsumerMessages): Promise<void> {
    for await (const status of messages.status()) {
      if (DOUBTS.has(status.type)) messages.stop();
    }
  }

  /**
   * By bisection: the first message that reaches the wanted merged index; the end of the stream when none does yet (the
   * database may be ahead of a stream that lost its tail). Undefined while there is no stream.
   */
  private async find(): Promise<Place | undefined> {
    const { connection, stream, wanted } = this.options;
    const manager = await jetstreamManager(connection, { checkAPI: false });
    const state = await streamState(manager, stream);
    if (state === undefined) return undefined;
    if (state.messages === 0) return { sequence: state.last_seq + 1, firstMergedIndex: undefined };
    const index = wanted();
    let low = state.first_seq;
    let high = state.last_seq + 1;
    let found: MergedRun | undefined;
    // Most of the time the place is near the end: probe the last message first.
    for (let probe = state.last_seq; low < high; probe = Math.floor((low + high) / 2)) {
      const at = await this.probe(manager, probe, high);
      if (at === undefined) high = probe;
      else if (at.run.after.mergedIndex >= index) {
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

  /**
   * The stream was trimmed, or begun anew, beyond where this state is: a snapshot reaches over that (T10). Without one the groups' logs may
   * still have what is missing: the merger begins the stream again where this state is, or says that it cannot.
   */
  private async fillHole({ firstMergedIndex }: Place, tries: number): Promise<void> {
    const { stream, wanted, onMissing, onRestart, onStuck } = this.options;
    if (await onMissing()) return;
    if (tries % RESTART_TRIES === 0) onRestart();
    const missing = new MissingEntriesError(
      `stream ${stream} goes on at merged index ${firstMergedIndex}, but this server's database needs ${wanted()} next: the entries ` +
        'between are gone from the stream, and there is no snapshot beyond them yet',
    );
    onStuck(missing);
  }
}

function isBeyond(place: Place, wanted: Index): boolean {
  return place.firstMergedIndex !== undefined && place.firstMergedIndex > wanted;
}

async function streamState(manager: JetStreamManager, stream: string) {
  try {
    return (await manager.streams.info(stream)).state;
  } catch (error) {
    if (isStreamNotFound(error)) return undefined;
    throw error;
  }
}
