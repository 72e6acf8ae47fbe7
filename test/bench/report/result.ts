/** The result of a benchmark: what was measured in each round, and what that comes to. Pure. */
import type { Measured } from '../load/driver.js';
import { OTHERS } from '../processes.js';
import { ratio, type Spread, significant, spread } from '../statistics.js';
import type { Traffic } from '../traffic.js';

/** The process that makes the load: no part of what it measures. */
const LOAD = 'load';

/** One contestant under one load in one round. */
export interface Run {
  readonly contestant: string;
  readonly round: number;
  readonly inFlight: number;
  /** Puts that ended well while measuring. */
  readonly count: number;
  readonly perSecond: number;
  /** Milliseconds, like those below. */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  /** The longest time in which no put ended well. */
  readonly longestGapMs: number;
  /**
   * The longest time for which the load process itself did nothing: a gap that is not longer says
   * little.
   */
  readonly loadStallMs: number;
  /** Microseconds of processor time for each put, by process. */
  readonly cpuUs: Readonly<Record<string, number>>;
  /** The same, of all processes of the contestant together: without the load and others. */
  readonly cpuUsAll: number;
  /** What its NATS servers carried for each put. */
  readonly nats: Traffic;
  /** Also those of the warm-up. */
  readonly failures: Readonly<Record<string, number>>;
}

export function runOf(
  contestant: string,
  round: number,
  inFlight: number,
  { count, perSecond, p50, p99, p999, gaps, ownStallMs, processorSeconds, traffic, failures }: Measured,
): Run {
  const perPut = (value: number): number => (count === 0 ? 0 : significant(value / count));
  const cpuUs = Object.entries(processorSeconds).map(([name, seconds]) => [name, perPut(seconds * 1e6)] as const);
  const own = cpuUs.filter(([name]) => name !== LOAD && name !== OTHERS);
  return {
    contestant,
    round,
    inFlight,
    count,
    perSecond,
    p50,
    p99,
    p999,
    longestGapMs: Math.round(gaps[0]?.lengthMs ?? 0),
    loadStallMs: ownStallMs,
    cpuUs: Object.fromEntries(cpuUs),
    cpuUsAll: significant(own.reduce((sum, [, us]) => sum + us, 0)),
    nats: {
      messagesIn: perPut(traffic.messagesIn),
      messagesOut: perPut(traffic.messagesOut),
      bytesIn: perPut(traffic.bytesIn),
      bytesOut: perPut(traffic.bytesOut),
    },
    failures,
  };
}

/** One contestant under one load, over all rounds. */
export interface Figures {
  readonly contestant: string;
  readonly inFlight: number;
  readonly rounds: number;
  readonly perSecond: Spread;
  readonly p50: Spread;
  readonly p99: Spread;
  readonly longestGapMs: Spread;
  readonly cpuUs: Readonly<Record<string, Spread>>;
  readonly cpuUsAll: Spread;
  readonly nats: Readonly<Record<keyof Traffic, Spread>>;
  /** Summed up. */
  readonly failures: Readonly<Record<string, number>>;
}

/** In the order in which contestants and loads first ran. */
export function figuresOf(runs: readonly Run[]): Figures[] {
  const groups = new Map<string, Run[]>();
  for (const run of runs) {
    const key = `${run.contestant} ${run.inFlight}`;
    groups.set(key, [...(groups.get(key) ?? []), run]);
  }
  return [...groups.values()].map((group) => {
    const over = (figure: (run: Run) => number): Spread => spread(group.map(figure));
    const names = [...new Set(group.flatMap((run) => Object.keys(run.cpuUs)))];
    const failures: Record<string, number> = {};
    for (const [code, count] of group.flatMap((run) => Object.entries(run.failures))) {
      failures[code] = (failures[code] ?? 0) + count;
    }
    return {
      contestant: group[0]?.contestant ?? '',
      inFlight: group[0]?.inFlight ?? 0,
      rounds: group.length,
      perSecond: over((run) => run.perSecond),
      p50: over((run) => run.p50),
      p99: over((run) => run.p99),
      longestGapMs: over((run) => run.longestGapMs),
      cpuUs: Object.fromEntries(names.map((name) => [name, over((run) => run.cpuUs[name] ?? 0)])),
      cpuUsAll: over((run) => run.cpuUsAll),
      nats: {
        messagesIn: over((run) => run.nats.messagesIn),
        messagesOut: over((run) => run.nats.messagesOut),
        bytesIn: over((run) => run.nats.bytesIn),
        bytesOut: over((run) => run.nats.bytesOut),
      },
      failures,
    };
  });
}

/** How two contestants compare under one load, by the rounds that have both. */
export interface Comparison {
  readonly ours: string;
  readonly theirs: string;
  readonly inFlight: number;
  /** Of puts a second: more is better. */
  readonly perSecond: Spread;
  /** Of median latencies: less is better. */
  readonly p50: Spread | undefined;
  /** Of processor time a put: less is better. */
  readonly cpuUsAll: Spread | undefined;
}

/** What is compared besides everything with the peer. */
const PAIRS: readonly (readonly [ours: string, theirs: string])[] = [
  ['craft-committed', 'jetstream-publish'],
  ['craft-sdk', 'etcd'],
  ['craft-applied', 'craft-one-group'],
];
const PEER = 'peer';

export function comparisonsOf(runs: readonly Run[]): Comparison[] {
  const names = [...new Set(runs.map((run) => run.contestant))];
  const withPeer = names.filter((name) => name !== PEER).map((name) => [name, PEER] as const);
  const loads = [...new Set(runs.map((run) => run.inFlight))];
  return [...withPeer, ...PAIRS].flatMap(([ours, theirs]) =>
    loads.flatMap((inFlight) => {
      const compare = (figure: (run: Run) => number): Spread | undefined =>
        ratio(byRound(runs, ours, inFlight, figure), byRound(runs, theirs, inFlight, figure));
      const perSecond = compare((run) => run.perSecond);
      if (perSecond === undefined) return [];
      const p50 = compare((run) => run.p50);
      return [{ ours, theirs, inFlight, perSecond, p50, cpuUsAll: compare((run) => run.cpuUsAll) }];
    }),
  );
}

function byRound(
  runs: readonly Run[],
  contestant: string,
  inFlight: number,
  figure: (run: Run) => number,
): Map<number, number> {
  const wanted = runs.filter((run) => run.contestant === contestant && run.inFlight === inFlight);
  return new Map(wanted.map((run) => [run.round, figure(run)]));
}

/** What the benchmark writes. */
export interface BenchResult {
  readonly date: string;
  /** Of craft and everything that it was measured with. */
  readonly versions: Readonly<Record<string, string>>;
  readonly machine: Readonly<Record<string, string | number>>;
  /** Names of contestants -> how to call them. */
  readonly titles: Readonly<Record<string, string>>;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly comparisons: readonly Comparison[];
  readonly figures: readonly Figures[];
  readonly runs: readonly Run[];
}
