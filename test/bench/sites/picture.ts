/**
 * What was measured at the sites, as a picture: a panel for each kind of request, median latency by
 * site. Pure.
 */
import { colorOf, footOf, picture, type Series } from '../report/plot.js';
import type { SitesResult } from './result.js';
import type { Row } from './table.js';

export function sitesPicture(result: SitesResult): string {
  const rows = result.rows.filter(({ inFlight }) => inFlight === Math.min(...result.rows.map((row) => row.inFlight)));
  const groups = [...new Set(rows.map((row) => row.groups))];
  const seriesOf = (title: string, at: number, row: Row | undefined, ms: (site: number) => number): Series => ({
    title,
    color: colorOf(at),
    points: (row?.sites ?? [])
      .map((_, site) => ({ x: site + 1, ms: ms(site) }))
      // A logarithmic axis has no place for 0.
      .filter((point) => point.ms > 0)
      .map(({ x, ms: value }) => ({ x, y: { median: value, min: value, max: value } })),
  });
  const panels = [...new Set(rows.map(({ kind }) => kind))].map((kind) => ({
    title: `${kind}: median latency, ms`,
    xTitle: 'site',
    series: groups.flatMap((count, at) => {
      const row = rows.find((one) => one.kind === kind && one.groups === count);
      const name = `${count} ${count === 1 ? 'group' : 'groups'}`;
      return [
        seriesOf(name, 2 * at, row, (site) => row?.sites[site]?.p50 ?? 0),
        seriesOf(`${name}: what the delays allow`, 2 * at + 1, row, (site) => row?.boundsMs[site] ?? 0),
      ];
    }),
  }));
  const { topology, profile, jitterMs, clocksMs, lateness } = result;
  const about = [
    `delays one way ${profile.name} ms, jitter ${jitterMs} ms, clocks at ${clocksMs.join(', ')} ms`,
    `lines late by ${lateness.p50} ms (p50; at worst ${lateness.p50Max} ms)`,
  ];
  return picture({
    title: `Clients at far sites, one NATS ${topology}, ${rows[0]?.inFlight ?? 0} in flight at each site`,
    panels,
    foot: footOf(result, about.join('; ')),
  });
}
