/** Far sites: bounds, the error of the lines, tables. */
import { describe, expect, it } from 'vitest';
import { described, summaryOf } from '../../bench/sites/lateness.js';
import { boundsOf, profileOf } from '../../bench/sites/profiles.js';
import { absenceTable, type Row, shortTable, sitesTable } from '../../bench/sites/table.js';

describe('the error of the lines', () => {
  it('is the usual one and the worst of all figures, not that of the last', () => {
    const all = [
      { p50: 0.5, p99: 9 },
      { p50: 1.25, p99: 3 },
      { p50: 0.25, p99: 2 },
    ];
    expect(summaryOf(all)).toEqual({ p50: 0.5, p50Max: 1.25, p99Max: 9 });
    expect(described(summaryOf(all))).toBe(
      'the lines were late by 0.5 ms (p50; at worst 1.25 ms), and by at most 9 ms (p99)',
    );
    expect(() => summaryOf([])).toThrow(RangeError);
  });
});

describe('bounds', () => {
  const profile = profileOf('', [15, 40, 60]);
  it('are the ways of messages: of the nearest leader, its majority, and of the other leaders', () => {
    expect(profile.delayMs).toEqual([
      [0, 15, 40],
      [15, 0, 60],
      [40, 60, 0],
    ]);
    const [near, , far] = [0, 1, 2].map((site) => boundsOf(profile, [0, 1, 2], site));
    expect(near).toEqual({ committed: 30, ordered: 40, applied: 40, linearizable: 30, local: 0, sync: 30 });
    expect(far).toMatchObject({ committed: 80, ordered: 80, linearizable: 80 });
    // With one leader its site is far from the others.
    expect(boundsOf(profile, [0], 2).committed).toBe(110);
  });
  it('of five sites contain the way by a third, which makes the majority', () => {
    const five = profileOf('', [15, 40, 60, 30, 50, 70, 20, 45, 65, 35]);
    const ordered = five.delayMs.map((_, site) => boundsOf(five, [0, 1, 2, 3, 4], site).ordered);
    // From site 3 to site 1 takes 40 ms, by site 2 75.
    expect(ordered).toEqual([75, 90, 120, 70, 70]);
  });
  it('need delays of all pairs', () => {
    for (const given of [[1, 2], [], [1, -1, 2]]) expect(() => profileOf('', given)).toThrow(RangeError);
  });
});

describe('the tables', () => {
  const row: Row = {
    groups: 3,
    kind: 'committed',
    inFlight: 1,
    leaders: [0, 1],
    sites: [
      { count: 100, perSecond: 10, p50: 35.33, p99: 38.2, failures: 1 },
      { count: 100, perSecond: 10, p50: 124.6, p99: 140, failures: 2 },
    ],
    boundsMs: [30, 110],
    lateness: { p50: 0.5, p99: 2 },
  };
  it('set the median of each site beside what the delays allow', () => {
    expect(sitesTable([row])[1]).toEqual(['committed', '3', '1', '35.3', '38.2', '30', '125', '140', '110', '3']);
    expect(shortTable([row])).toEqual([
      ['', 'groups', 'in flight', 'site 1', 'site 2', 'failures'],
      ['committed', '3', '1', '35.3 / 38.2 (30)', '125 / 140 (110)', '3'],
    ]);
  });
  it('say what it meant that a site was cut off', () => {
    const absence = {
      groups: 3,
      site: 'site3',
      seconds: 30,
      gapMs: [1_200.4, 900],
      localReads: { answered: 2_000, failed: 0 },
      catchUpMs: 2_345.6,
    };
    expect(absenceTable([absence])[1]).toEqual(['site3', '3', '30', '1200 / 900', '2000', '0', '2346']);
  });
});
