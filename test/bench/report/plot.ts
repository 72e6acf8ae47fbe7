/**
 * Results as SVG pictures: panels side by side, both axes logarithmic, with a legend and a foot.
 * `plot` makes the one of `npm run bench`: puts a second, latency and processor time against
 * requests in flight. Each median has a bar from the lowest to the highest round. Pure.
 */
import type { Spread } from '../statistics.js';
import type { BenchResult, Figures } from './result.js';

interface Point {
  readonly x: number;
  readonly y: Spread;
}
export interface Series {
  readonly title: string;
  readonly color: string;
  readonly points: readonly Point[];
}

/** One diagram of a picture. */
export interface Panel {
  readonly title: string;
  /** What the horizontal axis counts. */
  readonly xTitle: string;
  readonly series: readonly Series[];
}

export interface Picture {
  readonly title: string;
  readonly panels: readonly Panel[];
  /** Lines below the legend. */
  readonly foot: readonly string[];
}

/** A logarithmic axis: from values to places in the picture. */
export interface Axis {
  readonly ticks: readonly number[];
  place(value: number): number;
}

/**
 * `low` and `high` become the ends `from` and `to`. Ticks are powers of ten, with 2 and 5 between
 * them where fewer than three powers lie on the axis. Throws RangeError unless 0 < low < high.
 */
export function logAxis(low: number, high: number, from: number, to: number): Axis {
  if (!(low > 0 && high > low)) throw new RangeError(`no logarithmic axis from ${low} to ${high}`);
  const place = (value: number): number => from + ((to - from) * Math.log(value / low)) / Math.log(high / low);
  const powers: number[] = [];
  for (let at = Math.floor(Math.log10(low)); at <= Math.ceil(Math.log10(high)); at += 1) powers.push(10 ** at);
  const within = (values: readonly number[]): number[] =>
    values.filter((value) => value >= low * 0.999 && value <= high * 1.001);
  const ticks = within(powers);
  return {
    place,
    ticks: ticks.length >= 3 ? ticks : within(powers.flatMap((power) => [1, 2, 5].map((n) => n * power))),
  };
}

/** Told apart also by readers that do not see all colours alike (Okabe and Ito). */
const COLORS = ['#0072b2', '#d55e00', '#56b4e9', '#000000', '#009e73', '#cc79a7', '#e69f00', '#7f7f7f'];

/** The colour of the series at this place; colours repeat after eight. */
export function colorOf(at: number): string {
  return COLORS[at % COLORS.length] ?? '#000000';
}

const TITLE = 'Puts into three replicas, every log synced before it acknowledges';
const PANEL = { width: 330, height: 330, gap: 80, left: 70, top: 70 };
const COLUMNS = 3;
const LEGEND_ROW = 18;

export function plot(result: BenchResult): string {
  const names = [...new Set(result.figures.map((one) => one.contestant))];
  const panelOf = (title: string, figure: (one: Figures) => Spread): Panel => ({
    title,
    xTitle: 'requests in flight',
    series: names.map((name, at) => ({
      title: result.titles[name] ?? name,
      color: colorOf(at),
      points: result.figures
        .filter((one) => one.contestant === name && figure(one).min > 0)
        .map((one) => ({ x: one.inFlight, y: figure(one) })),
    })),
  });
  return picture({
    title: TITLE,
    panels: [
      panelOf('puts a second', (one) => one.perSecond),
      panelOf('median latency, ms', (one) => one.p50),
      panelOf('processor time a put, us', (one) => one.cpuUsAll),
    ],
    foot: footOf(result, rounds(result.figures)),
  });
}

/** What a result was measured with, on, and when. `more`: ends the last line. */
export function footOf(
  { versions, machine, date }: Pick<BenchResult, 'versions' | 'machine' | 'date'>,
  more: string,
): string[] {
  return [listOf(versions), `${listOf(machine)}; ${date.slice(0, 10)}; ${more}`];
}

