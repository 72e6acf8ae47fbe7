/** What a benchmark makes of its runs: figures, ratios, tables, the picture. */
import { describe, expect, it } from 'vitest';
import type { Measured } from '../../bench/load/driver.js';
import { pageOf } from '../../bench/report/pages.js';
import { logAxis, plot } from '../../bench/report/plot.js';
import { type BenchResult, comparisonsOf, figuresOf, type Run, runOf } from '../../bench/report/result.js';
import { align, figuresTable, markdown } from '../../bench/report/table.js';

const NO_TRAFFIC = { messagesIn: 0, messagesOut: 0, bytesIn: 0, bytesOut: 0 };

function measured(more: Partial<Measured> = {}): Measured {
  return {
    count: 1_000,
    perSecond: 100,
    p50: 4,
    p99: 9,
    p999: 10,
    max: 11,
    succeeded: 1_200,
    failures: {},
    gaps: [{ beginMs: 5, lengthMs: 41.6, inFlight: 64 }],
    ownStallMs: 3,
    offered: 0,
    due: 0,
    processorSeconds: {},
    traffic: NO_TRAFFIC,
    ...more,
  };
}

function run(contestant: string, round: number, inFlight: number, perSecond: number, p50 = 1): Run {
  return runOf(contestant, round, inFlight, measured({ perSecond, p50, processorSeconds: { s1: 100 / perSecond } }));
}

describe('a run', () => {
  it('has processor time and messages for each put; the load and others are not the contestant', () => {
    const processorSeconds = { s1: 0.5, nats: 0.25, load: 3, others: 7 };
    const traffic = { messagesIn: 24_500, messagesOut: 27_000, bytesIn: 2_000_000, bytesOut: 3_000_000 };
    expect(runOf('craft-applied', 2, 64, measured({ processorSeconds, traffic }))).toMatchObject({
      cpuUs: { s1: 500, nats: 250, load: 3_000, others: 7_000 },
      cpuUsAll: 750,
      nats: { messagesIn: 24.5, messagesOut: 27, bytesIn: 2_000, bytesOut: 3_000 },
      longestGapMs: 42,
    });
  });
  it('without any put has no costs for each', () => {
    const { cpuUsAll, nats } = runOf('peer', 1, 1, measured({ count: 0, processorSeconds: { site1: 2 } }));
    expect(cpuUsAll).toBe(0);
    expect(nats).toEqual(NO_TRAFFIC);
  });
});

describe('figures', () => {
  it('are medians and spreads over the rounds of one contestant under one load', () => {
    const runs = [
      run('peer', 1, 64, 300),
      run('peer', 1, 512, 900),
      run('peer', 2, 64, 100),
      run('peer', 3, 64, 120),
      run('craft-applied', 1, 64, 50),
    ];
    const figures = figuresOf(runs);
    expect(figures.map((one) => [one.contestant, one.inFlight, one.rounds])).toEqual([
      ['peer', 64, 3],
      ['peer', 512, 1],
      ['craft-applied', 64, 1],
    ]);
    expect(figures[0]?.perSecond).toEqual({ median: 120, min: 100, max: 300 });
  });
  it('sum up failures', () => {
    const failed = (round: number, failures: Record<string, number>) => runOf('peer', round, 1, measured({ failures }));
    const [figures] = figuresOf([failed(1, { timeout: 2 }), failed(2, { timeout: 3, refused: 1 })]);
    expect(figures?.failures).toEqual({ timeout: 5, refused: 1 });
  });
});

describe('comparisons', () => {
  it('are of everything with the peer, and of the pairs that there are', () => {
    const runs = [
      run('craft-applied', 1, 64, 500, 3),
      run('peer', 1, 64, 1_000, 2),
      run('craft-one-group', 1, 64, 250, 6),
    ];
    const all = comparisonsOf(runs).map(({ ours, theirs, perSecond, p50 }) => [
      `${ours} / ${theirs}`,
      perSecond.median,
      p50?.median,
    ]);
    expect(all).toEqual([
      ['craft-applied / peer', 0.5, 1.5],
      ['craft-one-group / peer', 0.25, 3],
      ['craft-applied / craft-one-group', 2, 0.5],
    ]);
  });
  it('are of the same load only', () => {
    expect(comparisonsOf([run('craft-applied', 1, 64, 500), run('peer', 1, 512, 1_000)])).toEqual([]);
  });
});

describe('a logarithmic axis', () => {
  it('puts values at equal distances for equal ratios', () => {
    const axis = logAxis(1, 10_000, 400, 0);
    expect([1, 100, 10_000].map((value) => Math.round(axis.place(value)))).toEqual([400, 200, 0]);
    expect(axis.ticks).toEqual([1, 10, 100, 1_000, 10_000]);
  });
  it('has more ticks where few powers of ten lie on it', () => {
    expect(logAxis(3, 60, 0, 1).ticks).toEqual([5, 10, 20, 50]);
  });
  it('has no zero', () => {
    expect(() => logAxis(0, 1, 0, 1)).toThrow(RangeError);
    expect(() => logAxis(5, 5, 0, 1)).toThrow(RangeError);
  });
});

