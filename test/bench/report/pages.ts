/** Saved results as the Markdown of a page: figures are not copied by hand. Pure. */
import { SWEEPS } from '../growth/dimensions.js';
import { costTable, type GrowthResult, recoveryTable } from '../growth/table.js';
import { bytesTable, type LeadersResult, linkTable, processorTable } from '../leaders/table.js';
import { described } from '../sites/lateness.js';
import type { SitesResult } from '../sites/result.js';
import { absenceTable, shortTable } from '../sites/table.js';
import { footOf } from './plot.js';
import type { BenchResult } from './result.js';
import { figuresTable, markdown, overview } from './table.js';

type Result = BenchResult | SitesResult | LeadersResult | GrowthResult;

/** What tells little to a reader of a page; the JSON has it. */
const LEFT_OUT = ['near', 'in flight', 'machine', 'NATS MiB', 'Postgres MiB'];

/** Throws TypeError when it is no result of a benchmark. */
export function pageOf(result: unknown): string {
  if (typeof result !== 'object' || result === null) throw new TypeError('not a result of a benchmark');
  const given = result as Result;
  return `${paragraphsOf(given).join('\n\n')}\n`;
}

function paragraphsOf(result: Result): string[] {
  if ('absences' in result) return sites(result);
  if ('links' in result) return leaders(result);
  if ('costs' in result) return growth(result);
  if ('comparisons' in result) return bench(result);
  throw new TypeError('not a result of a benchmark');
}

function about(result: Result, more: string): string {
  return footOf(result, more).join('\n');
}

function sites(result: SitesResult): string[] {
  const { topology, profile, jitterMs, clocksMs, ownServer, rows, absences, lateness } = result;
  const how = [
    `one NATS ${topology}`,
    `delays one way ${profile.name} ms, jitter ${jitterMs} ms`,
    `clocks ahead by ${clocksMs.join(', ')} ms`,
    `clients name ${ownServer ? 'the server of their site' : 'no server'}`,
    described(lateness),
  ];
  return [
    about(result, how.join('; ')),
    'At each site: median / 99th percentile (what the delays allow), milliseconds.',
    markdown(shortTable(rows)),
    ...(absences.length === 0 ? [] : [markdown(absenceTable(absences))]),
  ];
}

function leaders(result: LeadersResult): string[] {
  const { links, processors } = result;
  return [
    about(result, 'one run'),
    'Narrow links to NATS:',
    markdown(linkTable(links), LEFT_OUT),
    'Bytes for each command on the link that sends most:',
    markdown(bytesTable(links)),
    ...(processors.length === 0 ? [] : ['Little processor time:', markdown(processorTable(processors), LEFT_OUT)]),
  ];
}

function growth(result: GrowthResult): string[] {
  const { costs, recoveries } = result;
  const dimensions = [...new Set(costs.map(({ dimension }) => dimension))];
  const tables = dimensions.flatMap((dimension) => [
    `${dimension}, ${SWEEPS[dimension].title}. Expected: ${SWEEPS[dimension].expectation}.`,
    ...[costTable(dimension, costs), recoveryTable(dimension, recoveries)]
      .filter(({ length }) => length > 0)
      .map((lines) => markdown(lines, LEFT_OUT)),
  ]);
  return [about(result, 'medians over the rounds'), ...tables];
}

function bench(result: BenchResult): string[] {
  const rounds = Math.max(0, ...result.figures.map((one) => one.rounds));
  return [
    about(result, `medians of ${rounds} rounds`),
    'Puts a second, and the ratio to the peer of the same round:',
    markdown(overview(result, 'peer')),
    'All figures:',
    markdown(figuresTable(result.figures)),
  ];
}
