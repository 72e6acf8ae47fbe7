/**
 * How full the bounded queues of a service are: each with its bound, so that one alert serves all
 * of them.
 */
import type { Metrics } from './metrics.js';
import type { Series } from './samples.js';

/** A number and its bound. */
interface Fill {
  readonly now: number;
  readonly max: number;
}

export interface QueueLevel {
  readonly queue: string;
  /** Of a queue that each group has. */
  readonly group?: number;
  readonly items?: Fill;
  readonly bytes?: Fill;
}

/** `read` gives all queues of the service; it is called at every scrape. */
export function observeQueues(metrics: Pick<Metrics, 'gaugeBy'>, read: () => readonly QueueLevel[]): void {
  const series = (fillOf: (level: QueueLevel) => number | undefined): Series =>
    read().flatMap((level) => {
      const value = fillOf(level);
      return value === undefined ? [] : [[[level.queue, `${level.group ?? ''}`], value] as const];
    });
  metrics.gaugeBy('queue_items', 'Items that wait in a bounded queue', ['queue', 'group'], () =>
    series(({ items }) => items?.now),
  );
  metrics.gaugeBy(
    'queue_items_max',
    'Most items in that queue: further ones are refused, or wait elsewhere',
    ['queue', 'group'],
    () => series(({ items }) => items?.max),
  );
  metrics.gaugeBy('queue_bytes', 'Bytes that wait in a bounded queue', ['queue', 'group'], () =>
    series(({ bytes }) => bytes?.now),
  );
  metrics.gaugeBy('queue_bytes_max', 'Most bytes in that queue', ['queue', 'group'], () =>
    series(({ bytes }) => bytes?.max),
  );
}
