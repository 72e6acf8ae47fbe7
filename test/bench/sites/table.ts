/** What was measured at the sites, as tables. Pure. */
import type { Lines } from '../report/table.js';
import type { Absence } from './cut-off.js';
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
export function sitesTable(rows: readonly Row[]): Lines {
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
  return [header, ...lines];
}

/** The same in fewer columns: at each site `median / 99th percentile (what the delays allow)`. */
export function shortTable(rows: readonly Row[]): Lines {
  const [first] = rows;
  const names = (first?.sites ?? []).map((_, at) => `site ${at + 1}`);
  return [
    ['', 'groups', 'in flight', ...names, 'failures'],
    ...rows.map(({ kind, groups, inFlight, sites, boundsMs }) => [
      kind,
      String(groups),
      String(inFlight),
      ...sites.map(({ p50, p99 }, at) => `${short(p50)} / ${short(p99)} (${short(boundsMs[at] ?? 0)})`),
      String(sites.reduce((sum, { failures }) => sum + failures, 0)),
    ]),
  ];
}

/** What it meant that a site was cut off. */
export function absenceTable(absences: readonly Absence[]): Lines {
  const header = [
    'cut off',
    'groups',
    'for s',
    'others without an answer ms',
    'its local reads',
    'failed',
    'caught up ms',
  ];
  return [
    header,
    ...absences.map(({ site, groups, seconds, gapMs, localReads, catchUpMs }) => [
      site,
      String(groups),
      String(seconds),
      gapMs.map((gap) => gap.toFixed(0)).join(' / '),
      String(localReads.answered),
      String(localReads.failed),
      catchUpMs.toFixed(0),
    ]),
  ];
}

function short(ms: number): string {
  return ms >= 100 ? ms.toFixed(0) : String(Number(ms.toPrecision(3)));
}
