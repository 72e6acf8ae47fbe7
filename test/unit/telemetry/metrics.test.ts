import { describe, expect, it } from 'vitest';
import { openMetrics, SECONDS } from '../../../shared/telemetry/metrics.js';

describe('metrics', () => {
  it('serves the samples of all services of a process, each with its labels', async () => {
    const replica = await openMetrics({ service: 'replica', server: 's1', port: 0 });
    const applier = await openMetrics({ service: 'applier', server: 's1', port: undefined });
    const commands = replica.counter('test_commands_total', 'Commands received.');
    commands.add();
    commands.add(2);
    expect(replica.counter('test_commands_total', 'Commands received.')).toBe(commands);
    applier.counter('test_commands_total', 'Commands received.').add(5);
    let depth = 4;
    replica.gauge('test_queue', 'Commands waiting.', () => depth);
    applier.histogram('test_batch_seconds', 'Duration of a batch.', SECONDS).observe(0.002);

    depth = 6;
    const response = await fetch(`http://127.0.0.1:${replica.port}/metrics`);
    const text = await response.text();
    expect(response.status).toBe(200);
    expect(text).toContain('craft_test_commands_total{service="replica",server="s1"} 3');
    expect(text).toContain('craft_test_commands_total{service="applier",server="s1"} 5');
    expect(text).toContain('craft_test_queue{service="replica",server="s1"} 6');
    expect(text).toContain('craft_test_batch_seconds_bucket{le="0.003",service="applier",server="s1"} 1');
    expect((await fetch(`http://127.0.0.1:${replica.port}/other`)).status).toBe(404);

    await applier.close();
    expect(await replica.text()).not.toContain('craft_test_commands_total{service="applier"');
    await replica.close();
    await expect(fetch(`http://127.0.0.1:${replica.port}/metrics`)).rejects.toThrow();
  });

  it('has gauges with one more label, whose values may change', async () => {
    const metrics = await openMetrics({ service: 'merger', server: 's1', port: undefined });
    let values: [string, number][] = [['a', 1]];
    metrics.gaugeBy('test_health', 'By condition.', 'condition', () => values);
    expect(await metrics.text()).toContain('craft_test_health{service="merger",server="s1",condition="a"} 1');
    values = [['b', 0]];
    const text = await metrics.text();
    expect(text).toContain('condition="b"} 0');
    expect(text).not.toContain('condition="a"');
    await metrics.close();
  });

  it('answers probes for all services of the process, with what is wrong', async () => {
    const replica = await openMetrics({ service: 'replica', server: 's1', port: 0 });
    const merger = await openMetrics({ service: 'merger', server: 's1', port: undefined });
    let wrong: string[] = [];
    replica.probe('/readyz', () => []);
    merger.probe('/readyz', () => wrong);
    const ask = async (path: string) => {
      const response = await fetch(`http://127.0.0.1:${replica.port}${path}`);
      return [response.status, await response.text()];
    };
    expect(await ask('/readyz')).toEqual([200, 'ok\n']);
    wrong = ['merger publish: full'];
    expect(await ask('/readyz')).toEqual([503, 'merger publish: full\n']);
    expect(await ask('/healthz')).toEqual([200, 'ok\n']);
    await merger.close();
    expect(await ask('/readyz')).toEqual([200, 'ok\n']);
    await replica.close();
  });

  it('serves on the address that is given', async () => {
    const metrics = await openMetrics({ service: 'replica', server: 's1', port: 0, address: '127.0.0.2' });
    expect((await fetch(`http://127.0.0.2:${metrics.port}/healthz`)).status).toBe(200);
    await expect(fetch(`http://127.0.0.1:${metrics.port}/healthz`)).rejects.toThrow();
    await metrics.close();
  });

  it('shares one port between services and gives it back with the last', async () => {
    const first = await openMetrics({ service: 'replica', server: 's1', port: 0 });
    const port = first.port;
    await first.close();
    const a = await openMetrics({ service: 'merger', server: 's1', port });
    const b = await openMetrics({ service: 'applier', server: 's1', port });
    await a.close();
    expect((await fetch(`http://127.0.0.1:${port}/metrics`)).status).toBe(200);
    await b.close();
    await expect(fetch(`http://127.0.0.1:${port}/metrics`)).rejects.toThrow();
  });
});
