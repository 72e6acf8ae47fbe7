/**
 * Opens a server's log store, and refuses to do so with an empty one when the server has had a log
 * before. A member that has forgotten its votes and what it acknowledged would make a quorum wrong
 * (shared/wire/store-registry.ts).
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { NatsConnection } from '@nats-io/nats-core';
import type { ReplicaConfig } from '../../shared/config/config.js';
import type { Opened } from '../../shared/config/opened.js';
import { OtherClusterError } from '../../shared/config/other-cluster.js';
import { messageWithCause } from '../../shared/errors.js';
import { CONDITIONS } from '../../shared/health/conditions.js';
import type { ServiceHealth } from '../../shared/health/health.js';
import { LogStoreGoneError } from '../../shared/log-store/errors.js';
import { isInFolder, isInJetStream, openLogStore, placeOf } from '../../shared/log-store/open.js';
import { type LogStore, LogStoreWriteError } from '../../shared/log-store/port.js';
import { connectNats, drainAndClose, NO_NATS } from '../../shared/wire/connection.js';
import { StoreRegistry } from '../../shared/wire/store-registry.js';
import { Subjects } from '../../shared/wire/subjects.js';

/**
 * How long a new store, or one in JetStream, waits for that, which may have no leader yet
 * (milliseconds).
 */
const JETSTREAM_MS_MAX = 60_000;
const RETRY_MS = 500;
/** A write may be in flight when it is closed, and no other may be opened before it is. */
const STORE_CLOSING = { msMax: 5_000, isExclusive: true };

export interface KnownLogStore {
  readonly store: LogStore;
  /** Of the replica. */
  readonly connection: NatsConnection;
}

/**
 * Both are in `opened`. Rejects with LogStoreGoneError, OtherClusterError, with what the store
 * rejects with, or when NATS refuses the connection.
 */
export async function openKnownLogStore(
  config: ReplicaConfig,
  warn: (why: string, error: unknown) => void,
  health: ServiceHealth<'replica'>,
  opened: Opened,
): Promise<KnownLogStore> {
  const { server, registryReplicas } = config;
  // What is wrong with a log that is there is told also while NATS is away.
  const early = (await isInFolder(config))
    ? await opened.open('the log store', openLogStore(config), closeStore, STORE_CLOSING)
    : undefined;
  const connecting = connectNats(config, `craft-replica-${server}`, {
    signal: opened.signal,
    onTrouble: (why) => {
      warn(NO_NATS, why);
      health.report('nats', { why });
    },
  });
  const connection = await opened.open('the connection to NATS', connecting, drainAndClose);
  health.report('nats', undefined);
  const registry = await opened.step(StoreRegistry.open(connection, new Subjects(config.cluster)));
  if (early !== undefined) {
    registry.add(server, registryReplicas).catch((error) => warn('this log store could not be registered', error));
    return { store: early, connection };
  }
  const waits = (why: string, error: unknown) => {
    warn(why, error);
    health.report('log-store', { why: `${why}: ${messageWithCause(error)}`, remedy: CONDITIONS.merger.stream.remedy });
  };
  const store = await openFirst(config, connection, registry, waits, opened);
  health.report('log-store', undefined);
  return { store, connection };
}

async function openFirst(
  config: ReplicaConfig,
  connection: NatsConnection,
  registry: StoreRegistry,
  warn: (why: string, error: unknown) => void,
  opened: Opened,
): Promise<LogStore> {
  const { server, registryReplicas } = config;
  const patience = { warn, signal: opened.signal };
  const looking = patiently(patience, async () => {
    return !(await isInJetStream(config, connection)) && registry.has(server);
  });
  if (await opened.step(looking)) throw new LogStoreGoneError(server, placeOf(config));
  // What JetStream says of itself passes; a store that is damaged, fenced or not synced stays so.
  const mayPass = (error: unknown) => config.logStore === 'jetstream' && error instanceof LogStoreWriteError;
  const opening = patiently(patience, () => openLogStore(config, opened.signal), mayPass);
  const store = await opened.open('the log store', opening, closeStore, STORE_CLOSING);
  // Before another server hears of it. Not before it is there: a start that ends in between can be
  // repeated.
  await opened.step(patiently(patience, () => registry.add(server, registryReplicas)));
  return store;
}

const closeStore = (store: LogStore) => store.close();

async function patiently<T>(
  { warn, signal }: { warn: (why: string, error: unknown) => void; signal: AbortSignal | undefined },
  work: () => Promise<T>,
  mayPass: (error: unknown) => boolean = () => true,
): Promise<T> {
  const deadlineMs = performance.now() + JETSTREAM_MS_MAX;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      // That stays so, whatever is waited for.
      if (error instanceof OtherClusterError) throw error;
      if (performance.now() > deadlineMs || !mayPass(error) || signal?.aborted) throw error;
      warn('the log store waits for JetStream', error);
      await delay(RETRY_MS);
    }
  }
}
