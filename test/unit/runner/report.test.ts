/** What counts as passed, failed and flaky in `npm test`. */
import { describe, expect, it } from 'vitest';
import { afterSecondTry, type Report, summarize } from '../../report.mjs';

function report(files: Record<string, Record<string, string> | 'failed'>): Report {
  const testResults = Object.entries(files).map(([name, tests]) => {
    const all = tests === 'failed' ? [] : Object.entries(tests);
    const isFailed = tests === 'failed' || all.some(([, status]) => status === 'failed');
    return {
      name,
      status: isFailed ? 'failed' : 'passed',
      assertionResults: all.map(([fullName, status]) => ({ fullName, status })),
    };
  });
  const passed = testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .filter((one) => one.status === 'passed');
  return { numPassedTests: passed.length, testResults };
}

describe('a second try', () => {
  const first = summarize(
    report({
      'a.test.ts': { one: 'passed', two: 'failed' },
      'b.test.ts': { three: 'passed', four: 'skipped', five: 'todo' },
    }),
  );

  it('is for the files with a failure', () => {
    expect(first).toEqual({ passed: 2, failed: 1, skipped: 2, files: ['a.test.ts'], names: ['two'] });
  });

  it('makes a test that passes then count as passed, and names it', () => {
    const second = report({ 'a.test.ts': { one: 'passed', two: 'passed' } });
    expect(afterSecondTry(first, second)).toEqual({ passed: 3, failed: 0, skipped: 2, names: [], flaky: ['two'] });
  });

  it('leaves failed what fails again, what did not run again, and what fails only now', () => {
    const again = report({ 'a.test.ts': { one: 'passed', two: 'failed' } });
    expect(afterSecondTry(first, again)).toMatchObject({ failed: 1, names: ['two'] });
    expect(afterSecondTry(first, report({}))).toMatchObject({ passed: 2, failed: 1, names: ['two'], flaky: [] });
    const other = report({ 'a.test.ts': { one: 'failed', two: 'passed' } });
    expect(afterSecondTry(first, other)).toMatchObject({ failed: 1, names: ['one'] });
  });

  it('knows a file that failed as a whole', () => {
    const broken = summarize(report({ 'c.test.ts': 'failed' }));
    expect(broken).toMatchObject({ failed: 1, files: ['c.test.ts'] });
    expect(afterSecondTry(broken, report({ 'c.test.ts': { four: 'passed' } }))).toMatchObject({ failed: 0 });
    expect(afterSecondTry(broken, report({ 'c.test.ts': 'failed' })).failed).toBe(1);
  });
});
