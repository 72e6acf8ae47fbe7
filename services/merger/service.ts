/**
 * The merger service: the feed of its own server's replica in, the merged-log stream out. All decisions are in core.ts; this
 * file does them, and starts again from the stream's last message whenever it is in doubt.
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { type Msg, type NatsConnection, TimeoutError } from '@nats-io/nats-core';
import type { CommonConfig } from '../../shared/config/config.js';
import { openAll } from '../../shared/config/opened.js';
import type { Service } from '../../shared/config/service.js';
import type { MergedRun, MergePosition } from '../../shared/merge/merge.js';
import { EntryKind } from '../../shared/raft/entry.js';
import { createLogger, type Logger, warnOccasionally } from '../../shared/telemetry/log.js';
import { BATCH_SIZES, type Metrics, openMetrics } from '../../shared/telemetry/metrics.js';
import { watchNats } from '../../shared/telemetry/nats-watch.js';
import { spanTimeUs } from '../../shared/telemetry/time.js';
import { createTracing, type Tracing } from '../../shared/telemetry/tracing.js';
import { traceparentOf } from '../../shared/wire/command.js';
import { connectNats, requireOpen } from '../../shared/wire/connection.js';
import { entryBody } from '../../shared/wire/entry-block.js';
import { decodeFeedReply, encodeFeedRequest, MERGER_HEADER, mergerHeader } from '../../shared/wire/feed.js';
import { requestInstall } from '../../shared/wire/install.js';
import { encodeMergedBatch } from '../../shared/wire/merged-batch.js';
import { Subjects } from '../../shared/wire/subjects.js';
import { type FetchEffect, type LocateEffect, MergerCore } from './core.js';
import { MergedLogStream, StreamLostError } from './stream.js';

/** How long one poll of the feed may wait for something to merge (milliseconds). */
const POLL_MS = 5_000;
const PUBLISH_MS_MAX = 5_000;
/** Between two tries when the replica or the stream is not there (milliseconds). */
const RETRY_MS = 100;
/** The same while JetStream does not give the stream: doubles up to this. */
const RETRY_MS_MAX = 2_000;

/** Another merger of this server has started after this one. */
export class MergerReplacedError extends Error {
  readonly code = 'MERGER_REPLACED';
  constructor(server: string, own: string, newer: string) {
    super(`another merger of server ${server} has started (${newer}) after this one (${own}): only one may run`);
    this.name = 'MergerReplacedError';
  }
}

/**
 * Starts the merger of `config.server`; its stream is opened as soon as JetStream gives it. Rejects, with everything closed again, when NATS
 * refuses the connection, the metrics' port cannot be had, or `signal` aborts.
 */
export function startMerger(config: CommonConfig, signal?: AbortSignal): Promise<Service> {
  const { server, cluster, groups } = config;
  const logger = createLogger({ service: 'merger', server, level: config.logLevel });
  const subjects = new Subjects(cluster);
  const warn = warnOccasionally(logger);
  return openAll(async (opened) => {
    const connecting = connectNats(config, `craft-merger-${server}`, signal);
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
    return new MergerService(config, subjects, connection, stream, logger, metrics, tracing);
  }, signal);
}

class MergerService implements Service {
  readonly name = 'merger';
  readonly failed: Promise<Error>;
  private fail: (error: Error) => void = () => undefined;
  private core: MergerCore | null = null;
  private isStopping = false;
  /** Ends the life of the core; and whether the stream is emptied before the next one. */
  private end: (error: Error) => void = () => undefined;
  private mustBeginAgain = false;
  /** What is on its way to the stream. */
  private publishing: Promise<unknown> = Promise.resolve();
  /** How the replica tells mergers of this server apart, and people find them. */
  private readonly id = `process ${process.pid} on ${hostname()}, ${randomBytes(4).toString('hex')}`;
  private readonly running: Promise<void>;
  private readonly warn;
  private readonly batchSizes;
  private readonly fenced;

  constructor(
    private readonly config: CommonConfig,
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
    this.batchSizes = metrics.histogram(
      'merged_batch_entries',
      'Entries in one message of the merged log',
      BATCH_SIZES,
    );
    this.fenced = metrics.counter('merger_restarts_total', 'Times that the merger started again from the stream');
    metrics.gauge('merged_index', 'Merged index of the last entry published', () => {
      return this.core?.position().mergedIndex ?? 0;
    });
    connection.subscribe(subjects.restartLog(config.server), {
      callback: (error) => {
        if (error !== null) return;
        this.mustBeginAgain = true;
        this.end(new StreamLostError('the applier needs what is before the beginning of the stream'));
      },
    });
    void watchNats(connection, this.warn);
    void connection.closed().then((error) => {
      if (!this.isStopping) this.fail(new Error('the NATS connection is closed for good', { cause: error }));
    });
    this.running = this.run().catch((error: unknown) => {
      this.fail(error instanceof Error ? error : new Error(String(error)));
    });
  }

