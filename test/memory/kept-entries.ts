/**
 * What a write leaves of a log that is held as an array: for the adapters that have their log in
 * memory.
 */

import { type GroupHead, headOnBase } from '../../shared/log-store/head.js';
import type { GroupWrite } from '../../shared/log-store/port.js';
import type { LogEntry } from '../../shared/raft/entry.js';

/**
 * Those of `entries` (of which the first has index `before.base.index` + 1) that stay when `write`
 * has moved the base and truncated, before it appends. The same array when all of them stay, else a
 * new one.
 * @throws LogStoreUsageError when the base of the write does not fit.
 */
export function keptEntries(before: GroupHead, entries: LogEntry[], write: GroupWrite): LogEntry[] {
  const { base, lastIndex } = headOnBase(before, write);
  const end = Math.min(lastIndex, (write.truncateFrom ?? Number.POSITIVE_INFINITY) - 1);
  if (base.index === before.base.index && end === before.lastIndex) return entries;
  return entries.slice(base.index - before.base.index, Math.max(base.index, end) - before.base.index);
}
