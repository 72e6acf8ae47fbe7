/** Starting a merger: what is opened, and in which order. */
import type { CommonConfig } from '../../shared/config/config.js';
import { type Opened, openAll } from '../../shared/config/opened.js';
import type { Service } from '../../shared/config/service.js';
import { ServiceHealth } from '../../shared/health/health.js';
import type { Links } from '../../shared/link/links.js';
import { createLogger, warnOccasionally } from '../../shared/telemetry/log.js';
import { openTelemetry } from '../../shared/telemetry/open.js';
import { connectNats, NO_NATS, requireOpen } from '../../shared/wire/connection.js';
import { Subjects } from '../../shared/wire/subjects.js';
import { MergerService } from './service.js';
import { MergedLogStream } from './stream.js';

/**
 * Starts the merger of `config.server`; its stream is opened as soon as JetStream gives it.
 * `links`: what it shares with the other services of its process. Rejects, with everything closed
 * again, when NATS refuses the connection, the metrics' port cannot be had, or `signal` aborts.
 */
export function startMerger(config: CommonConfig, links: Links = {}, signal?: AbortSignal): Promise<Service> {
  const { server, cluster, groups, natsStreamTags: tags = [] } = config;
  const logger = createLogger({ service: 'merger', server, level: config.logLevel });
  const subjects = new Subjects(cluster);
  const warn = warnOccasionally(logger);
  const health = links.health?.of('merger') ?? new ServiceHealth('merger');
  health.reset();
  const start = async (opened: Opened): Promise<Service> => {
    const { metrics, tracing } = await openTelemetry('merger', config, warn, opened);
    const connecting = connectNats(config, `craft-merger-${server}`, {
      signal,
      onTrouble: (why) => {
        warn(NO_NATS, why);
        health.report('nats', { why });
      },
    });
    const connection = await opened.open('the connection to NATS', connecting, (one) => one.close());
    const [name, subject] = [subjects.logStream(server), subjects.logSubject(server)];
    const stream = await opened.step(MergedLogStream.open(connection, { name, subject, groups, tags, warn }));
    requireOpen(connection);
    const parts = [config, links, subjects, connection, stream, logger, metrics, tracing] as const;
    const service = new MergerService(...parts, opened, health);
    service.start();
    return service;
  };
  return openAll(start, { signal, onUnfinished: (text, error) => logger.error({ err: error }, text) });
}
