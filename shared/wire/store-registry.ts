/**
 * Which servers have had a log store, in a small stream next to the logs. It tells a member whose
 * disk was wiped from a server that starts for the first time. It would have forgotten its votes
 * and what it acknowledged, and a quorum could be wrong with it (T1, T11).
 *
 * Without its entry in the registry, a server whose disk was wiped is not recognised. Losing the
 * registry does no other harm: every server enters itself again when it starts.
 */
import {
  DiscardPolicy,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
} from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/nats-core';
import type { ServerId } from '../raft/entry.js';
import { isStreamNotFound } from './jetstream-errors.js';
import { requireOwnStream } from './own-stream.js';
import type { Subjects } from './subjects.js';

const TIMEOUT_MS = 2_000;

export class StoreRegistry {
  private constructor(
    private readonly connection: NatsConnection,
    private readonly manager: JetStreamManager,
    private readonly subjects: Subjects,
  ) {}

  static async open(connection: NatsConnection, subjects: Subjects): Promise<StoreRegistry> {
    const manager = await jetstreamManager(connection, { checkAPI: false, timeout: TIMEOUT_MS });
    return new StoreRegistry(connection, manager, subjects);
  }

  /** Rejects when JetStream does not answer. */
  async has(server: ServerId): Promise<boolean> {
    const { subjects, manager } = this;
    const wanted = { last_by_subj: subjects.registered(server) };
    try {
      return (await manager.streams.getMessage(subjects.registry(), wanted)) !== null;
    } catch (error) {
      if (isStreamNotFound(error)) return false;
      throw error;
    }
  }

  /**
   * Enters a server; makes the registry, with so many replicas, if it is not there. Rejects when
   * JetStream does not answer.
   */
  async add(server: ServerId, replicas: number): Promise<void> {
    const { subjects, manager } = this;
    try {
      requireOwnStream(await manager.streams.info(subjects.registry()), subjects.registered(server));
    } catch (error) {
      if (!isStreamNotFound(error)) throw error;
      await manager.streams.add({
        name: subjects.registry(),
        subjects: [subjects.registered('*')],
        storage: StorageType.File,
        retention: RetentionPolicy.Limits,
        discard: DiscardPolicy.Old,
        max_msgs_per_subject: 1,
        num_replicas: replicas,
      });
    }
    await jetstream(this.connection, { timeout: TIMEOUT_MS }).publish(subjects.registered(server));
  }

  /** A server that is no member any more may come again, as a new one. */
  async remove(server: ServerId): Promise<void> {
    try {
      await this.manager.streams.purge(this.subjects.registry(), { filter: this.subjects.registered(server) });
    } catch (error) {
      if (!isStreamNotFound(error)) throw error;
    }
  }
}
