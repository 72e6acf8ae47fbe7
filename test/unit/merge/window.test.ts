/**
 * The newest runs of a merged log in memory: none is lost between the window and the stream, and
 * none is given twice out of order.
 */
import { expect, it } from 'vitest';
import { anchorAt, type MergedRun, mergeStart } from '../../../shared/merge/merge.js';
import { MergedWindow } from '../../../shared/merge/window.js';
import { EntryKind } from '../../../shared/raft/entry.js';

const SIZE = 10;

/** Entries `first` to `last`, of ten bytes each. */
function run(first: number, last: number): MergedRun {
  const entries = Array.from({ length: last - first + 1 }, (_, at) => {
    const index = first + at;
    return { index, term: 1, timestamp: index, kind: EntryKind.command, bytes: new Uint8Array(SIZE) };
  });
  const after = { ...mergeStart(1), mergedIndex: last };
  return { firstMergedIndex: first, groups: entries.map(() => 0), entries, checkpoints: [], after };
}

const borders = (answer: ReturnType<MergedWindow['from']>) =>
  answer === 'behind' ? answer : answer.map(({ firstMergedIndex, after }) => [firstMergedIndex, after.mergedIndex]);

it('gives what reaches the wanted index and all that follows, in pieces', () => {
  const window = new MergedWindow(1_000);
  window.begin(0);
  for (const one of [run(1, 2), run(3, 5), run(6, 6)]) window.push(one);
  expect(borders(window.from(1, 1_000))).toEqual([
    [1, 2],
    [3, 5],
    [6, 6],
  ]);
  expect(borders(window.from(4, 1_000))).toEqual([
    [3, 5],
    [6, 6],
  ]);
  expect(borders(window.from(1, 2 * SIZE))).toEqual([[1, 2]]);
  expect(borders(window.from(3, 1))).toEqual([[3, 5]]);
  expect(borders(window.from(7, 1_000))).toEqual([]);
  expect(borders(window.from(99, 1_000))).toEqual([]);
});

it('knows nothing before it begins, and says so of what is older', () => {
  const window = new MergedWindow(1_000);
  expect(borders(window.from(1, 1_000))).toEqual([]);
  window.begin(7);
  expect(window.from(7, 1_000)).toBe('behind');
  expect(borders(window.from(8, 1_000))).toEqual([]);
});

it('keeps the newest within its bound, and the newest in any case', () => {
  const window = new MergedWindow(5 * SIZE);
  window.begin(0);
  for (let at = 1; at <= 5_000; at++) window.push(run(at, at));
  expect(window.from(4_995, 1_000)).toBe('behind');
  expect(window.from(4_996, 1_000)).toHaveLength(5);
  window.push(run(5_001, 5_100));
  expect(window.from(5_000, 1_000)).toBe('behind');
  expect(borders(window.from(5_001, 1_000))).toEqual([[5_001, 5_100]]);
});

it('skips what it knows, and begins anew beyond a hole and at an anchor', () => {
  const window = new MergedWindow(1_000);
  window.begin(0);
  window.push(run(1, 4));
  window.push(run(2, 3));
  // Another merger chose other borders.
  window.push(run(3, 6));
  expect(borders(window.from(5, 1_000))).toEqual([[3, 6]]);
  window.push(run(8, 9));
  expect(window.from(7, 1_000)).toBe('behind');
  expect(borders(window.from(8, 1_000))).toEqual([[8, 9]]);
  window.push(anchorAt({ ...mergeStart(1), mergedIndex: 20 }));
  expect(window.from(10, 1_000)).toBe('behind');
  expect(borders(window.from(21, 1_000))).toEqual([]);
  window.push(anchorAt({ ...mergeStart(1), mergedIndex: 15 }));
  window.push(run(21, 21));
  expect(borders(window.from(21, 1_000))).toEqual([[21, 21]]);
});
