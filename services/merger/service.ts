/**
 * The merger service: the feed of its own server's replica in, the merged log out. Wiring only.
 *
 *     feed ──▶ merging.ts (one core.ts after the other) ──▶ applier of the same process, at once
 *                                                      └───▶ storing.ts ──▶ stream.ts, behind
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { NatsConnection } from '@nats-io/nats-core';
import type { CommonConfig } from '../../shared/config/config.js';
import type { Opened } from '../../shared/config/opened.js';
import type { Service } from '../../shared/config/service.js';
import { toError } from '../../shared/errors.js';
import { type ServiceHealth, TROUBLE_MS } from '../../shared/health/health.js';
import type { Links } from '../../shared/link/links.js';
import { type Logger, warnOccasionally } from '../../shared/telemetry/log.js';
import type { Metrics } from '../../shared/telemetry/metrics.js';
import { watchNats } from '../../shared/telemetry/nats-watch.js';
import type { Tracing } from '../../shared/telemetry/tracing.js';
import { closedForGood, onCarriedBytes } from '../../shared/wire/connection.js';
import { listService } from '../../shared/wire/micro.js';
import { ReplyGuard } from '../../shared/wire/reply-guard.js';
import type { Subjects } from '../../shared/wire/subjects.js';
import { Locating } from './locating.js';
import { Merging } from './merging.js';
import { MergerMetrics } from './metrics.js';
import { natsFeed } from './nats-feed.js';
import { Storing } from './storing.js';
import type { MergedLogStream } from './stream.js';

/** How long a stop waits until everything that was emitted is in the stream (milliseconds). */
const FLUSH_MS_MAX = 2_000;
/** How long a stop waits for the merge to end, whose connection is closed (milliseconds). */
const END_MS_MAX = 5_000;

export class MergerService implements Service {
  readonly name = 'merger';
  private readonly life: number;
  readonly failed: Promise<Error>;
  private fail: (error: Error) => void = () => undefined;
  private readonly stopping = new AbortController();
  private readonly storing: Storing;
  private readonly locating: Locating;
  private readonly merging: Merging;
  private running: Promise<void> = Promise.resolve();
  private readonly warn;

  constructor(
    private readonly config: CommonConfig,
    links: Links,
    private readonly subjects: Subjects,
    private readonly connection: NatsConnection,
    stream: MergedLogStream,
    logger: Logger,
    private readonly metrics: Metrics,
    tracing: Tracing,
    /** What the start has opened: all of the above among it. */
    private readonly opened: Opened,
    private readonly health: ServiceHealth<'merger'>,
  ) {
    this.life = health.life;
    this.failed = new Promise((resolve) => {
      this.fail = resolve;
    });
    const warn = warnOccasionally(logger);
    this.warn = warn;
    const { server, cluster, groups } = config;
    const { signal } = this.stopping;
    // How the replica tells mergers of this server apart, and operators find them.
    const merger = `process ${process.pid} on ${hostname()}, ${randomBytes(4).toString('hex')}`;
    const feed = links.feed?.source(server, merger) ?? natsFeed(connection, { cluster, server, groups, merger });
    const mergedIndex = () => this.merging.mergedIndex;
    const counts = new MergerMetrics({ metrics, groups, mergedIndex, core: () => this.merging.core });
    const name = subjects.logStream(server);
    this.storing = new Storing({ stream, name, counts, health, warn, signal });
    const subject = subjects.locate(server);
    this.locating = new Locating({ connection, subject, health, logger, warn, signal });
    const { storing, locating } = this;
    const { mergedLog } = links;
    const parts = { feed, stream, storing, locating, mergedLog, counts, tracing, health, logger, warn, signal };
    this.merging = new Merging(parts);
  }

  /** Whatever is on when this throws ends when `opened` is closed. */
  start(): void {
    const { config, connection, subjects, health, metrics, merging } = this;
    const { server, cluster } = config;
    this.opened.own('the merge', () => this.halt(), { msMax: END_MS_MAX });
    connection.subscribe(subjects.restartLog(server), {
      callback: (error) => {
        if (error === null) merging.beginAgain();
      },
    });
    const description = 'Merges the logs of all groups into one';
    // The replica and the applier count and tell what is refused: the same requests reach them.
    const replies = new ReplyGuard(subjects, config.natsInboxPrefix, () => undefined);
    listService(connection, { name: 'craft-merger', description, server, cluster, endpoints: [] }, replies);
    void watchNats(connection, this.warn, health, metrics);
    this.watch();
    this.locating.start();
    this.storing.start();
    onCarriedBytes(connection, (bytes) => merging.carry(bytes));
    void closedForGood(connection).then((error) => {
      if (!this.stopping.signal.aborted) this.fail(error);
    });
    this.running = merging.run().catch((error: unknown) => {
      this.fail(toError(error));
    });
  }

  stop(): Promise<void> {
    return this.opened.stop(async () => {
      const { connection, opened, merging } = this;
      this.stopping.abort();
      // Readers of the stream get everything now, and not only after the next start.
      if (!connection.isClosed()) {
        await opened.finish('storing the end of the merged log', FLUSH_MS_MAX, () => merging.flush());
      }
      await opened.close().finally(() => this.health.end(this.life));
    });
  }

  /** Ends what it does by itself. What it waits for on the connection ends with that. */
  private async halt(): Promise<void> {
    // A start that fails half-way ends here, too: nothing that closes now is a failure.
    this.stopping.abort();
    this.merging.end();
    await this.connection.close();
    await this.running;
  }

  /** What may hang. */
  private watch(): void {
    const { health, merging } = this;
    health.watchPosition(() => merging.mergedIndex);
    health.watch('group', () => {
      const by = merging.core?.heldBy();
      const forMs = by === undefined ? 0 : performance.now() - by.sinceMs;
      if (by === undefined || forMs < TROUBLE_MS) return undefined;
      return { why: `the merged log waits for group ${by.group}, of which nothing is heard`, forMs };
    });
  }
}
