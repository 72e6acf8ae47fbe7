/** Starting an applier: what is opened, in which order. */
import type { NatsConnection } from '@nats-io/nats-core';
import type { ApplierConfig } from '../../shared/config/config.js';
import type { Service } from '../../shared/config/service.js';
import type { MergedCommand, StorageEngine } from '../../shared/engine/port.js';
import { loadStateMachine } from '../../shared/engine/registry.js';
import { createLogger, type Logger, warnOccasionally } from '../../shared/telemetry/log.js';
import { openMetrics } from '../../shared/telemetry/metrics.js';
import { createTracing } from '../../shared/telemetry/tracing.js';
import { connectNats } from '../../shared/wire/connection.js';
import { PostgresEngine } from './postgres/engine.js';
import { ApplyQueue } from './queue.js';
import { ApplierService, type OnApplied } from './service.js';

/** Most bytes of entries in one transaction, and waiting for it. */
const BATCH_BYTES_MAX = 4 * 1024 * 1024;
const QUEUED_BYTES_MAX = 16 * 1024 * 1024;
/** Batches that may wait. */
const QUEUED_BATCHES_MAX = 8;

/** What the service takes from the environment unless it is given. */
export interface ApplierParts {
  readonly connection?: NatsConnection;
  readonly engine?: StorageEngine;
  readonly logger?: Logger;
  readonly onApplied?: OnApplied;
}

/** Starts the applier of `config.server`. Rejects when NATS, the state machine's module or the first opening of the database fails. */
export async function startApplier(config: ApplierConfig, parts: ApplierParts = {}): Promise<Service> {
  const { server, cluster } = config;
  const logger = parts.logger ?? createLogger({ service: 'applier', server, level: config.logLevel });
  const machine = await loadStateMachine(config.stateMachine);
  const { databaseUrl, resultWindowMs } = config;
  const onFailure = ({ name, mergedIndex, id }: MergedCommand, error: unknown) => {
    logger.error({ command: name, mergedIndex, id, err: error }, 'a command failed: its handler has a defect');
  };
  const engine = parts.engine ?? new PostgresEngine({ databaseUrl, server, resultWindowMs, machine, onFailure });
  const position = await engine.open();
  logger.info({ mergedIndex: position.mergedIndex }, 'applying');
  const connection = parts.connection ?? (await connectNats(config, `craft-applier-${server}`));
  const metrics = await openMetrics({ service: 'applier', server, port: config.metricsPort });
  const warn = warnOccasionally(logger);
  const tracing = createTracing({
    service: 'applier',
    server,
    cluster,
    onExportError: (error) => warn('span export failed', error),
  });
  const queue = new ApplyQueue(position, {
    batchCommandsMax: config.applyCommandsMax,
    batchBytesMax: BATCH_BYTES_MAX,
    queuedCommandsMax: config.applyCommandsMax * QUEUED_BATCHES_MAX,
    queuedBytesMax: QUEUED_BYTES_MAX,
  });
  return new ApplierService(config, connection, engine, queue, position, logger, metrics, tracing, parts.onApplied);
}
