/** How long nobody succeeded around each fault of a history. */
import { pairAttempts } from './attempts.js';
import type { HistoryEvent } from './format.js';

export interface Outages {
  readonly count: number;
  /** Longest time without a success that begins while the fault lasts (milliseconds), of each fault, ascending. */
  readonly gapsMs: readonly number[];
}

/** By the name of the fault, from the notes `begin NAME` and `end NAME…`. */
export function outages(events: readonly HistoryEvent[]): Map<string, Outages> {
  const successes = pairAttempts(events)
    .flatMap(({ completion }) => (completion?.type === 'ok' ? [completion.time] : []))
    .sort((a, b) => a - b);
  const found = new Map<string, number[]>();
  let begun: { name: string; time: number } | undefined;
  for (const event of events) {
    if (event.type !== 'info') continue;
    const [verb, name = ''] = event.text.split(/[ :]/);
    if (verb === 'begin') begun = { name, time: event.time };
    if (verb !== 'end' || begun?.name !== name) continue;
    const gap = longestGap(successes, begun.time, event.time) / 1_000;
    found.set(
      name,
      [...(found.get(name) ?? []), gap].sort((a, b) => a - b),
    );
    begun = undefined;
  }
  return new Map([...found].map(([name, gapsMs]) => [name, { count: gapsMs.length, gapsMs }]));
}

/** Of those that begin at the last success before `from`, or later, but not after `to` (microseconds). */
function longestGap(times: readonly number[], from: number, to: number): number {
  let longest = 0;
  for (const [at, time] of times.entries()) {
    const next = times[at + 1];
    if (next === undefined || next < from || time > to) continue;
    longest = Math.max(longest, next - Math.max(time, from));
  }
  return longest;
}

export function outagesTable(all: ReadonlyMap<string, Outages>): string[] {
  const row = (cells: readonly (string | number)[]) =>
    cells.map((cell, at) => (at === 0 ? String(cell).padEnd(10) : String(cell).padStart(16))).join('');
  return [
    row(['fault', 'times', 'median gap ms', 'worst gap ms']),
    ...[...all].map(([name, { count, gapsMs }]) =>
      row([name, count, (gapsMs[gapsMs.length >> 1] ?? 0).toFixed(0), (gapsMs[gapsMs.length - 1] ?? 0).toFixed(0)]),
    ),
  ];
}
