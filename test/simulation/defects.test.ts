/**
 * The simulator can fail: every planted defect is found within the number of seeds that it states.
 */
import { afterAll, describe, expect, it, vi } from 'vitest';
import { campaign } from './campaign.js';
import { DEFECTS, withDefect } from './defects/index.js';
import { simulate } from './simulation.js';

// `npm test` leaves it only what other tests do not need of the processors.
vi.setConfig({ testTimeout: 600_000 });

const found: string[] = [];

describe('planted defects', () => {
  afterAll(() => console.log(found.join('\n')));

  it('are at least fifteen', () => {
    expect(new Set(DEFECTS.map(({ name }) => name)).size).toBeGreaterThanOrEqual(15);
  });

  it.each(DEFECTS.map((defect) => [defect.name, defect] as const))('finds %s', (name, { within, foundBy, shape }) => {
    expect(foundBy ?? 1).toBeLessThanOrEqual(within);
    const all = Array.from({ length: within }, (_, at) => at + 1);
    for (const seed of foundBy === undefined ? all : [foundBy, ...all]) {
      const { violation } = withDefect(name, () => simulate({ seed, ...shape }));
      if (violation === null) continue;
      found.push(`${name}: seed ${seed} of ${within}: ${violation.invariant}`);
      return;
    }
    expect.fail(`${name} was not found within ${within} seeds`);
  });

  it('are gone after their run, and make a campaign fail with a replay and a shorter way', () => {
    const lines: string[] = [];
    const run = { from: 1, seeds: 3, minutes: 5 };
    expect(campaign({ ...run, defect: 'refuse-what-is-appended' }, (line) => lines.push(line))).toBe(false);
    expect(lines.join('\n')).toMatch(/T9 broken at step \d+/);
    expect(lines.join('\n')).toMatch(/--seed \d+ --until \d+ --trace .*--break refuse-what-is-appended/);
    expect(campaign(run, () => undefined)).toBe(true);
  });
});
