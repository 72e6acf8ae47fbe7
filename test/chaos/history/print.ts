/** What the checker found, as lines for a terminal. */
import type { Report, Violation } from './checker.js';
import type { Completion, Invocation } from './format.js';

/** Events of one counterexample that are printed; the rest is counted. */
const EVENTS_MAX = 60;
const VIOLATIONS_MAX = 10;

export function reportLines(report: Report): string[] {
  const { verdict, violations, undecided, keys, configurations } = report;
  const lines = violations.slice(0, VIOLATIONS_MAX).flatMap(violationLines);
  if (violations.length > VIOLATIONS_MAX) lines.push(`… and ${violations.length - VIOLATIONS_MAX} violations more`);
  if (undecided.length > 0) lines.push(`undecided keys: ${undecided.join(' ')}`);
  lines.push(`${verdict}: ${keys} keys, ${configurations} configurations, ${violations.length} violations`);
  return lines;
}

function violationLines({ kind, message, key, events }: Violation): string[] {
  const lines = [`${kind}: ${message}${key === undefined ? '' : ` (key ${key})`}`];
  const shown = events.slice(-EVENTS_MAX);
  if (shown.length < events.length) lines.push(`  … ${events.length - shown.length} events before`);
  return [...lines, ...shown.map(eventLine)];
}

function eventLine(event: Invocation | Completion): string {
  const { type, process, time, f, key, value, ifVersion, ack, after, id } = event;
  const parts = [`${String(time).padStart(12)} µs  p${process}`.padEnd(24), type.padEnd(8), f, key];
  if (value !== undefined && (type === 'invoke' || f === 'read')) parts.push(JSON.stringify(value));
  if (type === 'invoke') {
    if (ifVersion !== undefined) parts.push(`ifVersion=${ifVersion}`);
    if (ack !== undefined) parts.push(ack);
    if (after !== undefined) parts.push(`after=${after}`);
    if (id !== undefined) parts.push(`id=${id}`);
  } else {
    const { version, group, timestamp, index, error } = event;
    if (version !== undefined) parts.push(`version=${version}`);
    if (timestamp !== undefined) parts.push(`place=${timestamp}/${group}`);
    if (index !== undefined) parts.push(`index=${index}`);
    if (error !== undefined) parts.push(error);
  }
  return `  ${parts.join(' ')}`;
}
