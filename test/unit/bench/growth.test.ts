/** Growth: what is swept, tables with their marks, the picture. */
import { describe, expect, it } from 'vitest';
import { DIMENSIONS, SWEEPS, settingOf, sizesOf } from '../../bench/growth/dimensions.js';
import { type Cost, costTable, growthPicture, isFlat, type Recovery, recoveryTable } from '../../bench/growth/table.js';
import { memoryMiB } from '../../bench/processes.js';
import type { Lines } from '../../bench/report/table.js';
import { spread } from '../../bench/statistics.js';

describe('a sweep', () => {
  it.each(DIMENSIONS)('of %s changes nothing else', (dimension) => {
    const [small = 0, large = 0] = sizesOf(dimension);
    const before: Record<string, number> = { ...settingOf(dimension, small) };
    const after: Record<string, number> = { ...settingOf(dimension, large) };
    const changed = Object.keys(before).filter((name) => before[name] !== after[name]);
    const expected = {
      history: ['history'],
      keys: ['keys'],
      groups: ['groups'],
      value: ['valueBytes'],
      clients: ['connections', 'inFlight'],
    };
    expect(changed).toEqual(expected[dimension]);
  });
  it.each(DIMENSIONS)('of %s has fewer and no larger sizes when it is quick', (dimension) => {
    const { full, quick } = SWEEPS[dimension].sizes;
    expect(quick.length).toBeLessThan(full.length);
    expect(Math.max(...quick)).toBeLessThanOrEqual(Math.max(...full));
  });
  it('goes from small to large, each size once', () => {
    expect(sizesOf('keys', { sizes: [100_000, 1_000, 100_000, 20_000] })).toEqual([1_000, 20_000, 100_000]);
  });
  it('may end early, but not before its first size', () => {
    expect(sizesOf('history', { upTo: 1_000_000 })).toEqual([100_000, 300_000, 1_000_000]);
    expect(() => sizesOf('history', { quick: true, upTo: 10 })).toThrow(RangeError);
  });
  it('refuses sizes that are none', () => {
    for (const size of [0, 1.5, Number.NaN]) expect(() => settingOf('value', size)).toThrow(RangeError);
  });
});

function cost(size: number, perSecond: number, cpuUs: number): Cost {
  return {
    dimension: 'keys',
    size,
    perSecond: spread([perSecond - 10, perSecond, perSecond + 10]),
    p50: spread([20]),
    p99: spread([40]),
    cpuUs: spread([cpuUs]),
    cpuUsOf: { servers: cpuUs / 2, nats: cpuUs / 4, postgres: cpuUs / 4 },
    memoryMiB: { server: 100, nats: 50, postgres: 70 },
    failures: 0,
    othersUse: 0.01,
  };
}

const recovery: Recovery = {
  dimension: 'keys',
  size: 1_000,
  restartMs: 1_500,
  catchUp: { entries: 40_000, ms: 5_000, isUnderLoad: true, p99AwayMs: 30, p99MeanwhileMs: 60 },
  keys: 1_000,
  snapshotBytes: 2_000_000,
  snapshotMs: 500,
  installMs: 4_000,
};

const cells = (table: Lines, line: number): readonly string[] => table[line] ?? [];

describe('marks', () => {
  it('are for what is more than 20 % away from the first figure, either way', () => {
    expect([79, 80, 100, 120, 121].map((value) => isFlat(value, 100))).toEqual([false, true, true, true, false]);
    expect([isFlat(0, 0), isFlat(1, 0)]).toEqual([true, false]);
  });
  it('stand behind figures of costs', () => {
    const table = costTable('keys', [cost(1_000, 3_000, 400), cost(100_000, 2_500, 480), cost(1_000_000, 2_000, 600)]);
    expect(cells(table, 1).slice(0, 6)).toEqual(['1,000', '3000', '2990..3010', '20', '40', '400']);
    expect(cells(table, 2).slice(1, 6)).toEqual(['2500', '2490..2510', '20', '40', '480']);
    expect(cells(table, 3).slice(1, 6)).toEqual(['2000!', '1990..2010', '20', '40', '600!']);
  });
  it('stand behind rates of recovery', () => {
    const slower = { ...recovery, size: 10_000, keys: 10_000, restartMs: 1_600, installMs: 8_000 };
    const table = recoveryTable('keys', [recovery, slower]);
    expect(cells(table, 1)).toEqual([
      '1,000',
      '1.5',
      '40000',
      '5',
      '8000',
      '30',
      '60',
      '1000',
      '2',
      '0.5',
      '4',
      '2000',
      '4',
      '0.5',
      '250',
    ]);
    expect(cells(table, 2).slice(1, 5)).toEqual(['1.6', '40000', '5', '8000']);
    expect(cells(table, 2).slice(10)).toEqual(['4', '20000!', '8', '0.25!', '1250!']);
  });
  it('say when the load ended before a server had caught up', () => {
    const late = { ...recovery, catchUp: { ...recovery.catchUp, ms: 300_000, isUnderLoad: false } };
    expect(cells(recoveryTable('keys', [late]), 1)[3]).toBe('300 (load ended)');
  });
  it('are not needed without figures', () => {
    expect([costTable('groups', [cost(1, 1, 1)]), recoveryTable('history', [recovery])]).toEqual([[], []]);
  });
});

describe('the picture', () => {
  it('has a panel for each dimension, with a point for each size', () => {
    const about = { date: '2026-01-31T12:30:00Z', versions: { craft: '1' }, machine: { cores: 2 } };
    const costs = [
      cost(1_000, 3_000, 400),
      cost(100_000, 2_500, 480),
      { ...cost(16, 3_000, 400), dimension: 'value' as const },
    ];
    const svg = growthPicture({ ...about, costs, recoveries: [recovery] });
    expect(svg).toContain('keys: us a command, MiB');
    expect(svg).toContain('bytes of a value');
    expect(svg.match(/<circle[^>]*r="3.5"/g)).toHaveLength(3 * 5);
  });
});

describe('memory', () => {
  it('is that of a process with what it has started; 0 when it has ended', () => {
    const { self, gone } = memoryMiB({ self: process.pid, gone: 2 ** 22 + 1 });
    expect(self).toBeGreaterThan(10);
    expect(gone).toBe(0);
  });
});
