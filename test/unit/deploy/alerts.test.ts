/**
 * The alerts and the dashboard, as files: their metrics are those that the services open, and each
 * alert has its condition in alerts.promtool.yaml. Real faults make conditions true elsewhere, and
 * the metric of the alert is looked at there. disasters.test.ts has services that do not serve,
 * health states, missing processes and leaders, elections, databases behind, refused reads and
 * commands, snapshots, NATS. differing.test.ts has differences and reads, answers.test.ts log
 * stores and clocks. Queues, latencies and what is counted of commands: the unit tests of the
 * metrics of each service.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { GENERATED } from '../../../deploy/docs/parts.js';
import { projectRoot } from '../../../deploy/local/project.js';
import { observeProcess, openMetrics } from '../../../shared/telemetry/metrics.js';

const text = (file: string): string => readFileSync(join(projectRoot(), 'deploy', file), 'utf8');

const PLANTED = join(projectRoot(), 'test', 'unit', 'deploy', 'alerts.promtool.yaml');

/** Names of metrics in expressions. */
function metricsIn(expressions: string): string[] {
  return [...new Set([...expressions.matchAll(/\b(?:craft|nodejs|process)_\w+/g)].map(([name]) => name))];
}

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

const planted = z.object({
  tests: z.array(
    z.object({
      input_series: z.array(z.object({ series: z.string() })),
      promql_expr_test: z.array(z.object({ exp_samples: z.array(z.object({ labels: z.string() })).default([]) })),
    }),
  ),
});

it('every alert is expected to fire by the series of the test of promtool, and its metrics are planted there', () => {
  const all = rules.parse(parse(text('prometheus/alerts.yaml'))).groups.flatMap((group) => group.rules);
  const { tests } = planted.parse(parse(readFileSync(PLANTED, 'utf8')));
  const expected = tests.flatMap(({ promql_expr_test }) =>
    promql_expr_test.flatMap(({ exp_samples }) =>
      exp_samples.map(({ labels }) => /alertname="(\w+)"/.exec(labels)?.[1]),
    ),
  );
  expect([...new Set(expected)].sort()).toEqual(all.map(({ alert }) => alert).sort());
  const series = tests.flatMap(({ input_series }) => input_series.map((one) => /^\w+/.exec(one.series)?.[0]));
  for (const { alert, expr } of all) for (const name of metricsIn(expr)) expect(series, alert).toContain(name);
});

it('every metric of the alerts and of the dashboard is one that is opened', async () => {
  const rows = GENERATED['deploy/README.md']?.['metrics'] ?? '';
  const opened = [...rows.matchAll(/`(craft_\w+)` \| (\w+)/g)].flatMap(([, name = '', type]) =>
    type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
  );
  observeProcess({ cluster: 'c', server: 's1' });
  const metrics = await openMetrics({ cluster: 'c', service: 'replica', server: 's1', port: undefined });
  const known = new Set([
    ...opened,
    ...[...(await metrics.text()).matchAll(/^# HELP (\w+)/gm)].map(([, name]) => name),
  ]);
  await metrics.close();
  expect(opened.length).toBeGreaterThan(50);
  for (const file of ['prometheus/alerts.yaml', 'grafana/craft.json']) {
    const used = metricsIn(text(file));
    expect(used.length).toBeGreaterThan(20);
    expect(used.filter((name) => !known.has(name))).toEqual([]);
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
  const run = promisify(execFile)(promtool, ['test', 'rules', PLANTED]);
  const failure: unknown = await run.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (failure instanceof Error && 'code' in failure && failure.code === 'ENOENT') skip('promtool is not installed');
  expect(failure).toBeUndefined();
});
