/**
 * The merged-log stream of one server: the only state that a merger has. Every message is published
 * with the sequence that it must follow, so of two mergers at work at once one is refused; nothing
 * is ever there twice or missing.
 */
import {
  type JetStreamClient,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
} from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/nats-core';
import { NamedError } from '../../shared/errors.js';
import { limitsOf } from '../../shared/health/stream-limits.js';
import { type MergePosition, mergeStart } from '../../shared/merge/merge.js';
import type { WarnOccasionally } from '../../shared/telemetry/log.js';
import { isStreamNotFound, isWrongLastSequence } from '../../shared/wire/jetstream-errors.js';
import { decodeMergedBatch } from '../../shared/wire/merged-batch.js';
import { placementOn, requireOwnStream } from '../../shared/wire/own-stream.js';
import { WireError } from '../../shared/wire/wire-error.js';

/** Another writer has published to the stream: a second merger of this server is at work. */
export class StreamFencedError extends Error {
  readonly code = 'STREAM_FENCED';
}

/** The stream has lost messages, or is another one: it is written again from the groups' logs. */
export class StreamLostError extends Error {
  readonly code = 'STREAM_LOST';
}

/** The stream was written by a cluster of another number of groups, which never changes. */
class OtherGroupsError extends NamedError {
  readonly code = 'OTHER_GROUPS';
  constructor(stream: string, found: number, expected: number) {
    super(`stream ${stream} is of ${found} groups, this cluster has ${expected}`);
  }
}

export class MergedLogStream {
  private lastSequence = 0;
  /** Something of the merged log is in the stream. */
  private isWritten = false;

  private constructor(
    private readonly client: JetStreamClient,
    private readonly manager: JetStreamManager,
    private readonly name: string,
    private readonly subject: string,
    private readonly groups: number,
    private readonly tags: readonly string[],
    private readonly warn: WarnOccasionally,
  ) {}

  /** The stream itself is made by `position`, on a NATS server with all of `tags`. */
  static async open(
    connection: NatsConnection,
    options: { name: string; subject: string; groups: number; tags: readonly string[]; warn: WarnOccasionally },
  ): Promise<MergedLogStream> {
    // Asks nobody: JetStream may not be there yet, and the rest of this process does without it
    // meanwhile.
    const manager = await jetstreamManager(connection, { checkAPI: false });
    const { name, subject, groups, tags, warn } = options;
    return new MergedLogStream(jetstream(connection), manager, name, subject, groups, tags, warn);
  }

  /** Where the stream ends: read at every start, and after a publish whose outcome is unknown. */
  async position(): Promise<MergePosition> {
    // One that was lost is made anew as well, and written again from the groups' logs (T10).
    await this.create();
    const { state } = await this.manager.streams.info(this.name);
    this.lastSequence = state.last_seq;
    this.isWritten = false;
    for (let sequence = state.last_seq; sequence >= state.first_seq && state.messages > 0; sequence--) {
      const message = await this.manager.streams.getMessage(this.name, { seq: sequence });
      const after = message === null ? undefined : this.decode(message.data, sequence);
      if (after === undefined) continue;
      if (after.positions.length !== this.groups) {
        throw new OtherGroupsError(this.name, after.positions.length, this.groups);
      }
      this.isWritten = true;
      return after;
    }
    return mergeStart(this.groups);
  }

  /**
   * A client that may publish to the subject can put anything into the stream: what is no batch is
   * passed over, as readers do.
   */
  private decode(data: Uint8Array, sequence: number): MergePosition | undefined {
    try {
      return decodeMergedBatch(data).after;
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.warn('a message of the merged-log stream is not a merged batch', { sequence, reason: error.message });
      return undefined;
    }
  }

  /**
   * Resolves when the stream has it. Rejects with StreamFencedError when the stream has gone on
   * without us.
   */
  async publish(data: Uint8Array, timeoutMs: number): Promise<void> {
    try {
      const expect = { lastSequence: this.lastSequence };
      const ack = await this.client.publish(this.subject, data, { expect, timeout: timeoutMs });
      this.lastSequence = ack.seq;
      this.isWritten = true;
    } catch (error) {
      if (isWrongLastSequence(error)) {
        throw new StreamFencedError(`stream ${this.name} has gone on past ${this.lastSequence}`, { cause: error });
      }
      throw error;
    }
  }

  /** Removes all messages: the next life begins the log again. */
  async empty(): Promise<void> {
    await this.manager.streams.purge(this.name);
  }

  /**
   * What the stream is limited by, besides what craft sets: entries are dropped, or not taken.
   * Null: there is no stream.
   */
  async limits(): Promise<readonly string[] | null> {
    try {
      const { config } = await this.manager.streams.info(this.name);
      return limitsOf(config);
    } catch (error) {
      if (isStreamNotFound(error)) return null;
      throw error;
    }
  }

  /**
   * Nothing tells that a stream has been removed or emptied, or has lost its end in a crash.
   * @throws StreamLostError
   */
  async requireWhole(): Promise<void> {
    const written = this.lastSequence;
    const { state } = await this.manager.streams.info(this.name);
    if (this.isWritten && state.messages === 0) throw new StreamLostError(`stream ${this.name} has been emptied`);
    if (state.last_seq < written) {
      throw new StreamLostError(`stream ${this.name} ends at ${state.last_seq}, written was ${written}`);
    }
  }

  private async create(): Promise<void> {
    try {
      requireOwnStream(await this.manager.streams.info(this.name), this.subject);
      return;
    } catch (error) {
      if (!isStreamNotFound(error)) throw error;
    }
    await this.manager.streams.add({
      name: this.name,
      subjects: [this.subject],
      // Rebuildable from the groups' logs: one replica, and no fsync a message, is enough.
      num_replicas: 1,
      storage: StorageType.File,
      retention: RetentionPolicy.Limits,
      allow_direct: true,
      ...placementOn(this.tags),
    });
  }
}
