/** What the checks of one part of the doctor find, each alone. */
import { expect, it } from 'vitest';
import type { Check } from '../../../../services/cli/doctor/check.js';
import { examine } from '../../../../services/cli/doctor/examine.js';
import type { Facts } from '../../../../services/cli/doctor/facts.js';
import { HEALTHY } from './facts.js';

/** Code, what is changed in a healthy cluster, and what is said: place, what, remedy. */
export type Row = readonly [string, Partial<Facts>, RegExp];

/** Tests of `checks`, to be called at the top of a file: each of them has a row. */
export function itFinds(checks: readonly Check[], rows: readonly Row[]): void {
  it.each(rows)('%s is found alone, with its place and a remedy: %#', (code, change, said) => {
    const found = examine({ ...HEALTHY, ...change });
    expect(found.map((one) => one.code)).toEqual([code]);
    const [{ where, what, remedy } = { where: '', what: '', remedy: '' }] = found;
    expect(`${where}: ${what}; ${remedy}`).toMatch(said);
    expect([where, what, remedy].filter((one) => one === '')).toEqual([]);
  });

  it('each check has a row', () => {
    expect([...new Set(rows.map(([code]) => code))].sort()).toEqual(checks.map(({ code }) => code).sort());
  });
}
