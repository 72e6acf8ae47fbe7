/**
 * The merger service: the feed of its own server's replica in, the merged log out. Wiring only; it
 * starts again from the stream's last message whenever it is in doubt.
 *
 *     feed ──▶ executor.ts (does what core.ts decides) ──▶ applier of the same process, at once
 *                                                    └───▶ stream.ts, behind
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { NatsConnection } from '@nats-io/nats-core';
import type { CommonConfig } from '../../shared/config/config.js';
import { type Opened, openAll } from '../../shared/config/opened.js';
import { OtherClusterError } from '../../shared/config/other-cluster.js';
import type { Service } from '../../shared/config/service.js';
import { messageOf, ServiceHealth, TROUBLE_MS } from '../../shared/health/health.js';
import { limitsTrouble, publishTrouble } from '../../shared/health/stream-limits.js';
import { type FeedSource, MergerReplacedError } from '../../shared/link/feed.js';
import type { Links } from '../../shared/link/links.js';
import type { MergedRun, MergePosition } from '../../shared/merge/merge.js';
import type { LogIndex } from '../../shared/raft/entry.js';
import { createLogger, type Logger, warnOccasionally } from '../../shared/telemetry/log.js';
import { BATCH_SIZES, type Metrics, SECONDS } from '../../shared/telemetry/metrics.js';
import { watchNats } from '../../shared/telemetry/nats-watch.js';
import { openTelemetry } from '../../shared/telemetry/open.js';
import { observeQueues } from '../../shared/telemetry/queues.js';
import { spanTimeUs } from '../../shared/telemetry/time.js';
import type { Tracing } from '../../shared/telemetry/tracing.js';
import { closedForGood, connectNats, NO_NATS, onCarriedBytes, requireOpen } from '../../shared/wire/connection.js';
import { requestInstall } from '../../shared/wire/install.js';
import { encodeMergedBatch } from '../../shared/wire/merged-batch.js';
import { listService } from '../../shared/wire/micro.js';
import { ReplyGuard } from '../../shared/wire/reply-guard.js';
import { Subjects } from '../../shared/wire/subjects.js';
import { MERGER_DEFAULTS, MergerCore, type MergerLimits } from './core.js';
import { Executor } from './executor.js';
import { natsFeed } from './nats-feed.js';
import { MergedLogStream, StreamFencedError, StreamLostError } from './stream.js';
import { MergerTracing } from './tracing.js';

const PUBLISH_MS_MAX = 5_000;
/** How long a stop waits until everything that was emitted is in the stream (milliseconds). */
const FLUSH_MS_MAX = 2_000;
/** How long a stop waits for the merge to end, whose connection is closed (milliseconds). */
const END_MS_MAX = 5_000;
/** Between two looks at what the stream is limited by (milliseconds). */
const LIMITS_MS = 2_000;
/** Before the merger starts again from the stream (milliseconds). */
const RETRY_MS = 100;
/** The same while JetStream does not give the stream: doubles up to this. */
const RETRY_MS_MAX = 2_000;

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

class MergerService implements Service {
  readonly name = 'merger';
  private readonly life: number;
  readonly failed: Promise<Error>;
  private fail: (error: Error) => void = () => undefined;
  private executor: Executor | null = null;
  private isStopping = false;
  /** The stream is to be emptied before the next core begins. */
  private mustBeginAgain = false;
  private readonly feed: FeedSource;
  private readonly limits: MergerLimits;
  private running: Promise<void> = Promise.resolve();
  private readonly warn;
  private readonly batchSizes;
  /** What one message of NATS carries (bytes of entries). */
  private carriedBytes = Number.POSITIVE_INFINITY;
  private readonly fenced;
  private readonly published;
  private readonly publishErrors;
  private limitsWatch: NodeJS.Timeout | undefined;
  /** The wait for where the state machine is. */
  private locating: { readonly sinceMs: number; why: string } | undefined;

  constructor(
    private readonly config: CommonConfig,
    private readonly links: Links,
    private readonly subjects: Subjects,
    private readonly connection: NatsConnection,
    private readonly stream: MergedLogStream,
    private readonly logger: Logger,
    private readonly metrics: Metrics,
    private readonly tracing: Tracing,
    /** What the start has opened: all of the above among it. */
    private readonly opened: Opened,
    private readonly health: ServiceHealth<'merger'>,
  ) {
    this.life = health.life;
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
    this.published = metrics.histogram(
      'publish_seconds',
      'Time until JetStream has one message of the merged log',
      SECONDS,
    );
    this.publishErrors = metrics.counter('publish_errors_total', 'Messages that the merged-log stream did not take');
    this.fenced = metrics.counter('merger_restarts_total', 'Times that the merger started again from the stream');
  }

