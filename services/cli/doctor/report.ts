/** What `craft doctor` prints: a line for each finding, in 80 columns, or an object for programs. Pure. */
import type { Health } from '../health.js';
import { wrapped } from '../table.js';
import type { Finding, FindingLevel } from './check.js';

const COLUMNS = 80;

/** Of the whole: 0 nothing found, 1 warnings, 2 errors. Notes do not count. */
export function exitCodeOf(findings: readonly Finding[]): 0 | 1 | 2 {
  const levels = new Set(findings.map(({ level }) => level));
  return levels.has('error') ? 2 : levels.has('warning') ? 1 : 0;
}

/** @param status what `craft status` says; undefined when the servers could not be asked */
export function reportText(findings: readonly Finding[], status: Health | undefined): string {
  const lines = findings.map(({ level, code, where, what, remedy }) =>
    wrapped(`${level} ${code}: ${where}: ${what}; ${remedy}`, COLUMNS),
  );
  const end = [summary(findings), ...(status === undefined ? [] : [wrapped(`status: ${status.verdict}`, COLUMNS)])];
  return [...lines, ...(lines.length === 0 ? [] : ['']), ...end].join('\n');
}

/** The same for programs. */
export function reportJson(findings: readonly Finding[], status: Health | undefined): object {
  const { level, verdict } = status ?? {};
  const [errors, warnings] = countsOf(findings);
  return { errors, warnings, findings, ...(status !== undefined && { status: { level, verdict } }) };
}

function countsOf(findings: readonly Finding[]): [errors: number, warnings: number] {
  const count = (level: FindingLevel) => findings.filter((one) => one.level === level).length;
  return [count('error'), count('warning')];
}

function summary(findings: readonly Finding[]): string {
  const [errors, warnings] = countsOf(findings);
  if (errors + warnings === 0) return 'found: nothing';
  return `found: ${errors} ${errors === 1 ? 'error' : 'errors'}, ${warnings} ${warnings === 1 ? 'warning' : 'warnings'}`;
}
