/**
 * What a store knows of a group without reading its log, and how a write changes it. Pure; shared
 * by the adapters, so that they refuse the same misuse and agree on where terms begin.
 */

import { NamedError } from '../errors.js';
import type { LoadedGroup, TermStart } from '../raft/durable.js';
import {
  BEFORE_FIRST,
  type GroupId,
  LOG_START,
  type LogEntry,
  type LogIndex,
  type LogPosition,
  type Term,
  type Timestamp,
} from '../raft/entry.js';
import type { GroupWrite, WriteBatch } from './port.js';

export type GroupHead = Omit<LoadedGroup, 'tail'>;

export const EMPTY_HEAD: GroupHead = {
  hardState: { term: 0, votedFor: null, commitIndex: 0 },
  base: LOG_START,
  configurations: [],
  lastIndex: 0,
  termStarts: [],
};

/**
 * The caller broke the contract of LogStore: a defect, not an operating error. Nothing has been
 * written.
 */
export class LogStoreUsageError extends NamedError {
  readonly code = 'LOG_STORE_USAGE';
}

/** @throws LogStoreUsageError when the batch writes to a group that there is not. */
export function demandGroups(batch: WriteBatch, groups: number): void {
  for (const { group } of batch.groups) {
    demand(Number.isInteger(group) && group >= 0 && group < groups, `there is no group ${group}`);
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
  const {
    group,
    hardState = before.hardState,
    configurations = before.configurations,
    truncateFrom,
    entries = [],
  } = write;
  const { base, ...onBase } = headOnBase(before, write);
  let { lastIndex, termStarts } = onBase;
  if (truncateFrom !== undefined) {
    demand(Number.isSafeInteger(truncateFrom) && truncateFrom >= 1, `group ${group} truncates from ${truncateFrom}`);
    demand(truncateFrom > base.index, `group ${group} truncates from ${truncateFrom}, its base is at ${base.index}`);
    lastIndex = Math.min(lastIndex, truncateFrom - 1);
    termStarts = lastIndex === base.index ? [] : keptTermStarts(termStarts, truncateFrom);
  }
  const added = newTermStarts(group, entries, lastIndex, termStarts.at(-1)?.term ?? LOG_START.term, base.term);
  return {
    hardState,
    base,
    configurations,
    lastIndex: lastIndex + entries.length,
    termStarts: added.length === 0 ? termStarts : [...termStarts, ...added],
  };
}

/**
 * The head with the base that `write` gives, if any, before the rest of the write. A log that does
 * not reach the base, or has an entry of another term there, is dropped whole. What follows such an
 * entry cannot follow the snapshot (Raft section 7).
 */
export function headOnBase(before: GroupHead, { group, base }: GroupWrite): GroupHead {
  if (base === undefined) return before;
  const { index, term } = base;
  demand(isPosition(base), `group ${group} has a base that is no position: ${JSON.stringify(base)}`);
  demand(index >= before.base.index, `group ${group} moves its base back from ${before.base.index} to ${index}`);
  const keepsSuffix = index <= before.lastIndex && termOf(before, index) === term;
  if (!keepsSuffix) return { ...before, base, lastIndex: index, termStarts: [] };
  return { ...before, base, termStarts: termStartsAfter(before, index) };
}

function isPosition({ index, term, timestamp }: LogPosition): boolean {
  return [index, term, timestamp].every((value) => Number.isSafeInteger(value) && value >= 0);
}

/** Without the runs that end at or before `index`. */
function termStartsAfter({ termStarts, lastIndex }: GroupHead, index: LogIndex): readonly TermStart[] {
  const endOf = (at: number) => (termStarts[at + 1]?.firstIndex ?? lastIndex + 1) - 1;
  return termStarts.length === 0 || endOf(0) > index ? termStarts : termStarts.filter((_, at) => endOf(at) > index);
}

function keptTermStarts(termStarts: readonly TermStart[], truncateFrom: LogIndex): readonly TermStart[] {
  return (termStarts.at(-1)?.firstIndex ?? BEFORE_FIRST) < truncateFrom
    ? termStarts
    : termStarts.filter((start) => start.firstIndex < truncateFrom);
}

/**
 * `lastTerm` is that of the last run, 0 when there is none; no entry may have a term below
 * `baseTerm`.
 */
function newTermStarts(
  group: GroupId,
  entries: readonly LogEntry[],
  lastIndex: LogIndex,
  lastTerm: Term,
  baseTerm: Term,
): TermStart[] {
  const starts: TermStart[] = [];
  let index = lastIndex;
  let term = lastTerm;
  for (const entry of entries) {
    index++;
    demand(entry.index === index, `group ${group} appends entry ${entry.index} where ${index} comes next`);
    if (entry.term === term) continue;
    const least = Math.max(term, baseTerm);
    demand(entry.term >= least, `group ${group} appends entry ${index} of term ${entry.term} after term ${least}`);
    term = entry.term;
    starts.push({ term, firstIndex: index });
  }
  return starts;
}

/**
 * The term of the entry at `index`, which is not past the end; undefined below the base, where
 * nobody knows it any more.
 */
export function termOf({ base, termStarts }: GroupHead, index: LogIndex): Term | undefined {
  if (index > base.index) return termAt(termStarts, index);
  return index === base.index ? base.term : undefined;
}

/** The term that the runs give for `index`, or 0 below the first of them. */
function termAt(termStarts: readonly TermStart[], index: LogIndex): Term {
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
