/**
 * What stands between the services of one process instead of NATS. Which of them there are is
 * decided in services/main.ts.
 */
import type { ProcessHealth } from '../health/health.js';
import type { AppliedMark } from './applied-mark.js';
import type { DirectFeed } from './feed.js';
import type { DirectMergedLog } from './merged-log.js';

export interface Links {
  /** Replica and merger are in this process. */
  readonly feed?: DirectFeed;
  /** Merger and applier are in this process. */
  readonly mergedLog?: DirectMergedLog;
  /** Replica and applier are in this process. */
  readonly applied?: AppliedMark;
  /** Where each service says how it is. */
  readonly health?: ProcessHealth;
}
