/**
 * Clients of a real cluster whose leaders are killed see one register a key (T6, T7, T8), and the
 * servers agree in the end.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runRegisters } from '../../chaos/register-run.js';
import { startTestCluster, type TestCluster } from '../../harness/index.js';

let test: TestCluster;
beforeAll(async () => {
  test = await startTestCluster();
});
afterAll(() => test?.stop());

it('the history of twenty seconds with three killed leaders is linearizable', async () => {
  const run = await runRegisters({
    cluster: test.cluster,
    historyFile: join(test.folder, 'history.jsonl'),
    seed: 1,
    durationMs: 20_000,
    processes: 8,
    keys: 3,
    timeoutMs: 3_000,
    thinkMs: 10,
    kills: { upMs: [2_000, 3_000], downMs: [200, 1_000], killsMax: 3 },
    healMs: 60_000,
  });
  expect(run.report.violations).toEqual([]);
  expect(run.report.verdict).toBe('linearizable');
  expect(run.complaints).toEqual([]);
  expect(run.kills).toBeGreaterThanOrEqual(2);
  // Every kind of operation has been through it.
  for (const kind of ['read', 'applied', 'ordered', 'committed']) {
    expect(run.figures.get(kind)?.outcomes.ok, kind).toBeGreaterThan(50);
  }
}, 240_000);
