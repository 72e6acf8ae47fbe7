/**
 * The health of this process for others: `<c>.admin.health` and `<c>.admin.health.<server>` on
 * NATS, metrics, probes, and the log. It has a connection of its own, so that it answers while a
 * service cannot start, and also for services that have no answers of their own.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { NatsConnection } from '@nats-io/nats-core';
import type { CommonConfig } from '../shared/config/config.js';
import { within } from '../shared/config/deadline.js';
import { VERSION } from '../shared/config/version.js';
import type { ServiceName } from '../shared/health/conditions.js';
import type { ProcessHealth } from '../shared/health/health.js';
import type { Logger } from '../shared/telemetry/log.js';
import type { Metrics } from '../shared/telemetry/metrics.js';
import { connectNats } from '../shared/wire/connection.js';
import { ReplyGuard } from '../shared/wire/reply-guard.js';
import { Subjects } from '../shared/wire/subjects.js';

/** Between two looks at what may hang (milliseconds). */
const LOOK_MS = 1_000;
/** After NATS has refused the connection (milliseconds). */
const RETRY_MS = 5_000;
/** How long a stop waits for the connection to close (milliseconds). */
const STOP_MS_MAX = 1_000;

export interface HealthReportsOptions {
  readonly config: CommonConfig;
  readonly health: ProcessHealth;
  readonly logger: Logger;
}

export class HealthReports {
  private readonly stopping = new AbortController();
  private looking: NodeJS.Timeout | undefined;
  /** Resolves when no connection is open. */
  private answering: Promise<void> = Promise.resolve();
  /** Conditions that have been said in the log, and are not ok. */
  private readonly said = new Set<string>();

  constructor(private readonly options: HealthReportsOptions) {}

  start(): void {
    this.looking = setInterval(() => this.look(), LOOK_MS);
    this.looking.unref();
    this.answering = this.answer();
  }

  /** Gives the health of one service to its metrics and probes. */
  observe(service: ServiceName, metrics: Metrics): void {
    const health = this.options.health.of(service);
    metrics.gaugeBy('health', 'Conditions of the service: 1 while ok, else 0', 'condition', () => {
      health.look();
      return health.status().conditions.map(({ condition, ok }) => [[condition], ok ? 1 : 0] as const);
    });
    metrics.gauge('serves', 'Whether the service does its work: 1, else 0', () => {
      health.look();
      return health.serves ? 1 : 0;
    });
    metrics.probe('/healthz', () => health.stuck.map((loop) => `${service}: ${loop}`));
    metrics.probe('/readyz', () => {
      health.look();
      return health.hindrances.map(({ condition, why, remedy }) => `${service} ${condition}: ${why}; ${remedy}`);
    });
  }

  /** Resolves when the connection is closed, or after its deadline, which the log then tells. */
  async stop(): Promise<void> {
    clearInterval(this.looking);
    this.stopping.abort();
    await within(STOP_MS_MAX, this.answering).catch((error: unknown) => {
      this.options.logger.error({ err: error }, 'the connection for health did not close');
    });
  }

  private look(): void {
    const { health, logger } = this.options;
    health.look();
    for (const { service, conditions } of health.status()) {
      for (const { condition, ok, why, remedy } of conditions) {
        // The supervisor says that at once.
        if (condition === 'running') continue;
        const key = `${service} ${condition}`;
        if (!ok && !this.said.has(key)) logger.warn({ about: service, condition, why, remedy }, `${key}: ${why}`);
        if (ok && this.said.has(key)) logger.info({ about: service, condition }, `${key}: ok again`);
        if (ok) this.said.delete(key);
        else this.said.add(key);
      }
    }
  }

  /** For as long as the process lives, whatever becomes of the connection. */
  private async answer(): Promise<void> {
    const { config, logger } = this.options;
    const { signal } = this.stopping;
    while (!signal.aborted) {
      try {
        const connection = await connectNats(config, `craft-health-${config.server}`, { signal });
        const close = () => void connection.close().catch(() => undefined);
        signal.addEventListener('abort', close);
        try {
          if (signal.aborted) close();
          else this.serve(connection);
          await connection.closed();
        } finally {
          signal.removeEventListener('abort', close);
          close();
        }
      } catch (error) {
        if (!signal.aborted) logger.warn({ err: error }, 'NATS refuses the connection for health; trying again');
      }
      await delay(RETRY_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  private serve(connection: NatsConnection): void {
    const { config, health } = this.options;
    const { cluster, server } = config;
    const subjects = new Subjects(cluster);
    // The services count and tell what is refused: the same requests reach them.
    const replies = new ReplyGuard(subjects, config.natsInboxPrefix, () => undefined);
    for (const subject of [subjects.admin('health'), subjects.admin('health', server)]) {
      connection.subscribe(subject, {
        callback: (error, message) => {
          if (error !== null || !message.reply || !replies.allowsClient(message.reply)) return;
          health.look();
          message.respond(JSON.stringify({ server, cluster, version: VERSION, services: health.status() }));
        },
      });
    }
  }
}
