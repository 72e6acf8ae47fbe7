/** Stores the merged log in the stream, and watches the limits of the stream. */
import type { ServiceHealth } from '../../shared/health/health.js';
import { limitsTrouble, publishTrouble } from '../../shared/health/stream-limits.js';
import type { MergedRun } from '../../shared/merge/merge.js';
import type { WarnOccasionally } from '../../shared/telemetry/log.js';
import { encodeMergedBatch } from '../../shared/wire/merged-batch.js';
import type { MergerMetrics } from './metrics.js';
import { type MergedLogStream, StreamFencedError } from './stream.js';

const PUBLISH_MS_MAX = 5_000;
/** Between two looks at what the stream is limited by (milliseconds). */
const LIMITS_MS = 2_000;

export interface StoringOptions {
  readonly stream: MergedLogStream;
  /** The stream's. */
  readonly name: string;
  readonly counts: MergerMetrics;
  readonly health: ServiceHealth<'merger'>;
  readonly warn: WarnOccasionally;
  /** The service stops: what fails from then on is no trouble. */
  readonly signal: AbortSignal;
}

export class Storing {
  constructor(private readonly options: StoringOptions) {}

  /** Looks at the limits until the service stops. */
  start(): void {
    const watch = setInterval(() => void this.lookAtLimits(), LIMITS_MS);
    watch.unref();
    this.options.signal.addEventListener('abort', () => clearInterval(watch));
  }

  /** Resolves when the stream has it. */
  async store(run: MergedRun): Promise<void> {
    const { stream, name, counts, health, signal } = this.options;
    const startMs = performance.now();
    try {
      await stream.publish(encodeMergedBatch(run), PUBLISH_MS_MAX);
      counts.onPublished(startMs);
      health.report('publish', undefined);
    } catch (error) {
      if (!signal.aborted) counts.publishErrors.add();
      // One that another message has overtaken begins again at once.
      if (error instanceof Error && !(error instanceof StreamFencedError) && !signal.aborted)
        health.report('publish', publishTrouble(name, error));
      throw error;
    }
  }

  /** @throws StreamLostError when the stream is not what was written. */
  async requireWhole(): Promise<void> {
    await this.options.stream.requireWhole();
    // Only looked at when the stream has everything: what failed before has arrived after all.
    this.options.health.report('publish', undefined);
  }

  /** A stream that is gone is noticed by what is published, or by an idle poll. */
  private async lookAtLimits(): Promise<void> {
    const { stream, name, health, warn, signal } = this.options;
    try {
      const limits = await stream.limits();
      if (!signal.aborted) health.report('limits', limitsTrouble(name, limits ?? []));
    } catch (error) {
      // What keeps the stream from being read is told by those that need it.
      if (!signal.aborted) warn('the limits of the merged-log stream cannot be read', error);
    }
  }
}