  /** Whatever is on when this throws ends when `opened` is closed. */
  start(): void {
    const { config, connection, subjects, health, metrics } = this;
    const { server, cluster } = config;
    this.opened.own('the merge', () => this.halt(), { msMax: END_MS_MAX });
    this.observe();
    connection.subscribe(subjects.restartLog(server), {
      callback: (error) => {
        if (error !== null) return;
        this.mustBeginAgain = true;
        this.executor?.end(new StreamLostError('the applier needs what is before the beginning of the stream'));
      },
    });
    const description = 'Merges the logs of all groups into one';
    // The replica and the applier count and tell what is refused: the same requests reach them.
    const replies = new ReplyGuard(subjects, config.natsInboxPrefix, () => undefined);
    listService(connection, { name: 'craft-merger', description, server, cluster, endpoints: [] }, replies);
    void watchNats(connection, this.warn, health, metrics);
    this.watch();
    this.limitsWatch = setInterval(() => void this.lookAtLimits(), LIMITS_MS);
    this.limitsWatch.unref();
    onCarriedBytes(connection, (bytes) => {
      this.carriedBytes = bytes;
      this.executor?.core.carry(bytes);
    });
    void closedForGood(connection).then((error) => {
      if (!this.isStopping) this.fail(error);
    });
    this.running = this.run().catch((error: unknown) => {
      this.fail(error instanceof Error ? error : new Error(String(error)));
    });
  }

  async stop(): Promise<void> {
    this.isStopping = true;
    const { executor, connection, opened } = this;
    // Readers of the stream get everything now, and not only after the next start.
    if (executor !== null && !connection.isClosed()) {
      await opened.finish('storing the end of the merged log', FLUSH_MS_MAX, () => executor.flush());
    }
    await opened.close().finally(() => this.health.end(this.life));
  }

  /** Ends what it does by itself. What it waits for on the connection ends with that. */
  private async halt(): Promise<void> {
    // A start that fails half-way ends here, too: nothing that closes now is a failure.
    this.isStopping = true;
    clearInterval(this.limitsWatch);
    this.executor?.end(new Error('the merger stops'));
    await this.connection.close();
    await this.running;
  }

  /** Undefined between two cores: nothing waits then, and what waited is fetched again. */
  private get liveCore(): MergerCore | undefined {
    const { executor } = this;
    return executor === null || executor.hasEnded ? undefined : executor.core;
  }

  /** What may hang. */
  private watch(): void {
    const { health } = this;
    health.watchPosition(() => this.executor?.core.position().mergedIndex ?? 0);
    health.watch('position', () => {
      const { locating } = this;
      if (locating === undefined) return undefined;
      // The merge waits for the answer, which may take long.
      health.turned('the merge');
      const forMs = performance.now() - locating.sinceMs;
      if (forMs < TROUBLE_MS) return undefined;
      return { why: `the logs begin after the end of the stream, and ${locating.why}`, forMs };
    });
    health.watch('group', () => {
      const by = this.liveCore?.heldBy();
      const forMs = by === undefined ? 0 : performance.now() - by.sinceMs;
      if (by === undefined || forMs < TROUBLE_MS) return undefined;
      return { why: `the merged log waits for group ${by.group}, of which nothing is heard`, forMs };
    });
  }

  private observe(): void {
    const { metrics, config } = this;
    metrics.gauge('merged_index', 'Merged index of the last entry merged', () => {
      return this.executor?.core.position().mergedIndex ?? 0;
    });
    metrics.gaugeBy(
      'merge_held_seconds',
      'How long the merge has waited for the group; 0 while it does not',
      'group',
      () => {
        const by = this.liveCore?.heldBy();
        const seconds = by === undefined ? 0 : (performance.now() - by.sinceMs) / 1_000;
        return Array.from(
          { length: config.groups },
          (_, group) => [[`${group}`], by?.group === group ? seconds : 0] as const,
        );
      },
    );
    observeQueues(metrics, () => {
      const core = this.liveCore;
      if (core === undefined) return [];
      const waiting = core.waitingBytes().map((bytes, group) => ({ queue: 'merge', group, bytes }));
      return [...waiting, { queue: 'unstored', bytes: core.unstoredFill }];
    });
  }

