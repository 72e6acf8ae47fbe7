/** Times of commits, from what the groups look like after each turn. */
import { expect, it } from 'vitest';
import { CommitTimes, MARKS_MAX } from '../../../services/replica/commit-times.js';

type Seen = Parameters<CommitTimes['see']>[0][number];

function watch() {
  const committed: [seconds: number, entries: number][] = [];
  const appended: [group: number, entries: number][] = [];
  const times = new CommitTimes({
    committed: (seconds, entries) => committed.push([seconds, entries]),
    appended: (group, entries) => appended.push([group, entries]),
  });
  const see = (nowMs: number, ...groups: Seen[]) => times.see(groups, nowMs);
  return { committed, appended, see };
}

const led = (lastIndex: number, commitIndex: number, term = 1): Seen => ({
  role: 'leader',
  term,
  lastIndex,
  commitIndex,
});

it('each entry counts from the turn in which it was appended, and what was there before does not', () => {
  const { committed, appended, see } = watch();
  see(0, led(5, 3));
  see(10, led(7, 5));
  see(20, led(10, 5));
  expect(committed).toEqual([]);
  see(40, led(10, 8));
  see(50, led(10, 10));
  expect(appended).toEqual([
    [0, 2],
    [0, 3],
  ]);
  expect(committed).toEqual([
    [0.03, 2],
    [0.02, 1],
    [0.03, 2],
  ]);
});

it('what is appended as a follower, or in another term, is not counted', () => {
  const { committed, appended, see } = watch();
  see(0, led(1, 1));
  see(10, led(3, 1));
  see(20, { role: 'follower', term: 2, lastIndex: 9, commitIndex: 9 });
  see(30, led(10, 10, 3));
  see(40, led(11, 11, 3));
  see(50, led(12, 11, 4));
  see(60, led(12, 12, 4));
  expect(appended).toEqual([
    [0, 2],
    [0, 1],
  ]);
  expect(committed).toEqual([[0, 1]]);
});

it('remembers a bounded number of turns, and still counts every entry', () => {
  const { committed, see } = watch();
  see(0, led(0, 0));
  for (let n = 1; n <= MARKS_MAX + 5; n++) see(n, led(n, 0));
  see(5_000, led(MARKS_MAX + 5, MARKS_MAX + 5));
  expect(committed).toHaveLength(MARKS_MAX);
  expect(committed.reduce((sum, [, entries]) => sum + entries, 0)).toBe(MARKS_MAX + 5);
  expect(committed[committed.length - 1]).toEqual([(5_000 - MARKS_MAX) / 1_000, 6]);
});
