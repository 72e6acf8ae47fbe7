/** What was measured at the sites, as text. Pure. */
import { align } from '../report/table.js';
import type { Lateness } from './lateness.js';
import type { Kind, Measured } from './measure.js';

export interface Row {
  readonly groups: number;
  readonly kind: Kind;
  readonly inFlight: number;
  /** The site of each group's leader, counted from 0. */
  readonly leaders: readonly number[];
  /** By site. */
  readonly sites: readonly Measured[];
  /** What the delays alone allow, by site (milliseconds). */
  readonly boundsMs: readonly number[];
  /** Of the lines meanwhile. */
  readonly lateness: Lateness;
}

/**
 * A line for each figure; at each site the median, the 99th percentile, and what the delays allow.
 */
export function sitesTable(rows: readonly Row[]): string {
  const count = Math.max(0, ...rows.map(({ sites }) => sites.length));
  const names = Array.from({ length: count }, (_, at) => `site ${at + 1}`);
  const header = ['', 'groups', 'in flight', ...names.flatMap((name) => [`${name} p50`, 'p99', 'bound']), 'failures'];
  const lines = rows.map(({ kind, groups, inFlight, sites, boundsMs }) => [
    kind,
    String(groups),
    String(inFlight),
    ...sites.flatMap(({ p50, p99 }, at) => [short(p50), short(p99), short(boundsMs[at] ?? 0)]),
    String(sites.reduce((sum, { failures }) => sum + failures, 0)),
  ]);
  return align([header, ...lines]);
}

function short(ms: number): string {
  return ms >= 100 ? ms.toFixed(0) : String(Number(ms.toPrecision(3)));
}
