/** Results as tables, for people and for pages. */
import type { Spread } from '../statistics.js';
import type { BenchResult, Comparison, Figures } from './result.js';

/**
 * Puts a second, by requests in flight and contestant, and in brackets how many times that of
 * `theirs` it is.
 */
export function overview(result: BenchResult, theirs: string): Lines {
  const { titles, figures, comparisons } = result;
  const names = [...new Set(figures.map(({ contestant }) => contestant))];
  const loads = [...new Set(figures.map(({ inFlight }) => inFlight))];
  const cell = (name: string, inFlight: number): string => {
    const figure = figures.find((one) => one.contestant === name && one.inFlight === inFlight);
    if (figure === undefined) return '';
    const ratio = comparisons.find(
      (one) => one.ours === name && one.theirs === theirs && one.inFlight === inFlight,
    )?.perSecond;
    const perSecond = figure.perSecond.median.toLocaleString('en-US', { maximumFractionDigits: 0 });
    return ratio === undefined ? perSecond : `${perSecond} (${ratio.median.toFixed(2)})`;
  };
  return [
    ['in flight', ...names.map((name) => titles[name] ?? name)],
    ...loads.map((inFlight) => [String(inFlight), ...names.map((name) => cell(name, inFlight))]),
  ];
}

/** Medians; the spread of the rounds where it tells how far to trust them. */
export function figuresTable(all: readonly Figures[]): Lines {
  const header = ['', 'in flight', 'puts/s', '(min..max)', 'p50 ms', 'p99 ms', 'gap ms'];
  const besides = ['CPU us', 'NATS in', 'out', 'B in', 'B out', 'failures'];
  const cells = all.map((one) => [
    one.contestant,
    String(one.inFlight),
    short(one.perSecond.median),
    range(one.perSecond),
    short(one.p50.median),
    short(one.p99.median),
    short(one.longestGapMs.max),
    short(one.cpuUsAll.median),
    short(one.nats.messagesIn.median),
    short(one.nats.messagesOut.median),
    short(one.nats.bytesIn.median),
    short(one.nats.bytesOut.median),
    countsOf(one.failures),
  ]);
  return [[...header, ...besides], ...cells];
}

/** Microseconds of processor time a put: a column for each process that any contestant has. */
export function processorTable(all: readonly Figures[]): Lines {
  const names = [...new Set(all.flatMap((one) => Object.keys(one.cpuUs)))];
  const cells = all.map((one) => [
    one.contestant,
    String(one.inFlight),
    ...names.map((name) => {
      const figure = one.cpuUs[name];
      return figure === undefined ? '' : short(figure.median);
    }),
  ]);
  return [['CPU us a put', 'in flight', ...names], ...cells];
}

export function comparisonTable(all: readonly Comparison[]): Lines {
  const cells = all.map(({ ours, theirs, inFlight, perSecond, p50, cpuUsAll }) => [
    `${ours} / ${theirs}`,
    String(inFlight),
    perSecond.median.toFixed(2),
    range(perSecond),
    p50 === undefined ? '' : p50.median.toFixed(2),
    cpuUsAll === undefined ? '' : cpuUsAll.median.toFixed(2),
  ]);
  return [['ratio', 'in flight', 'puts/s', '(min..max)', 'p50', 'CPU a put'], ...cells];
}

/** `12 TIMEOUT_UNKNOWN, 3 timeout`; 0 for none. */
export function countsOf(counts: Readonly<Record<string, number>>): string {
  const kinds = Object.entries(counts);
  return kinds.length === 0 ? '0' : kinds.map(([kind, count]) => `${count} ${kind}`).join(', ');
}

function range({ min, max }: Spread): string {
  return `${short(min)}..${short(max)}`;
}

/** Three digits, or all that lie before the point. */
export function short(value: number): string {
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return String(Number(value.toPrecision(3)));
}

/** Rows of cells, the header first. */
export type Lines = readonly (readonly string[])[];

/**
 * As a table of Markdown: the first column to the left, the others to the right. `without`: columns
 * that are left out, by their header.
 */
export function markdown(lines: Lines, without: readonly string[] = []): string {
  const [header = [], ...rows] = lines;
  const kept = header.flatMap((name, at) => (without.includes(name) ? [] : [at]));
  const line = (cells: readonly string[]): string => `| ${kept.map((at) => escaped(cells[at] ?? '')).join(' | ')} |`;
  const rule = `|${kept.map((_, at) => (at === 0 ? '---' : '---:')).join('|')}|`;
  return [line(header), rule, ...rows.map(line)].join('\n');
}

function escaped(cell: string): string {
  return cell.replaceAll('|', '\\|');
}

/** The first column to the left, the others to the right. */
export function align(lines: Lines): string {
  const columns = Math.max(...lines.map((line) => line.length));
  const widths = Array.from({ length: columns }, (_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)));
  return lines
    .map((line) => line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))))
    .map((line) => line.join('  ').trimEnd())
    .join('\n');
}
