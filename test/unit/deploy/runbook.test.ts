/**
 * The runbook of deploy/README.md leads from a symptom to every condition and every alert that
 * there is, and to no other.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { projectRoot } from '../../../deploy/local/project.js';
import { CONDITIONS } from '../../../shared/health/conditions.js';

const read = (path: string) => readFileSync(join(projectRoot(), 'deploy', path), 'utf8');
const [, section = ''] = /^### Runbook$([\s\S]*?)^### /m.exec(read('README.md')) ?? [];
const rows = section
  .split('\n')
  .filter((line) => line.startsWith('| '))
  .slice(1)
  .map((line) => line.split(' | '));
/** What stands in code in the column of what to look for. */
const signs = new Set(rows.flatMap(([, sign = '']) => [...sign.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code)));

const conditions = Object.entries(CONDITIONS).flatMap(([service, codes]) =>
  Object.keys(codes).map((code) => `${service} ${code}`),
);
const { groups } = z
  .object({ groups: z.array(z.object({ rules: z.array(z.object({ alert: z.string() })) })) })
  .parse(parse(read('prometheus/alerts.yaml')));
const alerts = groups.flatMap(({ rules }) => rules.map(({ alert }) => alert));

it('every condition and every alert is reached from a symptom', () => {
  expect(rows.length).toBeGreaterThan(15);
  expect([...conditions, ...alerts].filter((sign) => !signs.has(sign))).toEqual([]);
});

it('every sign exists, and every row says what to do', () => {
  const services = Object.keys(CONDITIONS).join('|');
  const named = [...signs].filter((sign) => new RegExp(`^(?:(?:${services}) |Craft)`).test(sign));
  expect(named.filter((sign) => ![...conditions, ...alerts].includes(sign))).toEqual([]);
  for (const row of rows) {
    expect(row, row[0]).toHaveLength(3);
    for (const cell of row) expect(cell, row[0]).toMatch(/\w{3}/);
  }
});
