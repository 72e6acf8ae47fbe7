/** How late the lines between the sites were: the error of the benchmark itself. Pure. */
import { median } from '../statistics.js';

/** Of pieces on all lines, beyond their delay (milliseconds). */
export interface Lateness {
  readonly p50: number;
  readonly p99: number;
}

/** Over several figures: the usual one, and the worst. */
export interface LatenessSummary {
  /** The median of the medians. */
  readonly p50: number;
  readonly p50Max: number;
  /** The highest of the 99th percentiles. */
  readonly p99Max: number;
}

/** Throws RangeError when there is none. */
export function summaryOf(all: readonly Lateness[]): LatenessSummary {
  return {
    p50: median(all.map(({ p50 }) => p50)),
    p50Max: Math.max(...all.map(({ p50 }) => p50)),
    p99Max: Math.max(...all.map(({ p99 }) => p99)),
  };
}

export function described({ p50, p50Max, p99Max }: LatenessSummary): string {
  return `the lines were late by ${p50} ms (p50; at worst ${p50Max} ms), and by at most ${p99Max} ms (p99)`;
}
