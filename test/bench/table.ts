/** Results as text for people. */
import type { Measured } from './driver.js';

export interface Row extends Measured {
  /** What ran: `craft applied`, `jetstream R3` … */
  readonly what: string;
  readonly inFlight: number;
}

export function resultTable(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.what,
    String(row.inFlight),
    String(row.perSecond),
    row.p50.toFixed(2),
    row.p99.toFixed(2),
    row.max.toFixed(2),
    failures(row),
  ]);
  return align([['', 'in flight', 'a second', 'p50 ms', 'p99 ms', 'max ms', 'failures'], ...cells]);
}

/** Percent of one processor, a column for each process that any row knows. */
export function processorTable(rows: readonly Row[]): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row.processors)))];
  const cells = rows.map((row) => [
    row.what,
    String(row.inFlight),
    ...names.map((name) => String(row.processors[name] ?? '')),
    String(Object.values(row.processors).reduce((sum, percent) => sum + percent, 0)),
  ]);
  return align([['processor %', 'in flight', ...names, 'all'], ...cells]);
}

function failures(row: Row): string {
  const kinds = Object.entries(row.failures);
  return kinds.length === 0 ? '0' : kinds.map(([kind, count]) => `${count} ${kind}`).join(', ');
}

/** The first column to the left, the others to the right. */
function align(lines: readonly (readonly string[])[]): string {
  const columns = Math.max(...lines.map((line) => line.length));
  const widths = Array.from({ length: columns }, (_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)));
  return lines
    .map((line) => line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))))
    .map((line) => line.join('  ').trimEnd())
    .join('\n');
}
