/**
 * Runs one merger core after the other. Each begins where the stream ends. When it cannot go on,
 * the next one begins.
 */
import { OtherClusterError } from '../../shared/config/other-cluster.js';
import type { ServiceHealth } from '../../shared/health/health.js';
import { type FeedSource, MergerReplacedError } from '../../shared/link/feed.js';
import type { Links } from '../../shared/link/links.js';
import type { MergedRun, MergePosition } from '../../shared/merge/merge.js';
import { type MergedIndex, NOTHING_MERGED } from '../../shared/raft/entry.js';
import type { Logger, WarnOccasionally } from '../../shared/telemetry/log.js';
import { spanTimeUs } from '../../shared/telemetry/time.js';
import type { Tracing } from '../../shared/telemetry/tracing.js';
import { MERGER_DEFAULTS, MergerCore } from './core.js';
import { Executor } from './executor.js';
import type { Locating } from './locating.js';
import type { MergerMetrics } from './metrics.js';
import type { Storing } from './storing.js';
import { type MergedLogStream, StreamLostError } from './stream.js';
import { MergerTracing } from './tracing.js';

/** Before the merger starts again from the stream (milliseconds). */
const RETRY_MS = 100;
/** The same while JetStream does not give the stream: doubles up to this. */
const RETRY_MS_MAX = 2_000;

export interface MergingOptions {
  readonly feed: FeedSource;
  readonly stream: Pick<MergedLogStream, 'position' | 'empty'>;
  readonly storing: Pick<Storing, 'store' | 'requireWhole'>;
  readonly locating: Pick<Locating, 'locate' | 'reset'>;
  /** To an applier in this process. */
  readonly mergedLog: Links['mergedLog'];
  readonly counts: Pick<MergerMetrics, 'batchSizes' | 'restarts'>;
  readonly tracing: Tracing;
  readonly health: ServiceHealth<'merger'>;
  readonly logger: Logger;
  readonly warn: WarnOccasionally;
  /** The service stops: no other core begins. */
  readonly signal: AbortSignal;
}

export class Merging {
  private executor: Executor | undefined;
  /** The stream is to be emptied before the next core begins. */
  private mustBeginAgain = false;
  /** What one message of NATS carries (bytes of entries). */
  private carriedBytes = Number.POSITIVE_INFINITY;

  constructor(private readonly options: MergingOptions) {}

  /** Of the last entry merged. */
  get mergedIndex(): MergedIndex {
    return this.executor?.core.position().mergedIndex ?? NOTHING_MERGED;
  }

  /** Undefined between two cores: nothing waits then, and what waited is fetched again. */
  get core(): MergerCore | undefined {
    const { executor } = this;
    return executor?.hasEnded === false ? executor.core : undefined;
  }

  carry(bytes: number): void {
    this.carriedBytes = bytes;
    this.executor?.core.carry(bytes);
  }

  /** Writes the stream again, from the beginning of the groups' logs. */
  beginAgain(): void {
    this.mustBeginAgain = true;
    this.executor?.end(new StreamLostError('the applier needs what is before the beginning of the stream'));
  }

  /** Merges nothing more; resolves when the stream has everything that was emitted. */
  async flush(): Promise<void> {
    await this.executor?.flush();
  }

  end(): void {
    this.executor?.end(new Error('the merger stops'));
  }

  /** Until the service stops. Rejects when no other core can go on either. */
  async run(): Promise<void> {
    const { stream, health, warn, counts, signal } = this.options;
    for (let waitMs = RETRY_MS; !signal.aborted; ) {
      let position: MergePosition;
      try {
        if (this.mustBeginAgain) await this.empty();
        position = await stream.position();
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof OtherClusterError) throw error;
        warn('the merged-log stream cannot be opened; nothing is merged until it can', error);
        health.report('stream', error);
        health.turned('the merge');
        await pause(waitMs);
        waitMs = Math.min(2 * waitMs, RETRY_MS_MAX);
        continue;
      }
      if (signal.aborted) return;
      health.report('stream', undefined);
      waitMs = RETRY_MS;
      try {
        await this.merge(position);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof MergerReplacedError) throw error;
        warn('merger starts again from the stream', error);
        counts.restarts.add();
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
    await this.options.stream.empty();
    this.mustBeginAgain = false;
  }

  /** Merges from here on. Rejects with the reason when that cannot go on. */
  private merge(position: MergePosition): Promise<never> {
    const { feed, storing, locating, mergedLog, tracing, health, logger, warn } = this.options;
    locating.reset();
    logger.info({ mergedIndex: position.mergedIndex }, 'merging');
    mergedLog?.begin(position.mergedIndex);
    // An applier in another process waits for what goes to the stream.
    const core = new MergerCore(
      position,
      mergedLog === undefined ? { ...MERGER_DEFAULTS, storeDelayMs: 0 } : MERGER_DEFAULTS,
    );
    core.carry(this.carriedBytes);
    const spans = tracing.enabled ? new MergerTracing(tracing, spanTimeUs) : undefined;
    this.executor = new Executor(core, {
      feed,
      ...(spans === undefined ? {} : { fed: (groups) => spans.fed(groups) }),
      emit: (run) => this.emit(run, spans),
      store: (run) => storing.store(run),
      requireWhole: () => storing.requireWhole(),
      locate: (atLeast) => locating.locate(atLeast),
      warn,
      onFeed: (trouble) => health.report('feed', trouble),
      onStep: () => health.turned('the merge'),
    });
    this.executor.start();
    return this.executor.ended;
  }

  private emit(run: MergedRun, spans: MergerTracing | undefined): void {
    const { mergedLog, counts } = this.options;
    // Before the applier has it.
    spans?.emitted(run);
    mergedLog?.push(run);
    counts.batchSizes.observe(run.entries.length);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
