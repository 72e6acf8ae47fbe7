/** The log store that the configuration asks for, with what it needs around it. */
import { join } from 'node:path';
import type { ReplicaConfig } from '../../shared/config/config.js';
import { JetStreamLogStore } from '../../shared/log-store/jetstream/store.js';
import { LevelLogStore } from '../../shared/log-store/level.js';
import type { LogStore } from '../../shared/log-store/port.js';
import { connectNats } from '../../shared/wire/connection.js';
import { Subjects } from '../../shared/wire/subjects.js';

export function logFolder(config: ReplicaConfig): string {
  return join(config.dataDir, 'log');
}

/** Rejects with what the store itself rejects with, when NATS refuses the connection, or when `signal` aborts before there is one. */
export async function openLogStore(config: ReplicaConfig, signal?: AbortSignal): Promise<LogStore> {
  const { cluster, server, groups } = config;
  if (config.logStore === 'jetstream') return openInJetStream(config, signal);
  return LevelLogStore.open({ folder: logFolder(config), cluster, server, groups });
}

/** On a connection of its own, so that a write never waits behind what the services send. */
async function openInJetStream(config: ReplicaConfig, signal: AbortSignal | undefined): Promise<LogStore> {
  const { cluster, server, groups } = config;
  const subjects = new Subjects(cluster);
  const connection = await connectNats(config, `craft-log-store-${server}`, signal);
  try {
    const store = await JetStreamLogStore.open({
      connection,
      stream: subjects.storeStream(server),
      subject: subjects.storeSubject(server),
      monitorUrls: config.natsMonitorUrls,
      vouched: config.logStoreSync === 'vouched',
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
