/**
 * The merger service: the feed of its own server's replica in, the merged log out. Wiring only; it starts again from the
 * stream's last message whenever it is in doubt.
 *
 *     feed ──▶ executor.ts (does what core.ts decides) ──▶ applier of the same process, at once
 *                                                    └───▶ stream.ts, behind
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { NatsConnection } from '@nats-io/nats-core';
import type { CommonConfig } from '../../shared/config/config.js';
import { openAll } from '../../shared/config/opened.js';
import { OtherClusterError } from '../../shared/config/other-cluster.js';
import type { Service } from '../../shared/config/service.js';
import { type FeedSource, MergerReplacedError } from '../../shared/link/feed.js';
import type { Links } from '../../shared/link/links.js';
import type { MergedRun, MergePosition } from '../../shared/merge/merge.js';
import type { Index } from '../../shared/raft/entry.js';
import { createLogger, type Logger, warnOccasionally } from '../../shared/telemetry/log.js';
import { BATCH_SIZES, type Metrics, openMetrics } from '../../shared/telemetry/metrics.js';
import { watchNats } from '../../shared/telemetry/nats-watch.js';
import { spanTimeUs } from '../../shared/telemetry/time.js';
import { createTracing, type Tracing } from '../../shared/telemetry/tracing.js';
import { connectNats, NO_NATS, onCarriedBytes, requireOpen } from '../../shared/wire/connection.js';
import { requestInstall } from '../../shared/wire/install.js';
import { encodeMergedBatch } from '../../shared/wire/merged-batch.js';
import { Subjects } from '../../shared/wire/subjects.js';
import { MERGER_DEFAULTS, MergerCore, type MergerLimits } from './core.js';
import { Executor } from './executor.js';
import { natsFeed } from './nats-feed.js';
import { MergedLogStream, StreamLostError } from './stream.js';
import { MergerTracing } from './tracing.js';

const PUBLISH_MS_MAX = 5_000;
/** How long a stop waits until everything that was emitted is in the stream (milliseconds). */
const FLUSH_MS_MAX = 2_000;
/** Before the merger starts again from the stream (milliseconds). */
const RETRY_MS = 100;
/** The same while JetStream does not give the stream: doubles up to this. */
const RETRY_MS_MAX = 2_000;

/**
 * Starts the merger of `config.server`; its stream is opened as soon as JetStream gives it. `links`: what it shares with the
 * other services of its process. Rejects, with everything closed again, when NATS refuses the connection, the metrics' port
 * cannot be had, or `signal` aborts.
 */
export function startMerger(config: CommonConfig, links: Links = {}, signal?: AbortSignal): Promise<Service> {
  const { server, cluster, groups } = config;
  const logger = createLogger({ service: 'merger', server, level: config.logLevel });
  const subjects = new Subjects(cluster);
  const warn = warnOccasionally(logger);
  return openAll(async (opened) => {
    const connecting = connectNats(config, `craft-merger-${server}`, {
      signal,
      onTrouble: (why) => warn(NO_NATS, why),
    });
    const connection = await opened.open(connecting, (one) => one.close());
    const [name, subject] = [subjects.logStream(server), subjects.logSubject(server)];
    const stream = await opened.step(MergedLogStream.open(connection, { name, subject, groups, warn }));
    const opening = openMetrics({ service: 'merger', server, port: config.metricsPort });
    const metrics = await opened.open(opening, (one) => one.close());
    const onExportError = (error: Error) => warn('span export failed', error);
    const tracing = await opened.open(createTracing({ service: 'merger', server, cluster, onExportError }), (one) =>
      one.stop(),
    );
    requireOpen(connection);
    return new MergerService(config, links, subjects, connection, stream, logger, metrics, tracing);
  }, signal);
}

class MergerService implements Service {
  readonly name = 'merger';
  readonly failed: Promise<Error>;
  private fail: (error: Error) => void = () => undefined;
  private executor: Executor | null = null;
  private isStopping = false;
  /** The stream is to be emptied before the next core begins. */
  private mustBeginAgain = false;
  private readonly feed: FeedSource;
  private readonly limits: MergerLimits;
  private readonly running: Promise<void>;
  private readonly warn;
  private readonly batchSizes;
  /** What one message of NATS carries (bytes of entries). */
  private carriedBytes = Number.POSITIVE_INFINITY;
  private readonly fenced;

