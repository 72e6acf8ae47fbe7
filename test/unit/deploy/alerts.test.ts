/** The alerts and the dashboard, as files. That their metrics are there is seen on a cluster (disasters.test.ts). */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { projectRoot } from '../../../deploy/local/project.js';

const text = (file: string): string => readFileSync(join(projectRoot(), 'deploy', file), 'utf8');

const rules = z.strictObject({
  groups: z.array(
    z.strictObject({
      name: z.string(),
      rules: z.array(
        z.strictObject({
          alert: z.string().regex(/^Craft[A-Z]\w+$/),
          expr: z.string(),
          for: z
            .string()
            .regex(/^\d+[sm]$/)
            .optional(),
          labels: z.strictObject({ severity: z.enum(['warning', 'critical']) }),
          annotations: z.strictObject({ summary: z.string(), description: z.string() }),
        }),
      ),
    }),
  ),
});

const dashboard = z.looseObject({
  uid: z.literal('craft'),
  panels: z.array(
    z.looseObject({
      id: z.number(),
      title: z.string(),
      gridPos: z.strictObject({ x: z.number(), y: z.number(), w: z.number(), h: z.number() }),
      targets: z.array(z.looseObject({ expr: z.string() })).min(1),
    }),
  ),
});

it('every alert has a name of its own, an expression, and what to do', () => {
  const all = rules.parse(parse(text('prometheus/alerts.yaml'))).groups.flatMap((group) => group.rules);
  expect(new Set(all.map(({ alert }) => alert)).size).toBe(all.length);
  for (const { alert, expr } of all) {
    expect(expr, alert).toMatch(/[<>=]=? /);
    expect(expr.split('(').length, alert).toBe(expr.split(')').length);
  }
});

it('no two panels of the dashboard have one place', () => {
  const { panels } = dashboard.parse(JSON.parse(text('grafana/craft.json')));
  const cells = panels.flatMap(({ gridPos: { x, y, w } }) => Array.from({ length: w }, (_, n) => `${x + n} ${y}`));
  expect(new Set(cells).size).toBe(cells.length);
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
});

it('every alert fires when its condition is true, where there is promtool', async ({ skip }) => {
  const { PROMTOOL_BIN: promtool = 'promtool' } = process.env;
  const file = join(projectRoot(), 'test', 'unit', 'deploy', 'alerts.promtool.yaml');
  const run = promisify(execFile)(promtool, ['test', 'rules', file]);
  const failure: unknown = await run.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (failure instanceof Error && 'code' in failure && failure.code === 'ENOENT') skip('promtool is not installed');
  expect(failure).toBeUndefined();
});
