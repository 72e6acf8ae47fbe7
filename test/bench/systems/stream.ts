/** A JetStream file stream of three replicas. */
import { jetstreamManager, StorageType } from '@nats-io/jetstream';
import { connect } from 'nats';
import type { Nats } from './nats.js';

/** Returns the subject to publish to. */
export async function createStream({ urls }: Nats, name: string): Promise<string> {
  const connection = await connect({ servers: [...urls] });
  try {
    const manager = await jetstreamManager(connection);
    const subject = `bench.${name.toLowerCase()}`;
    await manager.streams.add({ name, subjects: [subject], num_replicas: 3, storage: StorageType.File });
    return subject;
  } finally {
    await connection.close();
  }
}

/** Messages that it holds. */
export async function streamMessages({ urls }: Nats, name: string): Promise<number> {
  const connection = await connect({ servers: [...urls] });
  try {
    const manager = await jetstreamManager(connection);
    return (await manager.streams.info(name)).state.messages;
  } finally {
    await connection.close();
  }
}