  constructor(
    private readonly config: CommonConfig,
    private readonly links: Links,
    private readonly subjects: Subjects,
    private readonly connection: NatsConnection,
    private readonly stream: MergedLogStream,
    private readonly logger: Logger,
    private readonly metrics: Metrics,
    private readonly tracing: Tracing,
  ) {
    this.failed = new Promise((resolve) => {
      this.fail = resolve;
    });
    this.warn = warnOccasionally(logger);
    const { server, cluster, groups } = config;
    // How the replica tells mergers of this server apart, and operators find them.
    const merger = `process ${process.pid} on ${hostname()}, ${randomBytes(4).toString('hex')}`;
    this.feed = links.feed?.source(server, merger) ?? natsFeed(connection, { cluster, server, groups, merger });
    // An applier in another process waits for what goes to the stream.
    this.limits = links.mergedLog === undefined ? { ...MERGER_DEFAULTS, storeDelayMs: 0 } : MERGER_DEFAULTS;
    this.batchSizes = metrics.histogram('merged_batch_entries', 'Entries that are emitted at once', BATCH_SIZES);
    this.fenced = metrics.counter('merger_restarts_total', 'Times that the merger started again from the stream');
    metrics.gauge('merged_index', 'Merged index of the last entry merged', () => {
      return this.executor?.core.position().mergedIndex ?? 0;
    });
    connection.subscribe(subjects.restartLog(server), {
      callback: (error) => {
        if (error !== null) return;
        this.mustBeginAgain = true;
        this.executor?.end(new StreamLostError('the applier needs what is before the beginning of the stream'));
      },
    });
    void watchNats(connection, this.warn);
    onCarriedBytes(connection, (bytes) => {
      this.carriedBytes = bytes;
      this.executor?.core.carry(bytes);
    });
    void connection.closed().then((error) => {
      if (!this.isStopping) this.fail(new Error('the NATS connection is closed for good', { cause: error }));
    });
    this.running = this.run().catch((error: unknown) => {
      this.fail(error instanceof Error ? error : new Error(String(error)));
    });
  }

  async stop(): Promise<void> {
    this.isStopping = true;
    // Readers of the stream get everything now, and not only after the next start.
    if (this.executor !== null && !this.connection.isClosed()) await within(FLUSH_MS_MAX, this.executor.flush());
    this.executor?.end(new Error('the merger stops'));
    await this.connection.close();
    await this.running;
    await this.tracing.stop();
    await this.metrics.close();
  }

  /** One core after the other: each begins where the stream ends. */
  private async run(): Promise<void> {
    for (let waitMs = RETRY_MS; !this.isStopping; ) {
      let position: MergePosition;
      try {
        if (this.mustBeginAgain) await this.empty();
        position = await this.stream.position();
      } catch (error) {
        if (this.isStopping) return;
        if (error instanceof OtherClusterError) throw error;
        this.warn('JetStream does not give the merged-log stream; nothing is merged until it does', error);
        await pause(waitMs);
        waitMs = Math.min(2 * waitMs, RETRY_MS_MAX);
        continue;
      }
      if (this.isStopping) return;
      waitMs = RETRY_MS;
      try {
        await this.merge(position);
      } catch (error) {
        if (this.isStopping) return;
        if (error instanceof MergerReplacedError) throw error;
        this.warn('merger starts again from the stream', error);
        this.fenced.add();
        await pause(RETRY_MS);
      }
    }
  }

  /** A message that is still on its way would lie in the emptied stream, with what is before it missing again. */
  private async empty(): Promise<void> {
    await this.executor?.settled();
    await this.stream.empty();
    this.mustBeginAgain = false;
  }

  /** Merges from here on. Rejects with the reason when that cannot go on. */
  private merge(position: MergePosition): Promise<never> {
    const { feed, stream, links, warn } = this;
    this.logger.info({ mergedIndex: position.mergedIndex }, 'merging');
    links.mergedLog?.begin(position.mergedIndex);
    const core = new MergerCore(position, this.limits);
    core.carry(this.carriedBytes);
    const spans = this.tracing.enabled ? new MergerTracing(this.tracing, spanTimeUs) : undefined;
    this.executor = new Executor(core, {
      feed,
      ...(spans === undefined ? {} : { fed: (groups) => spans.fed(groups) }),
      emit: (run) => this.emit(run, spans),
      store: (run) => stream.publish(encodeMergedBatch(run), PUBLISH_MS_MAX),
      requireWhole: () => stream.requireWhole(),
      locate: (atLeast) => this.locate(atLeast),
      warn,
    });
    return this.executor.ended;
  }

  private emit(run: MergedRun, spans: MergerTracing | undefined): void {
    // Before the applier has it.
    spans?.emitted(run);
    this.links.mergedLog?.push(run);
    this.batchSizes.observe(run.entries.length);
  }

  /** The log is gone where the stream ends (the stream was lost, or this server was away for long): goes on from the state machine (T10). */
  private async locate(atLeast: readonly Index[]): Promise<MergePosition | null> {
    try {
      const state = await requestInstall(this.connection, this.subjects.install(this.config.server), atLeast);
      const { mergedIndex, checksum, positions } = state;
      this.logger.info({ mergedIndex }, 'the merged log goes on from where the state machine is');
      return { mergedIndex, checksum, positions: positions.map(({ index }) => index) };
    } catch (error) {
      if (this.isStopping) throw error;
      this.warn('where the state machine is cannot be told yet', error);
      return null;
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, tooLate]);
  clearTimeout(timer);
}
