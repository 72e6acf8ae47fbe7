/** How long nobody succeeded around each kind of fault. */
import type { Strike } from './nemesis.js';

export interface Outages {
  /**
   * Longest time without a success that begins while the fault lasts (milliseconds), of each fault,
   * ascending.
   */
  readonly gapsMs: readonly number[];
  /** The same for the group whose leader was killed, where one was. */
  readonly groupGapsMs: readonly number[];
  /** From when a fault was healed until the cluster was whole (milliseconds), ascending. */
  readonly recoveriesMs: readonly number[];
}

/** Times of success in ascending order, microseconds. */
export interface Successes {
  /** Until when a client tried: what has not come back by then was away until then. */
  readonly endUs: number;
  readonly all: readonly number[];
  /** Of one group. */
  readonly ofGroup: (group: number) => readonly number[];
}

/** By the name of the fault. */
export function outages(strikes: readonly Strike[], successes: Successes): Map<string, Outages> {
  const names = [...new Set(strikes.map(({ name }) => name))];
  return new Map(
    names.map((name) => [
      name,
      outagesOf(
        strikes.filter((strike) => strike.name === name),
        successes,
      ),
    ]),
  );
}

function outagesOf(strikes: readonly Strike[], { endUs: lastUs, all, ofGroup }: Successes): Outages {
  const gapMs = (times: readonly number[], { beginUs, endUs }: Strike): number =>
    longestGap(times, beginUs, endUs, lastUs) / 1_000;
  const ascending = (times: readonly number[]): number[] => [...times].sort((a, b) => a - b);
  const led = strikes.flatMap((strike) => (strike.group === undefined ? [] : [{ strike, group: strike.group }]));
  return {
    gapsMs: ascending(strikes.map((strike) => gapMs(all, strike))),
    groupGapsMs: ascending(led.map(({ strike, group }) => gapMs(ofGroup(group), strike))),
    recoveriesMs: ascending(strikes.map(({ endUs, wholeUs }) => (wholeUs - endUs) / 1_000)),
  };
}

/**
 * Of those that begin at the last success before `from`, or later, but not after `to`, until `end`
 * at most (microseconds).
 */
export function longestGap(times: readonly number[], from: number, to: number, end: number): number {
  let longest = 0;
  let before = from;
  for (const time of [...times, end]) {
    // After the end only those who look at what came of it succeed, and nobody tried all the while
    // before.
    if (time >= from && before <= to) longest = Math.max(longest, Math.min(time, end) - before);
    before = Math.max(from, time);
  }
  return longest;
}

/** Of figures in ascending order; 0 when there is none. */
export function medianAndWorst(ascending: readonly number[]): [median: number, worst: number] {
  const { length } = ascending;
  const low = ascending[Math.floor((length - 1) / 2)] ?? 0;
  const high = ascending[Math.floor(length / 2)] ?? 0;
  return [(low + high) / 2, ascending[length - 1] ?? 0];
}

export function outagesTable(all: ReadonlyMap<string, Outages>): string[] {
  const row = (cells: readonly (string | number)[]) =>
    cells.map((cell, at) => (at === 0 ? String(cell).padEnd(15) : String(cell).padStart(16))).join('');
  const lines = [row(['fault', 'times', 'median gap ms', 'worst gap ms', 'median whole ms', 'worst whole ms'])];
  for (const [name, { gapsMs, recoveriesMs }] of all) {
    const figures = [...medianAndWorst(gapsMs), ...medianAndWorst(recoveriesMs)].map((ms) => ms.toFixed(0));
    lines.push(row([name, gapsMs.length, ...figures]));
  }
  for (const [name, { groupGapsMs }] of all) {
    if (groupGapsMs.length === 0) continue;
    const [median, worst] = medianAndWorst(groupGapsMs).map((ms) => ms.toFixed(0));
    lines.push(
      `${name} of a leader: its group was away for ${median} ms (median of ${groupGapsMs.length}), ${worst} ms at worst`,
    );
  }
  return lines;
}
