/**
 * What `craft doctor` says of what it has found. That the facts are those of real servers:
 * test/integration/doctor.test.ts.
 */
import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { acceptedCodes } from '../../../../services/cli/commands/doctor.js';
import { CHECKS, CODES, examine } from '../../../../services/cli/doctor/examine.js';
import { exitCodeOf, lookedAt, reportJson, reportText } from '../../../../services/cli/doctor/report.js';
import { statusOf } from '../../../../services/cli/doctor/servers.js';
import { failed, HEALTHY, notGiven, streams, value } from './facts.js';

it('the checks find nothing where nothing is wrong', () => {
  expect(examine(HEALTHY)).toEqual([]);
  expect(statusOf(HEALTHY)?.level).toBe('healthy');
});

it('the checks have a code each, and each part of them has a file of tests', () => {
  expect(new Set(CODES).size).toBe(CODES.length);
  const files = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.test.ts'));
  expect(files.length - 1).toBe(Object.keys(CHECKS).length);
});

describe('the report', () => {
  const findings = examine({
    ...HEALTHY,
    ...value('nats', { isTls: false }),
    ...streams('CRAFT_LOG_s2', { max_age: 1e9, max_msgs: 5 }),
    disk: notGiven('not looked at'),
  });

  it('begins with what is worst, fits into 80 columns, and ends with the status', () => {
    const lines = reportText(findings, statusOf(HEALTHY), lookedAt(HEALTHY)).split('\n');
    expect(lines.filter((line) => /^\w/.test(line)).map((line) => line.split(':')[0])).toEqual([
      ...['error stream-limits', 'warning nats-plain', 'note not-given', 'looked at', 'found', 'status'],
    ]);
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
    expect(lines.slice(-3)).toEqual([
      'looked at: cluster craft, NATS n1:4222',
      'found: 1 error, 1 warning',
      'status: healthy: 3 of 3 servers, 3 of 3 groups led, behind by 0',
    ]);
    const place = lookedAt({ ...HEALTHY, nats: failed('it is away') });
    expect(reportText([], undefined, place)).toBe('looked at: cluster craft, no NATS\nfound: nothing');
  });

  it('is an object for programs', () => {
    expect(reportJson(findings, statusOf(HEALTHY), lookedAt(HEALTHY))).toMatchObject({
      ...{ cluster: 'craft', nats: 'n1:4222', errors: 1, warnings: 1, accepted: 0, status: { level: 'healthy' } },
      findings: [{ level: 'error', code: 'stream-limits', where: 'CRAFT_LOG_s2' }, {}, { level: 'note' }],
    });
  });

  it('shows what is accepted last, and does not count it', () => {
    const facts = { ...HEALTHY, ...value('nats', { isTls: false }), ...streams('CRAFT_LOG_s2', { max_age: 1e9 }) };
    const part = examine(facts, ['stream-limits']);
    expect(part.map(({ code, level, accepted }) => [code, level, accepted])).toEqual([
      ['nats-plain', 'warning', undefined],
      ['stream-limits', 'error', true],
    ]);
    expect([exitCodeOf(part), exitCodeOf(examine(facts, ['stream-limits', 'nats-plain']))]).toEqual([1, 0]);
    const text = reportText(part, undefined, lookedAt(facts));
    expect(text).toMatch(/^accepted stream-limits: CRAFT_LOG_s2: /m);
    expect(text).toMatch(/^found: 0 errors, 1 warning, 1 accepted$/m);
    expect(reportJson(part, undefined, lookedAt(facts))).toMatchObject({ errors: 0, warnings: 1, accepted: 1 });
  });

  it('accepts codes of findings alone', () => {
    expect(acceptedCodes('nats-plain, disk-slow')).toEqual(['nats-plain', 'disk-slow']);
    for (const wrong of ['nats-plane', '', 'nats-plain,'])
      expect(() => acceptedCodes(wrong)).toThrow(/^no findings: .*deploy\/README\.md/);
  });

  it('has exit codes, in which notes do not count', () => {
    const codes = (levels: readonly string[]) => exitCodeOf(findings.filter(({ level }) => levels.includes(level)));
    expect([codes([]), codes(['note']), codes(['warning', 'note']), codes(['error'])]).toEqual([0, 0, 1, 2]);
  });
});
