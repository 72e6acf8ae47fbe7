/** Drops from a merged-log stream what a snapshot covers (T10). */
import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/nats-core';
import type { MergedIndex } from '../../shared/raft/entry.js';
import { decodeMergedBatch } from '../../shared/wire/merged-batch.js';
import { WireError } from '../../shared/wire/wire-error.js';

/**
 * Removes the messages that lie wholly at or below `mergedIndex`, but never the last one: it says
 * where the merger goes on. Positions are merged indexes, so the sequence is found by bisection.
 */
export async function trimStream(connection: NatsConnection, stream: string, mergedIndex: MergedIndex): Promise<void> {
  const manager = await jetstreamManager(connection, { checkAPI: false });
  const { state } = await manager.streams.info(stream);
  let low = state.first_seq;
  let high = state.last_seq;
  // The first message that reaches beyond; those before it go.
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const last = await lastIndexAt(middle);
    // What cannot be read counts as beyond: too little goes now rather than too much.
    if (last === undefined || last > mergedIndex) high = middle;
    else low = middle + 1;
  }
  if (low > state.first_seq) await manager.streams.purge(stream, { seq: low });

  /** Undefined for what is gone, or no batch. */
  async function lastIndexAt(sequence: number): Promise<MergedIndex | undefined> {
    const message = await manager.streams.getMessage(stream, { seq: sequence });
    if (message === null) return undefined;
    try {
      return decodeMergedBatch(message.data).after.mergedIndex;
    } catch (error) {
      if (error instanceof WireError) return undefined;
      throw error;
    }
  }
}
