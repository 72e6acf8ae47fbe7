/**
 * Numbers of different kinds are not mixed. What this holds is checked when it is compiled
 * (`npm run types`); each line below `@ts-expect-error` must not compile.
 */
import { expect, expectTypeOf, it } from 'vitest';
import { ClockGuard } from '../../../shared/clock/guard.js';
import type { MergedCommand } from '../../../shared/engine/port.js';
import { DirectMergedLog } from '../../../shared/link/merged-log.js';
import { RunningChecksum } from '../../../shared/merge/checksum.js';
import { Merge, mergeStart } from '../../../shared/merge/merge.js';
import { MergedWindow } from '../../../shared/merge/window.js';
import {
  type GroupId,
  indexAfter,
  indexBefore,
  LOG_START,
  type LogIndex,
  type MergedIndex,
  type MonotonicMs,
  type Timestamp,
} from '../../../shared/raft/entry.js';
import { EMPTY_LOG, RaftLog } from '../../../shared/raft/log.js';

const log = new RaftLog(EMPTY_LOG);
const merge = new Merge(mergeStart(2));
const { mergedIndex, positions } = merge.position();

it('takes plain numbers for any kind', () => {
  const index: LogIndex = 3;
  const place: MergedIndex = index + 1;
  expectTypeOf(index + 1).toEqualTypeOf<number>();
  expect(place).toBe(4);
});

it('keeps the kind of the index after, and of the one before', () => {
  expectTypeOf(indexAfter(log.lastIndex)).toEqualTypeOf<LogIndex>();
  expect([indexAfter(log.lastIndex), indexBefore(mergedIndex)]).toEqual([1, -1]);
  // @ts-expect-error: an index of a log
  const place: MergedIndex = indexAfter(log.lastIndex);
  // @ts-expect-error: a term is no index
  expect(indexAfter(log.lastTerm)).toBe(place);
});

it('takes no index of a log for a place in the merged log', () => {
  const window = new MergedWindow(1_000);
  window.begin(mergedIndex);
  // @ts-expect-error: an index of a log
  expect(window.from(log.lastIndex, 1)).toBe('behind');
  // @ts-expect-error: an index of a log
  new DirectMergedLog().begin(LOG_START.index);
  // @ts-expect-error: an index of a log
  const command: Pick<MergedCommand, 'mergedIndex'> = { mergedIndex: log.lastIndex };
  expect(command.mergedIndex).toBe(0);
});

it('takes no place in the merged log for an index of a log', () => {
  // @ts-expect-error: a merged index
  expect(log.termAt(mergedIndex)).toBe(0);
  // @ts-expect-error: merged indexes
  const state: ReturnType<typeof merge.position> = { mergedIndex, checksum: '', positions: [mergedIndex] };
  expect(state.positions).toEqual([0]);
});

it('does not compare an index of a log with a place in the merged log', () => {
  // @ts-expect-error: they have nothing in common
  expect(positions[0] === mergedIndex).toBe(true);
});

it('takes no group for an index', () => {
  const group: GroupId = 1;
  // @ts-expect-error: the group comes first
  new RunningChecksum(mergeStart(2).checksum).add(log.lastIndex, group, new Uint8Array());
  expect(group).toBe(1);
});

it('takes no timestamp for an index', () => {
  const index: LogIndex = 0;
  const watermark: Timestamp = 0;
  // @ts-expect-error: an index of a log
  merge.add(0, [], index);
  // @ts-expect-error: a timestamp
  expect(log.termAt(watermark)).toBe(0);
});

it('takes no term for an index, and no index for a term', () => {
  // @ts-expect-error: a term
  expect(log.termAt(log.lastTerm)).toBe(0);
  // @ts-expect-error: an index of a log
  expect(log.lastIndexOfTerm(log.lastIndex)).toBe(0);
});

it('takes no moment of this process for a timestamp, and no timestamp for one', () => {
  const physical: Timestamp = 7_000_000;
  const nowMs: MonotonicMs = 3;
  const clock = new ClockGuard({ offsetUsMax: 1_000, promiseWindowUs: 1_000 });
  // @ts-expect-error: physical time comes first
  clock.advance(nowMs, physical);
  // @ts-expect-error: a moment of this process
  expect(clock.observe(nowMs)).toBe(true);
});
