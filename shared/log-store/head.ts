/**
 * What a store knows of a group without reading its log, and how a write changes it. Pure; shared by the adapters, so that
 * they refuse the same misuse and agree on where terms begin.
 */
import type { GroupId, HardState, Index, LogEntry, Term, Timestamp } from '../raft/entry.js';
import type { GroupWrite, TermStart, WriteBatch } from './port.js';

export interface GroupHead {
  readonly hardState: HardState;
  readonly lastIndex: Index;
  /** In order of index. */
  readonly termStarts: readonly TermStart[];
}

export const EMPTY_HEAD: GroupHead = {
  hardState: { term: 0, votedFor: null, commitIndex: 0 },
  lastIndex: 0,
  termStarts: [],
};

/** The caller broke the contract of LogStore: a defect, not an operating error. Nothing has been written. */
export class LogStoreUsageError extends Error {
  readonly code = 'LOG_STORE_USAGE';
  constructor(message: string) {
    super(message);
    this.name = 'LogStoreUsageError';
  }
}

/**
 * The heads of all groups that `batch` writes, as they are after it.
 * @throws LogStoreUsageError when the batch does not fit what is stored.
 */
export function headsAfter(
  batch: WriteBatch,
  promiseLimit: Timestamp,
  headOf: (group: GroupId) => GroupHead,
): Map<GroupId, GroupHead> {
  if (batch.promiseLimit !== undefined) {
    demand(Number.isSafeInteger(batch.promiseLimit), `the promise limit ${batch.promiseLimit} is not an integer`);
    demand(batch.promiseLimit >= promiseLimit, `the promise limit goes down: ${promiseLimit} to ${batch.promiseLimit}`);
  }
  const heads = new Map<GroupId, GroupHead>();
  for (const write of batch.groups) {
    demand(!heads.has(write.group), `group ${write.group} is in the batch twice`);
    heads.set(write.group, headAfter(headOf(write.group), write));
  }
  return heads;
}

function headAfter(before: GroupHead, write: GroupWrite): GroupHead {
  const { group, hardState = before.hardState, truncateFrom, entries = [] } = write;
  let { lastIndex, termStarts } = before;
  if (truncateFrom !== undefined) {
    demand(Number.isSafeInteger(truncateFrom) && truncateFrom >= 1, `group ${group} truncates from ${truncateFrom}`);
    lastIndex = Math.min(lastIndex, truncateFrom - 1);
    termStarts = keptTermStarts(termStarts, truncateFrom);
  }
  const added = newTermStarts(group, entries, lastIndex, termStarts.at(-1)?.term ?? 0);
  return {
    hardState,
    lastIndex: lastIndex + entries.length,
    termStarts: added.length === 0 ? termStarts : [...termStarts, ...added],
  };
}

function keptTermStarts(termStarts: readonly TermStart[], truncateFrom: Index): readonly TermStart[] {
  return (termStarts.at(-1)?.firstIndex ?? 0) < truncateFrom
    ? termStarts
    : termStarts.filter((start) => start.firstIndex < truncateFrom);
}

function newTermStarts(group: GroupId, entries: readonly LogEntry[], lastIndex: Index, lastTerm: Term): TermStart[] {
  const starts: TermStart[] = [];
  let index = lastIndex;
  let term = lastTerm;
  for (const entry of entries) {
    index++;
    demand(entry.index === index, `group ${group} appends entry ${entry.index} where ${index} comes next`);
    if (entry.term === term) continue;
    demand(entry.term > term, `group ${group} appends entry ${index} of term ${entry.term} after term ${term}`);
    term = entry.term;
    starts.push({ term, firstIndex: index });
  }
  return starts;
}

/** The term of the entry at `index`, or 0 when there is none below the first start. `index` must not be past the end. */
export function termAt(termStarts: readonly TermStart[], index: Index): Term {
  // From the back: reads are mostly of recent entries.
  for (let at = termStarts.length - 1; at >= 0; at--) {
    const start = termStarts[at];
    if (start !== undefined && start.firstIndex <= index) return start.term;
  }
  return 0;
}

export function demand(condition: boolean, otherwise: string): asserts condition {
  if (!condition) throw new LogStoreUsageError(otherwise);
}