function result(runs: readonly Run[]): BenchResult {
  return {
    date: '2026-01-31T12:30:00.000Z',
    versions: { craft: '0.1.0', node: '20.0.0' },
    machine: { cores: 2 },
    titles: { peer: 'JetStream & <consumers>' },
    settings: {},
    comparisons: comparisonsOf(runs),
    figures: figuresOf(runs),
    runs,
  };
}

describe('the picture', () => {
  const svg = plot(result([run('peer', 1, 1, 100), run('peer', 2, 1, 200), run('peer', 1, 100, 10_000)]));

  it('has each median and its spread at the places of their values', () => {
    // From 1 / 1.3 to 130 on 330 points, and from 13,000 up to 100 / 1.3 on as many.
    const tenths = (value: number) => Math.round(value * 10) / 10;
    const x = (value: number) => tenths(70 + (330 * Math.log(value * 1.3)) / Math.log(169));
    const y = (value: number) => tenths(400 - (330 * Math.log((value * 1.3) / 100)) / Math.log(169));
    expect(svg).toContain(`points="${x(1)},${y(150)} ${x(100)},${y(10_000)}"`);
    expect(svg).toContain(`<line x1="${x(1)}" x2="${x(1)}" y1="${y(100)}" y2="${y(200)}"/>`);
  });
  it('says what the axes are, and of what the result is', () => {
    for (const said of ['requests in flight', 'puts a second', 'median latency, ms', 'craft 0.1.0', '2026-01-31']) {
      expect(svg).toContain(said);
    }
  });
  it('is XML whatever contestants are called', () => {
    expect(svg).toContain('JetStream &amp; &lt;consumers&gt;');
    expect(svg).not.toContain('<consumers>');
  });
  it('of nothing still has its titles', () => {
    expect(plot(result([]))).toContain('puts a second');
  });
});

it('a table has its first column to the left, the others to the right', () => {
  expect(
    align([
      ['', 'ms'],
      ['craft', '5'],
      ['p', '1,000'],
    ]),
  ).toBe(['          ms', 'craft      5', 'p      1,000'].join('\n'));
});

it('the table of figures has the median, the spread and the longest gap of any round', () => {
  const text = align(figuresTable(figuresOf([run('peer', 1, 64, 300), run('peer', 2, 64, 100)])));
  expect(text).toMatch(/peer +64 +200 +100\.\.300 .* 42 /);
});

describe('a page', () => {
  const about = { date: '2026-01-31T12:30:00Z', versions: { craft: '1' }, machine: { cores: 2 } };
  it('has columns of Markdown, without those that are not wanted', () => {
    const lines = [
      ['a', 'b', 'c'],
      ['1', '2', '3 | 4'],
    ];
    expect(markdown(lines, ['b'])).toBe('| a | c |\n|---|---:|\n| 1 | 3 \\| 4 |');
  });
  it('sets puts a second of each contestant beside the peer of the same round', () => {
    const runs = [run('craft-applied', 1, 64, 3_000), run('peer', 1, 64, 2_000), run('peer', 1, 512, 9_000)];
    const result: BenchResult = {
      ...about,
      titles: { peer: 'the peer' },
      settings: {},
      comparisons: comparisonsOf(runs),
      figures: figuresOf(runs),
      runs,
    };
    const page = pageOf(JSON.parse(JSON.stringify(result)));
    expect(page).toContain('| in flight | craft-applied | the peer |');
    expect(page).toContain('| 64 | 3,000 (1.50) | 2,000 |\n| 512 |  | 9,000 |');
  });
  it('knows the results of sites, leaders and growth', () => {
    const profile = { name: '15,40,60', delayMs: [] };
    const lateness = { p50: 0.5, p50Max: 1, p99Max: 2 };
    const more = { jitterMs: 1, topology: 'stretched', ownServer: true, clocksMs: [0, 25, 50] };
    const sites = pageOf({ ...about, profile, lateness, ...more, rows: [], absences: [] });
    expect(sites).toContain('one NATS stretched; delays one way 15,40,60 ms');
    expect(sites).toContain('clocks ahead by 0, 25, 50 ms; clients name the server of their site');
    expect(pageOf({ ...about, links: [], processors: [] })).toContain('| servers | groups | value B |');
    expect(pageOf({ ...about, costs: [], recoveries: [] })).toContain('craft 1');
  });
  it('is not made of anything else', () => {
    for (const given of [null, 'text', {}, []]) expect(() => pageOf(given)).toThrow(TypeError);
  });
});
