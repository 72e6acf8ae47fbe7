/**
 * A history in figures: operations by kind and outcome, and the longest time in which none of a
 * kind succeeded.
 */
import { type Attempt, pairAttempts } from './attempts.js';
import type { HistoryEvent, Outcome } from './format.js';

export interface KindFigures {
  readonly outcomes: Readonly<Record<Outcome, number>>;
  /**
   * Milliseconds without a success, at most; from the first invocation to the last success of any
   * kind.
   */
  readonly longestGapMs: number;
}

/**
 * By kind: `read`, and writes by acknowledgement (`applied`, `ordered`, `committed`); `all` is all
 * of them.
 */
export function historyFigures(events: readonly HistoryEvent[]): Map<string, KindFigures> {
  const attempts = pairAttempts(events);
  const kinds = new Map<string, Attempt[]>([['all', attempts]]);
  for (const attempt of attempts) {
    const { f, ack = 'applied' } = attempt.invocation;
    const kind = f === 'read' ? 'read' : ack;
    const same = kinds.get(kind);
    if (same === undefined) kinds.set(kind, [attempt]);
    else same.push(attempt);
  }
  const from = attempts[0]?.invocation.time ?? 0;
  const to = Math.max(from, ...successes(attempts).slice(-1));
  return new Map([...kinds].map(([kind, some]) => [kind, figures(some, from, to)]));
}

function figures(attempts: readonly Attempt[], from: number, to: number): KindFigures {
  const outcomes = { ok: 0, fail: 0, unknown: 0 };
  for (const { completion } of attempts) outcomes[completion?.type ?? 'unknown'] += 1;
  let last = from;
  let gap = 0;
  for (const time of [...successes(attempts), to]) {
    gap = Math.max(gap, time - last);
    last = time;
  }
  return { outcomes, longestGapMs: gap / 1_000 };
}

/** Times of success, ascending. */
function successes(attempts: readonly Attempt[]): number[] {
  const times = attempts.flatMap(({ completion }) => (completion?.type === 'ok' ? [completion.time] : []));
  return times.sort((a, b) => a - b);
}

/** As lines of a table. */
export function figuresTable(all: ReadonlyMap<string, KindFigures>): string[] {
  const row = (name: string, cells: readonly (string | number)[]): string =>
    `${name.padEnd(10)}${cells.map((cell) => String(cell).padStart(10)).join('')}`;
  return [
    row('', ['ok', 'failed', 'unknown', 'gap ms']),
    ...[...all].map(([kind, { outcomes, longestGapMs }]) =>
      row(kind, [outcomes.ok, outcomes.fail, outcomes.unknown, longestGapMs.toFixed(0)]),
    ),
  ];
}