/** Up to three panels a row. The legend names each series once, wherever it first appears. */
export function picture({ title, panels, foot }: Picture): string {
  const width = PANEL.left + COLUMNS * (PANEL.width + PANEL.gap) - PANEL.gap + 20;
  const rowHeight = PANEL.top + PANEL.height + 44;
  const bodies = panels.map((one, at) => {
    const x = (at % COLUMNS) * (PANEL.width + PANEL.gap);
    const y = Math.floor(at / COLUMNS) * rowHeight;
    return `<g transform="translate(${x} ${y})">${panel(one)}</g>`;
  });
  const named = new Map(panels.flatMap(({ series }) => series.map((one) => [one.title, one.color] as const)));
  const legendTop = Math.max(1, Math.ceil(panels.length / COLUMNS)) * rowHeight + 20;
  const legend = [...named].map(([name, color], at) => {
    const x = PANEL.left + (at % COLUMNS) * (PANEL.width + PANEL.gap);
    const y = legendTop + Math.floor(at / COLUMNS) * LEGEND_ROW;
    return `<circle cx="${x}" cy="${y - 4}" r="5" fill="${color}"/>${text(x + 12, y, name)}`;
  });
  const footTop = legendTop + Math.ceil(named.size / COLUMNS) * LEGEND_ROW + 16;
  const lines = foot.map((line, at) => text(PANEL.left, footTop + at * LEGEND_ROW, line, { fill: '#555555' }));
  const height = footTop + foot.length * LEGEND_ROW;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`,
    ' font-family="Helvetica, Arial, sans-serif" font-size="12">',
    `<title>${escaped(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(PANEL.left, 30, title, { 'font-size': 16 }),
    ...bodies,
    ...legend,
    ...lines,
    '</svg>',
    '',
  ].join('\n');
}

/** One diagram with its axes. Nothing but its title when there is no point. */
function panel({ title, xTitle, series: all }: Panel): string {
  const { width, height, left, top } = PANEL;
  const points = all.flatMap((series) => series.points);
  const heading = text(left, top - 12, title, { 'font-weight': 'bold' });
  if (points.length === 0) return heading;
  const xs = points.map((point) => point.x);
  const x = logAxis(Math.min(...xs) / 1.3, Math.max(...xs) * 1.3, left, left + width);
  const lowest = Math.min(...points.map(({ y }) => y.min));
  const highest = Math.max(...points.map(({ y }) => y.max));
  const y = logAxis(lowest / 1.3, highest * 1.3, top + height, top);
  const bottom = top + height;
  const frame = `<rect x="${left}" y="${top}" width="${width}" height="${height}" fill="none" stroke="#999999"/>`;
  const horizontal = y.ticks.map((tick) => {
    const at = round(y.place(tick));
    const line = `<line x1="${left}" x2="${left + width}" y1="${at}" y2="${at}" stroke="#e2e2e2"/>`;
    return line + text(left - 6, at + 4, label(tick), { 'text-anchor': 'end' });
  });
  const vertical = [...new Set(xs)].map((tick) => {
    const at = round(x.place(tick));
    const line = `<line x1="${at}" x2="${at}" y1="${top}" y2="${bottom}" stroke="#e2e2e2"/>`;
    return line + text(at, bottom + 16, label(tick), { 'text-anchor': 'middle' });
  });
  const under = text(left + width / 2, bottom + 34, xTitle, { 'text-anchor': 'middle' });
  return [heading, ...horizontal, ...vertical, frame, under, ...all.map((series) => curve(series, x, y))].join('\n');
}

function curve({ title, color, points }: Series, x: Axis, y: Axis): string {
  const at = [...points]
    .sort((a, b) => a.x - b.x)
    .map((point) => ({
      x: round(x.place(point.x)),
      median: round(y.place(point.y.median)),
      min: round(y.place(point.y.min)),
      max: round(y.place(point.y.max)),
    }));
  const line = at.map((point) => `${point.x},${point.median}`).join(' ');
  return [
    `<g stroke="${color}" fill="none"><title>${escaped(title)}</title>`,
    `<polyline points="${line}" stroke-width="2"/>`,
    ...at.map((point) => `<line x1="${point.x}" x2="${point.x}" y1="${point.min}" y2="${point.max}"/>`),
    ...at.map((point) => `<circle cx="${point.x}" cy="${point.median}" r="3.5" fill="${color}"/>`),
    '</g>',
  ].join('');
}

function rounds(figures: readonly Figures[]): string {
  const most = Math.max(0, ...figures.map((one) => one.rounds));
  return most === 1 ? 'one round' : `medians of ${most} rounds, bars from the lowest to the highest`;
}

/** 0.5, 20, 5,000: what lies on an axis needs no more than that. */
function label(value: number): string {
  return Number(value.toPrecision(6)).toLocaleString('en-US');
}

function listOf(values: Readonly<Record<string, string | number>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
}

function text(x: number, y: number, content: string, more: Readonly<Record<string, string | number>> = {}): string {
  const attributes = Object.entries(more).map(([name, value]) => ` ${name}="${value}"`);
  return `<text x="${x}" y="${y}"${attributes.join('')}>${escaped(content)}</text>`;
}

function escaped(content: string): string {
  return content.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
