/**
 * Reads the merged-log stream of this server, from a merged index on, a piece at a time. There is
 * no consumer: nothing can be paused, stolen or lost at the NATS server. Sequences of the stream
 * mean nothing outside this file: for every seek the place is looked up by merged index. When to
 * seek, read and look is decided in core/reading.ts.
 */
import { type JetStreamManager, jetstreamManager, type StoredMsg, type StreamInfo } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/nats-core';
import { OtherClusterError } from '../../shared/config/other-cluster.js';
import { messageOf, NamedError } from '../../shared/errors.js';
import type { MergedRun } from '../../shared/merge/merge.js';
import type { MergedIndex } from '../../shared/raft/entry.js';
import type { WarnOccasionally } from '../../shared/telemetry/log.js';
import { isNoMessage, isStreamNotFound } from '../../shared/wire/jetstream-errors.js';
import { decodeMergedBatch } from '../../shared/wire/merged-batch.js';
import { requireOwnStream } from '../../shared/wire/own-stream.js';
import { WireError } from '../../shared/wire/wire-error.js';
import type { StreamPiece, StreamPlace } from './core/reading.js';

export interface ReaderOptions {
  readonly connection: NatsConnection;
  readonly stream: string;
  /** That it stores. */
  readonly subject: string;
  readonly warn: WarnOccasionally;
  /** The stream could be read, or it could not, because of this. */
  readonly onReadable: (trouble: StreamUnreadableError | undefined) => void;
}

/**
 * One piece (bytes, messages): what the server sends ahead, and what is in memory beside the queue.
 */
const PIECE_BYTES = 1024 * 1024;
const PIECE_MESSAGES = 256;
/** Messages at the end of the stream that are looked at for one that is a merged batch. */
const LOOK_MESSAGES_MAX = 64;

/** JetStream does not give the stream, or what is in it. */
export class StreamUnreadableError extends NamedError {
  readonly code = 'STREAM_UNREADABLE';
  constructor(stream: string, cause: unknown) {
    super(`stream ${stream} cannot be read: ${messageOf(cause)}`, { cause });
  }
}

export class MergedLogReader {
  /** Of the next message to be read. */
  private next = 1;
  /** The end of the stream as it was seen by the last look. */
  private seen: { readonly created: string; readonly sequence: number; readonly mergedIndex: MergedIndex } | undefined;
  private manager: Promise<JetStreamManager> | undefined;

  constructor(private readonly options: ReaderOptions) {}

  /** Merged index that the stream reached when it was looked at last; undefined before. */
  get end(): MergedIndex | undefined {
    return this.seen?.mergedIndex;
  }

  /**
   * Finds the place from which `read` goes on; undefined while there is no stream. @throws
   * StreamUnreadableError, OtherClusterError
   */
  async seek(wanted: MergedIndex): Promise<StreamPlace | undefined> {
    const found = await this.readable(this.find(wanted));
    if (found !== undefined) this.next = found.sequence;
    return found;
  }

  /** The next piece from the place that was found. @throws StreamUnreadableError */
  read(): Promise<StreamPiece> {
    return this.readable(this.readPiece());
  }

  /** Whether the stream has this merged index, or a later one. @throws StreamUnreadableError */
  reaches(wanted: MergedIndex): Promise<boolean> {
    return this.readable(this.look(wanted));
  }

  private async readable<T>(reading: Promise<T>): Promise<T> {
    const { stream, onReadable } = this.options;
    try {
      const value = await reading;
      onReadable(undefined);
      return value;
    } catch (cause) {
      if (cause instanceof OtherClusterError) throw cause;
      const error = new StreamUnreadableError(stream, cause);
      onReadable(error);
      throw error;
    }
  }

  private async readPiece(): Promise<StreamPiece> {
    const { stream } = this.options;
    const manager = await this.open();
    const query = { seq: this.next, batch: PIECE_MESSAGES, max_bytes: PIECE_BYTES };
    const runs: MergedRun[] = [];
    let last: StoredMsg | undefined;
    try {
      for await (const message of await manager.direct.getBatch(stream, query)) {
        last = message;
        this.next = message.seq + 1;
        const run = this.decode(message.data, message.seq);
        if (run !== undefined) runs.push(run);
      }
    } catch (error) {
      if (!isNoMessage(error)) throw error;
    }
    return { runs, isEnd: last === undefined || last.pending === 0 };
  }

  private async look(wanted: MergedIndex): Promise<boolean> {
    const manager = await this.open();
    const info = await this.info(manager);
    if (info === undefined || info.state.messages === 0) {
      this.seen = undefined;
      return false;
    }
    const { created, state } = info;
    // Another stream of the same name counts from 1 again.
    const seen = this.seen?.created === created ? this.seen : undefined;
    // What is no merged batch is passed over, back to what was seen before.
    const first = Math.max(state.first_seq, state.last_seq - LOOK_MESSAGES_MAX);
    for (let sequence = state.last_seq; sequence >= first && sequence !== seen?.sequence; sequence--) {
      const run = await this.message(manager, sequence);
      if (run === undefined) continue;
      this.seen = { created, sequence: state.last_seq, mergedIndex: run.after.mergedIndex };
      return run.after.mergedIndex >= wanted;
    }
    return seen !== undefined && seen.mergedIndex >= wanted;
  }

  /**
   * By bisection: the first message that reaches the wanted merged index. The end of the stream
   * when none does yet (the database may be ahead of a stream that lost its tail). Undefined while
   * there is no stream.
   */
  private async find(wanted: MergedIndex): Promise<(StreamPlace & { sequence: number }) | undefined> {
    const manager = await this.open();
    const state = (await this.info(manager))?.state;
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
      const run = await this.message(manager, at);
      if (run !== undefined) return { run, sequence: at };
    }
    return undefined;
  }

  private async message(manager: JetStreamManager, sequence: number): Promise<MergedRun | undefined> {
    const message = await manager.streams.getMessage(this.options.stream, { seq: sequence });
    return message === null ? undefined : this.decode(message.data, sequence);
  }

  /**
   * What is no merged batch is passed over: if anything of the log was in it, there is a hole now,
   * and that is noticed.
   */
  private decode(data: Uint8Array, sequence: number): MergedRun | undefined {
    try {
      return decodeMergedBatch(data);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.options.warn('a message of the merged-log stream is damaged', { sequence, reason: error.message });
      return undefined;
    }
  }

  /** Undefined while there is no stream. @throws OtherClusterError */
  private async info(manager: JetStreamManager): Promise<StreamInfo | undefined> {
    const { stream, subject } = this.options;
    try {
      const info = await manager.streams.info(stream);
      requireOwnStream(info, subject);
      return info;
    } catch (error) {
      if (isStreamNotFound(error)) return undefined;
      throw error;
    }
  }

  /** Asks JetStream for nothing. */
  private open(): Promise<JetStreamManager> {
    this.manager ??= jetstreamManager(this.options.connection, { checkAPI: false });
    return this.manager;
  }
}
