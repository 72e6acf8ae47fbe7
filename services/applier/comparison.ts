/** Compares this server's checkpoints with the others' over NATS (T4): `<c>.checkpoint`. What a comparison comes to is decided in checkpoints.ts. */
import { ConnectionError, type NatsConnection } from '@nats-io/nats-core';
import type { Index, ServerId } from '../../shared/raft/entry.js';
import type { Logger, WarnOccasionally } from '../../shared/telemetry/log.js';
import type { Metrics } from '../../shared/telemetry/metrics.js';
import { parseJson } from '../../shared/wire/json.js';
import type { Subjects } from '../../shared/wire/subjects.js';
import { type CheckpointMessage, Checkpoints, checkpointMessage, type Verdict } from './checkpoints.js';

/** Servers that applied the same log differ (T4). */
export class DivergenceError extends Error {
  readonly code = 'DIVERGENCE';
  constructor(message: string) {
    super(message);
    this.name = 'DivergenceError';
  }
}

export interface ComparisonOptions {
  readonly connection: NatsConnection;
  readonly subjects: Subjects;
  readonly server: ServerId;
  readonly servers: readonly ServerId[];
  readonly logger: Logger;
  readonly warn: WarnOccasionally;
  readonly metrics: Metrics;
  /** This server is not to go on. */
  readonly onDivergence: (error: DivergenceError) => void;
}

export class Comparison {
  private readonly checkpoints: Checkpoints;
  private readonly malformed;

  constructor(private readonly options: ComparisonOptions) {
    const { connection, subjects, server, servers, metrics, warn } = options;
    this.checkpoints = new Checkpoints(server, servers);
    this.malformed = metrics.counter('malformed_checkpoints_total', 'Messages on the checkpoint subject that are none');
    connection.subscribe(subjects.checkpoint(), {
      callback: (error, message) => {
        if (error === null) this.hear(message.data);
        else warn('checkpoints cannot be received', error);
      },
    });
  }

  /** The members of the cluster have changed (T11). */
  setServers(servers: readonly ServerId[]): void {
    this.checkpoints.setServers(servers);
  }

  /** This server has reached a checkpoint. */
  reached(mergedIndex: Index, checksum: string, resultsChecksum: string): void {
    const { connection, subjects, server, warn } = this.options;
    const own: CheckpointMessage = { server, merged_index: mergedIndex, checksum, results_checksum: resultsChecksum };
    this.heed(this.checkpoints.reached(own));
    try {
      connection.publish(subjects.checkpoint(), JSON.stringify(own));
    } catch (error) {
      // On its way out: there is nobody to tell.
      if (!(error instanceof ConnectionError)) warn('a checkpoint could not be published', error);
    }
  }

  private hear(data: Uint8Array): void {
    let message: CheckpointMessage;
    try {
      message = parseJson(data, checkpointMessage);
    } catch {
      this.malformed.add();
      return;
    }
    this.heed(this.checkpoints.heard(message));
  }

  private heed(verdict: Verdict): void {
    const { logger, onDivergence } = this.options;
    if (verdict.type === 'differs') logger.error(verdict.message);
    else if (verdict.type === 'stop') onDivergence(new DivergenceError(verdict.message));
  }
}
