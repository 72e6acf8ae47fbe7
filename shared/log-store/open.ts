/** The log store that a server's configuration asks for, with what it needs around it. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/nats-core';
import type { ReplicaConfig } from '../config/config.js';
import type { NatsAccess } from '../wire/access.js';
import { connectNats } from '../wire/connection.js';
import { isStreamNotFound } from '../wire/jetstream-errors.js';
import { Subjects } from '../wire/subjects.js';
import { JetStreamLogStore } from './jetstream/store.js';
import type { LogStore } from './port.js';
import { holdsStore } from './segments/segment.js';
import { SegmentLogStore } from './segments/store.js';

export type LogStoreConfig = NatsAccess &
  Pick<
    ReplicaConfig,
    | 'logStore'
    | 'logStoreSync'
    | 'dataDir'
    | 'cluster'
    | 'server'
    | 'groups'
    | 'natsUrl'
    | 'natsOrder'
    | 'natsInboxPrefix'
    | 'natsStreamTags'
    | 'natsMonitorUrls'
  >;

/** The folder or stream, for messages. */
export function placeOf({ logStore, dataDir, cluster, server }: LogStoreConfig): string {
  return logStore === 'jetstream' ? new Subjects(cluster).storeStream(server) : join(dataDir, 'log');
}

/**
 * Whether there is a log store in that folder already, of this version or of another. Rejects when
 * the folder cannot be listed.
 */
export async function isInFolder(config: LogStoreConfig): Promise<boolean> {
  if (config.logStore === 'jetstream') return false;
  const files = await readdir(placeOf(config)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return [];
    throw error;
  });
  return holdsStore(files);
}

/** Whether there is that stream already. */
export async function isInJetStream(config: LogStoreConfig, connection: NatsConnection): Promise<boolean> {
  if (config.logStore !== 'jetstream') return false;
  const manager = await jetstreamManager(connection, { checkAPI: false });
  try {
    await manager.streams.info(placeOf(config));
    return true;
  } catch (error) {
    if (isStreamNotFound(error)) return false;
    throw error;
  }
}

/**
 * Opens the store, or makes a new one. Rejects with what the store itself rejects with, when NATS
 * refuses the connection, or when `signal` aborts before there is one.
 */
export async function openLogStore(config: LogStoreConfig, signal?: AbortSignal): Promise<LogStore> {
  if (config.logStore === 'jetstream') return openInJetStream(config, signal);
  const { cluster, server, groups } = config;
  return SegmentLogStore.open({ folder: placeOf(config), cluster, server, groups });
}

/** On a connection of its own, so that a write never waits behind what the services send. */
async function openInJetStream(config: LogStoreConfig, signal: AbortSignal | undefined): Promise<LogStore> {
  const { cluster, server, groups } = config;
  const connection = await connectNats(config, `craft-log-store-${server}`, { signal });
  try {
    const store = await JetStreamLogStore.open({
      connection,
      stream: placeOf(config),
      subject: new Subjects(cluster).storeSubject(server),
      monitorUrls: config.natsMonitorUrls,
      tags: config.natsStreamTags ?? [],
      isTrusted: config.logStoreSync === 'vouched',
      cluster,
      server,
      groups,
    });
    return {
      load: () => store.load(),
      write: (batch) => store.write(batch),
      read: (group, from, to, bytesMax) => store.read(group, from, to, bytesMax),
      close: () => store.close().finally(() => connection.close()),
    };
  } catch (error) {
    await connection.close();
    throw error;
  }
}
