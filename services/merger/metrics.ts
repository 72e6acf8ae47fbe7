/** The metrics of the merger: what it counts, and what is read of the merge at each scrape. */
import type { MergedIndex } from '../../shared/raft/entry.js';
import { BATCH_SIZES, type Metrics, SECONDS } from '../../shared/telemetry/metrics.js';
import { observeQueues } from '../../shared/telemetry/queues.js';
import type { MergerCore } from './core.js';

export interface MergerMetricsOptions {
  readonly metrics: Metrics;
  readonly groups: number;
  /** Of the last entry merged. */
  readonly mergedIndex: () => MergedIndex;
  /** Undefined between two cores. */
  readonly core: () => Pick<MergerCore, 'heldBy' | 'waitingBytes' | 'unstoredFill'> | undefined;
}

export class MergerMetrics {
  readonly restarts;
  readonly batchSizes;
  readonly publishErrors;
  private readonly published;

  constructor({ metrics, groups, mergedIndex, core }: MergerMetricsOptions) {
    this.batchSizes = metrics.histogram('merged_batch_entries', 'Entries that are emitted at once', BATCH_SIZES);
    this.published = metrics.histogram(
      'publish_seconds',
      'Time until JetStream has one message of the merged log',
      SECONDS,
    );
    this.publishErrors = metrics.counter('publish_errors_total', 'Messages that the merged-log stream did not take');
    this.restarts = metrics.counter('merger_restarts_total', 'Times that the merger started again from the stream');
    metrics.gauge('merged_index', 'Merged index of the last entry merged', mergedIndex);
    metrics.gaugeBy(
      'merge_held_seconds',
      'How long the merge has waited for the group; 0 while it does not',
      'group',
      () => {
        const by = core()?.heldBy();
        const seconds = by === undefined ? 0 : (performance.now() - by.sinceMs) / 1_000;
        return Array.from({ length: groups }, (_, group) => [[`${group}`], by?.group === group ? seconds : 0] as const);
      },
    );
    observeQueues(metrics, () => {
      const live = core();
      if (live === undefined) return [];
      const waiting = live.waitingBytes().map((bytes, group) => ({ queue: 'merge', group, bytes }));
      return [...waiting, { queue: 'unstored', bytes: live.unstoredFill }];
    });
  }

  /** JetStream has a message that was published then (milliseconds, monotonic). */
  onPublished(sinceMs: number): void {
    this.published.observe((performance.now() - sinceMs) / 1_000);
  }
}
