/** Removes expired results in pieces, beside the batches: at least as fast as new ones come. */

import type { EnginePosition } from '../../../shared/engine/port.js';
import { SHARE_STATE } from './position.js';
import type { QueryPool } from './query-pool.js';
import type { ResultStore } from './result-store.js';
import { BEGIN_PLAIN } from './settings.js';

export class Pruner {
  private isPruning = false;
  private pruning: Promise<void> = Promise.resolve();

  constructor(private readonly pool: QueryPool) {}

  /**
   * Begins a removal if one is due and none is under way. One that fails is due again with the next
   * batch.
   */
  prune(results: ResultStore, { timestamp, mergedIndex }: EnginePosition, epoch: number): void {
    if (this.isPruning) return;
    const due = results.pruning(timestamp, { epoch, mergedIndex });
    if (due === undefined) return;
    this.isPruning = true;
    this.pruning = this.pool
      .use((connection) => connection.together(`${BEGIN_PLAIN}; ${SHARE_STATE}`, due.statement))
      .then(([rows]) => {
        const count = rows?.[0]?.[1];
        if (typeof count === 'string') due.removed(Number(count));
      })
      .catch(() => undefined)
      .finally(() => {
        this.isPruning = false;
      });
  }

  /** The removal under way has ended, if there was one. */
  end(): Promise<void> {
    return this.pruning;
  }
}