  async stop(): Promise<void> {
    this.isStopping = true;
    await this.connection.close();
    await this.running;
    await this.tracing.stop();
    await this.metrics.close();
  }

  /** One life of the core after the other: each begins where the stream ends. */
  private async run(): Promise<void> {
    for (let waitMs = RETRY_MS; !this.isStopping; ) {
      let position: MergePosition;
      try {
        if (this.mustBeginAgain) await this.empty();
        position = await this.stream.position();
      } catch (error) {
        if (this.isStopping) return;
        this.warn('JetStream does not give the merged-log stream; nothing is merged until it does', error);
        await pause(waitMs);
        waitMs = Math.min(2 * waitMs, RETRY_MS_MAX);
        continue;
      }
      waitMs = RETRY_MS;
      try {
        this.logger.info({ mergedIndex: position.mergedIndex }, 'merging');
        await this.live(new MergerCore(position));
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
    await this.publishing.catch(() => undefined);
    await this.stream.empty();
    this.mustBeginAgain = false;
  }

  /** Runs a core until something fails; rejects with the reason. */
  private live(core: MergerCore): Promise<void> {
    this.core = core;
    return new Promise((_, reject) => {
      let isOver = false;
      const end = (error: unknown) => {
        isOver = true;
        reject(error instanceof Error ? error : new Error(String(error)));
      };
      this.end = end;
      const step = () => {
        if (isOver) return;
        try {
          for (const effect of core.next()) {
            if (effect.type === 'publish') this.publish(core, effect.run).then(step, end);
            else if (effect.type === 'locate') this.locate(core, effect).then(step, end);
            else this.fetch(core, effect).then(step, end);
          }
        } catch (error) {
          end(error);
        }
      };
      step();
    });
  }

  private async publish(core: MergerCore, run: MergedRun): Promise<void> {
    const startUs = spanTimeUs();
    const publishing = this.stream.publish(encodeMergedBatch(run), PUBLISH_MS_MAX);
    this.publishing = publishing;
    await publishing;
    this.batchSizes.observe(run.entries.length);
    core.published();
    if (this.tracing.enabled) this.trace(run, startUs);
  }

  private async fetch(core: MergerCore, effect: FetchEffect): Promise<void> {
    const subject = this.subjects.feed(this.config.server);
    let reply: Msg;
    try {
      const options = { timeout: POLL_MS, headers: mergerHeader(this.id) };
      reply = await this.connection.request(subject, encodeFeedRequest(effect), options);
    } catch (error) {
      if (this.isStopping) throw error;
      // An idle cluster lets the poll run out, which is the time to see whether the stream is still the one that was written; a
      // replica that is away answers at once, in the negative.
      if (isTimeout(error)) await this.stream.requireWhole();
      else {
        this.warn('the replica does not answer', error);
        await pause(RETRY_MS);
      }
      core.fetchFailed();
      return;
    }
    const newer = reply.headers?.get(MERGER_HEADER);
    if (newer) throw new MergerReplacedError(this.config.server, this.id, newer);
    const { groups, bases } = decodeFeedReply(reply.data, this.config.groups);
    core.fed(groups, bases);
  }

  /** The log is gone where the stream ends (the stream was lost, or this server was away for long): goes on from the state machine (T10). */
  private async locate(core: MergerCore, { atLeast }: LocateEffect): Promise<void> {
    try {
      const state = await requestInstall(this.connection, this.subjects.install(this.config.server), atLeast);
      const { mergedIndex, checksum, positions } = state;
      this.logger.info({ mergedIndex }, 'the merged log goes on from where the state machine is');
      core.rebase({ mergedIndex, checksum, positions: positions.map(({ index }) => index) });
    } catch (error) {
      if (this.isStopping) throw error;
      this.warn('where the state machine is cannot be told yet', error);
      await pause(RETRY_MS);
      core.rebase(null);
    }
  }

  private trace(run: MergedRun, startUs: number): void {
    const endUs = spanTimeUs();
    for (const [i, entry] of run.entries.entries()) {
      const traceparent = entry.kind === EntryKind.command ? traceparentOf(entryBody(entry)) : '';
      if (traceparent === '') continue;
      const { index, term, timestamp } = entry;
      const mergedIndex = run.firstMergedIndex + i;
      const where = { group: run.groups[i] ?? 0, index, term, timestamp, mergedIndex };
      this.tracing.recordSpan('craft.merge', traceparent, startUs, endUs, where);
    }
  }
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && (error.name === 'TimeoutError' || error.cause instanceof TimeoutError);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
