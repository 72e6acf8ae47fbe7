/** Medians, spreads and ratios of benchmarks, and latencies. */
import { describe, expect, it } from 'vitest';
import { median, ratio, significant, spread } from '../../bench/statistics.js';
import { Samples, summarize } from '../../bench/summary.js';

describe('the median', () => {
  it('is the middle of an odd number of figures, in whatever order', () => {
    expect(median([900, 1, 30])).toBe(30);
  });
  it('is the mean of the middle two of an even number', () => {
    expect(median([4, 1, 3, 100])).toBe(3.5);
  });
  it('of nothing is an error', () => {
    expect(() => median([])).toThrow(RangeError);
  });
});

it('a spread has the median, and the rounds that lie farthest apart', () => {
  expect(spread([10, 30, 12])).toEqual({ median: 12, min: 10, max: 30 });
});

it('figures have four significant digits', () => {
  expect(significant(12_345.6)).toBe(12_350);
  expect(significant(0.123456)).toBe(0.1235);
  expect(significant(0)).toBe(0);
});

describe('a ratio', () => {
  it('is taken round by round: what slows a whole round changes nothing', () => {
    const ours = new Map([
      [1, 100],
      [2, 50],
      [3, 90],
    ]);
    const theirs = new Map([
      [1, 200],
      [2, 100],
      [3, 100],
    ]);
    expect(ratio(ours, theirs)).toEqual({ median: 0.5, min: 0.5, max: 0.9 });
  });
  it('leaves out rounds that lack one of the two, and a divisor of 0', () => {
    const ours = new Map([
      [1, 3],
      [2, 5],
      [3, 7],
    ]);
    const theirs = new Map([
      [2, 2.5],
      [3, 0],
      [4, 1],
    ]);
    expect(ratio(ours, theirs)).toEqual({ median: 2, min: 2, max: 2 });
  });
  it('does not exist without a round that has both', () => {
    expect(ratio(new Map([[1, 3]]), new Map([[2, 3]]))).toBeUndefined();
  });
});

describe('a summary of latencies', () => {
  it('has percentiles, the longest, and how many there were a second', () => {
    const latencies = Float64Array.from({ length: 2_000 }, (_, n) => 2_000 - n);
    expect(summarize(latencies, 4)).toEqual({
      count: 2_000,
      perSecond: 500,
      p50: 1_001,
      p99: 1_981,
      p999: 1_999,
      max: 2_000,
    });
  });
  it('of none has zeros', () => {
    expect(summarize(new Float64Array(), 4)).toEqual({ count: 0, perSecond: 0, p50: 0, p99: 0, p999: 0, max: 0 });
  });
});

it('samples keep every number, however many there are', () => {
  const samples = new Samples();
  for (let n = 0; n < 10_000; n += 1) samples.add(n);
  const taken = samples.take();
  expect(taken).toHaveLength(10_000);
  expect(taken[9_999]).toBe(9_999);
});
