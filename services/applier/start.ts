/** Starting an applier: what is opened, in which order. */
import type { NatsConnection } from '@nats-io/nats-core';
import { type ApplierConfig, ConfigError } from '../../shared/config/config.js';
import { type Opened, openAll } from '../../shared/config/opened.js';
import type { Service } from '../../shared/config/service.js';
import { loadStateMachine } from '../../shared/engine/loading.js';
import type { MergedCommand, StorageEngine } from '../../shared/engine/port.js';
import { ServiceHealth } from '../../shared/health/health.js';
import type { Links } from '../../shared/link/links.js';
import { createLogger, type Logger, warnOccasionally } from '../../shared/telemetry/log.js';
import { openTelemetry } from '../../shared/telemetry/open.js';
import { connectNats, drainAndClose, NO_NATS, requireOpen } from '../../shared/wire/connection.js';
import { ApplierCore } from './core/applier.js';
import type { OnApplied } from './effects.js';
import { explainOpening } from './opening.js';
import { PostgresEngine } from './postgres/engine.js';
import { ApplierService } from './service.js';

/** Most bytes of entries in one transaction, and waiting for it. */
const BATCH_BYTES_MAX = 4 * 1024 * 1024;
const QUEUED_BYTES_MAX = 16 * 1024 * 1024;
/** Batches that may wait. */
const QUEUED_BATCHES_MAX = 8;

/** How long the sessions of the database may take to end (milliseconds). */
const DATABASE_MS_MAX = 5_000;

/** The oldest nats-server that will do: major, minor. */
const NATS_VERSION = [2, 11] as const;

/** What the service takes from the environment unless it is given. What is given, it closes. */
export interface ApplierParts {
  readonly connection?: NatsConnection;
  readonly engine?: StorageEngine;
  readonly logger?: Logger;
  readonly onApplied?: OnApplied;
  /** With the other services of this process. */
  readonly links?: Links;
}

/**
 * Starts the applier of `config.server`. Rejects, with everything closed again, when NATS refuses
 * the connection, when the state machine's module or the first opening of the database fails
 * (DatabaseError, MigrationError), or when `signal` aborts.
 */
export async function startApplier(
  config: ApplierConfig,
  parts: ApplierParts = {},
  signal?: AbortSignal,
): Promise<Service> {
  const { server } = config;
  const logger = parts.logger ?? createLogger({ service: 'applier', server, level: config.logLevel });
  return openAll((opened) => openApplier(config, parts, logger, opened), {
    signal,
    onUnfinished: (text, error) => logger.error({ err: error }, text),
  });
}

function ownEngine(engine: StorageEngine, opened: Opened): void {
  opened.own('the database', () => engine.close(), { msMax: DATABASE_MS_MAX });
}

async function openApplier(
  config: ApplierConfig,
  parts: ApplierParts,
  logger: Logger,
  opened: Opened,
): Promise<Service> {
  const { server, cluster, databaseUrl, resultWindowMs } = config;
  const warn = warnOccasionally(logger);
  const health = parts.links?.health?.of('applier') ?? new ServiceHealth('applier');
  health.reset();
  // What is given is closed however far the start comes.
  const connected = parts.connection && (await opened.open('the connection to NATS', parts.connection, drainAndClose));
  if (parts.engine !== undefined) ownEngine(parts.engine, opened);
  const loaded = await loadStateMachine(config.stateMachine);
  const machine = loaded.newest.contract;
  const earlier = loaded.versions.map(({ contract }) => contract).filter((one) => one !== machine);
  const onFailure = ({ name, mergedIndex, id }: MergedCommand, error: unknown) => {
    logger.error({ command: name, mergedIndex, id, err: error }, 'a command failed: its handler has a defect');
  };
  const { metrics, tracing } = await openTelemetry('applier', config, warn, opened);
  const engine: StorageEngine =
    parts.engine ?? new PostgresEngine({ databaseUrl, server, cluster, resultWindowMs, machine, earlier, onFailure });
  if (parts.engine === undefined) ownEngine(engine, opened);
  const position = await opened.step(engine.open()).catch((error: unknown) => {
    throw explainOpening(error, server, machine);
  });
  const { fingerprint } = loaded.newest;
  logger.info({ mergedIndex: position.mergedIndex, machine: engine.machine, fingerprint }, 'applying');
  const { signal } = opened;
  const connecting = () =>
    connectNats(config, `craft-applier-${server}`, {
      signal,
      onTrouble: (why) => {
        warn(NO_NATS, why);
        health.report('nats', { why });
      },
    });
  const connection = connected ?? (await opened.open('the connection to NATS', connecting(), drainAndClose));
  const { groups, applyCommandsMax, snapshots } = config;
  const core = new ApplierCore(
    {
      server,
      servers: config.join ? [] : config.servers,
      groups,
      machine: { name: loaded.name, versions: loaded.versions.map(({ version }) => version) },
      queue: {
        batchCommandsMax: applyCommandsMax,
        batchBytesMax: BATCH_BYTES_MAX,
        queuedCommandsMax: applyCommandsMax * QUEUED_BATCHES_MAX,
        queuedBytesMax: QUEUED_BYTES_MAX,
      },
      snapshots,
      verifyEveryMs: config.verifyEveryMs,
      random: Math.random,
    },
    { position, divergence: engine.divergence },
    performance.now(),
  );
  requireOpen(connection);
  requireVersion(connection);
  const { onApplied, links } = parts;
  const given = [config, connection, engine, loaded, core, position, logger, metrics, tracing] as const;
  const service = new ApplierService(...given, opened, onApplied, links ?? {}, health);
  service.start();
  return service;
}

/**
 * Older ones cannot read several messages of a stream at once without a consumer. @throws
 * ConfigError
 */
function requireVersion(connection: NatsConnection): void {
  const version = connection.info?.version ?? '';
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > NATS_VERSION[0] || (major === NATS_VERSION[0] && minor >= NATS_VERSION[1])) return;
  throw new ConfigError(`the NATS server has version ${version}; craft needs ${NATS_VERSION.join('.')} or later`);
}
