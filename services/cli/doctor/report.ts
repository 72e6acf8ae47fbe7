/**
 * What `craft doctor` prints: a line for each finding, in 80 columns, or an object for programs.
 * Pure.
 */
import type { Health } from '../health.js';
import { wrapped } from '../table.js';
import type { Finding, FindingLevel } from './check.js';
import { type Facts, factOf } from './facts.js';

const COLUMNS = 80;

/**
 * Of the whole: 0 nothing found, 1 warnings, 2 errors. Notes, and what is accepted, do not count.
 */
export function exitCodeOf(findings: readonly Finding[]): 0 | 1 | 2 {
  const levels = new Set(findings.filter(({ accepted }) => !accepted).map(({ level }) => level));
  return levels.has('error') ? 2 : levels.has('warning') ? 1 : 0;
}

/** What was looked at, without credentials. */
export interface LookedAt {
  readonly cluster: string;
  /** The NATS server that answered; undefined when none did. */
  readonly nats: string | undefined;
}

export function lookedAt({ cluster, nats }: Facts): LookedAt {
  return { cluster, nats: factOf(nats)?.address };
}

/** @param status what `craft status` says; undefined when the servers could not be asked */
export function reportText(findings: readonly Finding[], status: Health | undefined, place: LookedAt): string {
  const lines = findings.map(({ level, code, where, what, remedy, accepted }) =>
    wrapped(`${accepted ? 'accepted' : level} ${code}: ${where}: ${what}; ${remedy}`, COLUMNS),
  );
  const looked = `looked at: cluster ${place.cluster}, ${place.nats === undefined ? 'no NATS' : `NATS ${place.nats}`}`;
  const end = [
    wrapped(looked, COLUMNS),
    summary(findings),
    ...(status === undefined ? [] : [wrapped(`status: ${status.verdict}`, COLUMNS)]),
  ];
  return [...lines, ...(lines.length === 0 ? [] : ['']), ...end].join('\n');
}

/** The same for programs. */
export function reportJson(findings: readonly Finding[], status: Health | undefined, place: LookedAt): object {
  const { level, verdict } = status ?? {};
  const [errors, warnings, accepted] = countsOf(findings);
  return {
    ...place,
    errors,
    warnings,
    accepted,
    findings,
    ...(status !== undefined && { status: { level, verdict } }),
  };
}

function countsOf(findings: readonly Finding[]): [errors: number, warnings: number, accepted: number] {
  const count = (level: FindingLevel) => findings.filter((one) => one.level === level && !one.accepted).length;
  return [count('error'), count('warning'), findings.filter(({ accepted }) => accepted).length];
}

function summary(findings: readonly Finding[]): string {
  const [errors, warnings, accepted] = countsOf(findings);
  const end = accepted === 0 ? '' : `, ${accepted} accepted`;
  if (errors + warnings === 0) return `found: nothing${end}`;
  return `found: ${errors} ${errors === 1 ? 'error' : 'errors'}, ${warnings} ${warnings === 1 ? 'warning' : 'warnings'}${end}`;
}