  /** A stream that is gone is noticed by what is published, or by an idle poll. */
  private async lookAtLimits(): Promise<void> {
    const { health, stream, config, subjects } = this;
    try {
      const limits = await stream.limits();
      if (!this.isStopping) health.report('limits', limitsTrouble(subjects.logStream(config.server), limits ?? []));
    } catch (error) {
      // What keeps the stream from being read is told by those that need it.
      if (!this.isStopping) this.warn('the limits of the merged-log stream cannot be read', error);
    }
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
        this.warn('the merged-log stream cannot be opened; nothing is merged until it can', error);
        this.health.report('stream', error);
        this.health.turned('the merge');
        await pause(waitMs);
        waitMs = Math.min(2 * waitMs, RETRY_MS_MAX);
        continue;
      }
      if (this.isStopping) return;
      this.health.report('stream', undefined);
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

  /**
   * A message that is still on its way would lie in the emptied stream, with what is before it
   * missing again.
   */
  private async empty(): Promise<void> {
    await this.executor?.settled();
    await this.stream.empty();
    this.mustBeginAgain = false;
  }

  /** Merges from here on. Rejects with the reason when that cannot go on. */
  private merge(position: MergePosition): Promise<never> {
    const { feed, stream, links, warn } = this;
    this.locating = undefined;
    this.logger.info({ mergedIndex: position.mergedIndex }, 'merging');
    links.mergedLog?.begin(position.mergedIndex);
    const core = new MergerCore(position, this.limits);
    core.carry(this.carriedBytes);
    const spans = this.tracing.enabled ? new MergerTracing(this.tracing, spanTimeUs) : undefined;
    this.executor = new Executor(core, {
      feed,
      ...(spans === undefined ? {} : { fed: (groups) => spans.fed(groups) }),
      emit: (run) => this.emit(run, spans),
      store: (run) => this.store(run),
      requireWhole: async () => {
        await stream.requireWhole();
        // Only looked at when the stream has everything: what failed before has arrived after all.
        this.health.report('publish', undefined);
      },
      locate: (atLeast) => this.locate(atLeast),
      warn,
      onFeed: (trouble) => this.health.report('feed', trouble),
      onStep: () => this.health.turned('the merge'),
    });
    this.executor.start();
    return this.executor.ended;
  }

  private async store(run: MergedRun): Promise<void> {
    const { stream, health, subjects, config } = this;
    const startMs = performance.now();
    try {
      await stream.publish(encodeMergedBatch(run), PUBLISH_MS_MAX);
      this.published.observe((performance.now() - startMs) / 1_000);
      health.report('publish', undefined);
    } catch (error) {
      if (!this.isStopping) this.publishErrors.add();
      // One that another message has overtaken begins again at once.
      if (error instanceof Error && !(error instanceof StreamFencedError) && !this.isStopping)
        health.report('publish', publishTrouble(subjects.logStream(config.server), error));
      throw error;
    }
  }

  private emit(run: MergedRun, spans: MergerTracing | undefined): void {
    // Before the applier has it.
    spans?.emitted(run);
    this.links.mergedLog?.push(run);
    this.batchSizes.observe(run.entries.length);
  }

  /**
   * The log is gone where the stream ends (the stream was lost, or this server was away for long):
   * goes on from the state machine (T10).
   */
  private async locate(atLeast: readonly LogIndex[]): Promise<MergePosition | null> {
    this.locating ??= { sinceMs: performance.now(), why: 'its applier has no state yet that reaches them' };
    try {
      const state = await requestInstall(this.connection, this.subjects.install(this.config.server), atLeast);
      const { mergedIndex, checksum, positions } = state;
      this.logger.info({ mergedIndex }, 'the merged log goes on from the position of the state machine');
      this.locating = undefined;
      return { mergedIndex, checksum, positions: positions.map(({ index }) => index) };
    } catch (error) {
      if (this.isStopping) throw error;
      this.warn('the position of the state machine is not known yet', error);
      if (this.locating !== undefined) this.locating.why = messageOf(error);
      return null;
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
