/**
 * Starting a replica: what is opened, in which order, and what is held against the configuration
 * before anything runs.
 */
import type { NatsConnection } from '@nats-io/nats-core';
import { ConfigError, type ReplicaConfig } from '../../shared/config/config.js';
import { type Opened, openAll } from '../../shared/config/opened.js';
import type { Service } from '../../shared/config/service.js';
import { Admission } from '../../shared/engine/admission.js';
import { loadStateMachine } from '../../shared/engine/loading.js';
import { ServiceHealth } from '../../shared/health/health.js';
import type { Links } from '../../shared/link/links.js';
import { GROUP_DEFAULTS } from '../../shared/raft/options.js';
import { createLogger, type Logger, warnOccasionally } from '../../shared/telemetry/log.js';
import { openTelemetry } from '../../shared/telemetry/open.js';
import { decodeConfiguration, encodeConfiguration } from '../../shared/wire/configuration.js';
import { MESSAGE_OVERHEAD_BYTES, requireOpen } from '../../shared/wire/connection.js';
import { encodeEntry } from '../../shared/wire/entry-block.js';
import type { ClientCommand } from './commands.js';
import { ReplicaCore } from './core/server.js';
import { withWayOut } from './damage.js';
import { openKnownLogStore } from './known-log-store.js';
import { completeTails } from './restore.js';
import { type Clocks, SYSTEM_CLOCKS } from './runner.js';
import { ReplicaService } from './service.js';

const PROMISE_WINDOW_US = 250_000;
const PROPOSALS_MAX = 4_096;
const ENVELOPE_BYTES_MAX = 512 * 1024;

/**
 * Starts the replica of `config.server`. `links`: what it shares with the other services of its
 * process. Rejects, with everything closed again, when NATS or the log store cannot be opened, or
 * when `signal` aborts.
 */
export async function startReplica(
  config: ReplicaConfig,
  clocks: Clocks = SYSTEM_CLOCKS,
  links: Links = {},
  signal?: AbortSignal,
): Promise<Service> {
  const logger = createLogger({ service: 'replica', server: config.server, level: config.logLevel });
  try {
    return await openAll((opened) => openReplica(config, clocks, links, logger, opened), {
      signal,
      onUnfinished: (text, error) => logger.error({ err: error }, text),
    });
  } catch (error) {
    throw withWayOut(error, config);
  }
}

async function openReplica(
  config: ReplicaConfig,
  clocks: Clocks,
  links: Links,
  logger: Logger,
  opened: Opened,
): Promise<Service> {
  const { server } = config;
  const admission = new Admission(await loadStateMachine(config.stateMachine));
  const warn = warnOccasionally(logger);
  const health = links.health?.of('replica') ?? new ServiceHealth('replica');
  health.reset();
  const { metrics, tracing } = await openTelemetry('replica', config, warn, opened);
  const { store, connection } = await openKnownLogStore(config, warn, health, opened);
  const loaded = await opened.step(store.load().then((state) => completeTails(store, state)));
  requirePayload(connection, Math.max(ENVELOPE_BYTES_MAX, config.payloadBytesMax) + MESSAGE_OVERHEAD_BYTES);
  const core = new ReplicaCore<ClientCommand>(
    {
      ...GROUP_DEFAULTS,
      server,
      servers: config.join ? [] : config.servers,
      groups: config.groups,
      electionTimeoutMs: config.electionTimeoutMs,
      heartbeatMs: config.heartbeatMs,
      uncommittedBytesMax: config.uncommittedBytesMax,
      clockOffsetUsMax: config.clockOffsetMaxMs * 1_000,
      promiseWindowUs: PROMISE_WINDOW_US,
      proposalsMax: PROPOSALS_MAX,
      envelopeBytesMax: ENVELOPE_BYTES_MAX,
      encodeEntry,
      encodeConfiguration,
      decodeConfiguration,
      random: Math.random,
      applied: () => links.applied?.indexes ?? null,
    },
    loaded,
    { physical: clocks.physical(), nowMs: clocks.monotonicMs() },
  );
  requireOpen(connection);
  const parts = [config, connection, store, core, admission, logger, metrics, tracing] as const;
  const service = new ReplicaService(...parts, clocks, opened, links, health);
  service.start();
  return service;
}

/** What the services send each other must fit into a message of this NATS server. */
function requirePayload(connection: NatsConnection, bytes: number): void {
  const max = connection.info?.max_payload ?? 0;
  if (max >= bytes) return;
  throw new ConfigError(
    `wrong configuration: max_payload of the NATS server is ${max} bytes, and ${bytes} are needed: raise it, or lower CRAFT_PAYLOAD_BYTES_MAX`,
  );
}
