/**
 * Gaps around faults: those that begin while a fault lasts count, however long after it they end.
 */
import { expect, it } from 'vitest';
import { longestGap, medianAndWorst, outages } from '../../chaos/outages.js';

it('finds the longest gap that begins within a window', () => {
  const times = [0, 10, 20, 70, 80, 200];
  expect(longestGap(times, 15, 30, 200)).toBe(50);
  // What was over when the fault began does not count against it.
  expect(longestGap(times, 40, 45, 200)).toBe(30);
  expect(longestGap(times, 15, 90, 200)).toBe(120);
});

it('counts what has not come back until the end', () => {
  expect(longestGap([0, 500, 1_000], 1_000, 5_000, 9_000)).toBe(8_000);
  expect(longestGap([0, 500], 1_000, 5_000, 9_000)).toBe(8_000);
  expect(longestGap([], 1_000, 5_000, 9_000)).toBe(8_000);
  expect(longestGap([0, 8_999], 1_000, 5_000, 9_000)).toBe(7_999);
  // Nobody tried between the end and a success after it.
  expect(longestGap([0, 20_000], 1_000, 5_000, 9_000)).toBe(8_000);
});

it('has the median and the worst', () => {
  expect(medianAndWorst([])).toEqual([0, 0]);
  expect(medianAndWorst([1, 2, 9])).toEqual([2, 9]);
  expect(medianAndWorst([1, 2, 4, 9])).toEqual([3, 9]);
});

it('tells faults apart, and a group from all', () => {
  const strike = (name: string, beginUs: number, group?: number) => {
    return { name, what: '', group, beginUs, endUs: beginUs + 1_000, wholeUs: beginUs + 3_000 };
  };
  const all = [0, 10_000, 12_000, 20_000];
  const ofGroup = (group: number) => (group === 1 ? [0, 18_000] : all);
  const found = outages([strike('kill', 10_000, 1), strike('pause', 12_000), strike('kill', 10_000)], {
    endUs: 20_000,
    all,
    ofGroup,
  });
  expect(found.get('kill')).toEqual({ gapsMs: [2, 2], groupGapsMs: [8], recoveriesMs: [2, 2] });
  expect(found.get('pause')).toEqual({ gapsMs: [8], groupGapsMs: [], recoveriesMs: [2] });
});
