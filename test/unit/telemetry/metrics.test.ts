import { describe, expect, it } from 'vitest';
import { observeProcess, openMetrics, SECONDS } from '../../../shared/telemetry/metrics.js';
import { observeQueues } from '../../../shared/telemetry/queues.js';
import { SERIES_MAX } from '../../../shared/telemetry/samples.js';

describe('metrics', () => {
  it('serves the samples of all services of a process, each with its labels', async () => {
    const replica = await openMetrics({ cluster: 'c', service: 'replica', server: 's1', port: 0 });
    const applier = await openMetrics({ cluster: 'c', service: 'applier', server: 's1', port: undefined });
    const commands = replica.counter('test_commands_total', 'Commands received.');
    commands.add();
    commands.add(2);
    expect(replica.counter('test_commands_total', 'Commands received.')).toBe(commands);
    applier.counter('test_commands_total', 'Commands received.').add(5);
    let depth = 4;
    replica.gauge('test_queue', 'Commands waiting.', () => depth);
    applier.histogram('test_batch_seconds', 'Duration of a batch.', SECONDS).observe(0.002);
    applier.histogram('test_batch_seconds', 'Duration of a batch.', SECONDS).observe(60, 2);

    depth = 6;
    const response = await fetch(`http://127.0.0.1:${replica.port}/metrics`);
    const text = await response.text();
    expect(response.status).toBe(200);
    expect(text).toContain('craft_test_commands_total{cluster="c",service="replica",server="s1"} 3');
    expect(text).toContain('craft_test_commands_total{cluster="c",service="applier",server="s1"} 5');
    expect(text).toContain('craft_test_queue{cluster="c",service="replica",server="s1"} 6');
    expect(text).toContain('craft_test_batch_seconds_bucket{le="0.001",cluster="c",service="applier",server="s1"} 0');
    expect(text).toContain('craft_test_batch_seconds_bucket{le="0.003",cluster="c",service="applier",server="s1"} 1');
    expect(text).toContain('craft_test_batch_seconds_bucket{le="10",cluster="c",service="applier",server="s1"} 1');
    expect(text).toContain('craft_test_batch_seconds_bucket{le="+Inf",cluster="c",service="applier",server="s1"} 3');
    expect(text).toContain('craft_test_batch_seconds_sum{cluster="c",service="applier",server="s1"} 120.002');
    expect(text).toContain('craft_test_batch_seconds_count{cluster="c",service="applier",server="s1"} 3');
    expect((await fetch(`http://127.0.0.1:${replica.port}/other`)).status).toBe(404);

    await applier.close();
    expect(await replica.text()).not.toContain('craft_test_commands_total{cluster="c",service="applier"');
    await replica.close();
    await expect(fetch(`http://127.0.0.1:${replica.port}/metrics`)).rejects.toThrow();
  });

  it('has counters and histograms with more labels, and no sample of a gauge that means nothing now', async () => {
    const metrics = await openMetrics({ cluster: 'c', service: 'merger', server: 's1', port: undefined });
    const refused = metrics.counterBy('test_refused_total', 'Refused.', ['code', 'group']);
    refused('OVERLOADED', '0').add(2);
    expect(refused('OVERLOADED', '0')).toBe(refused('OVERLOADED', '0'));
    expect(refused('OVERLOADED', '1')).not.toBe(refused('OVERLOADED', '0'));
    metrics.histogramBy('test_stage_seconds', 'Stages.', 'stage', [1, 2])('merged').observe(1);
    let age: number | undefined;
    metrics.gauge('test_age_seconds', 'Age.', () => age);
    const text = await metrics.text();
    expect(text).toContain(
      'craft_test_refused_total{cluster="c",service="merger",server="s1",code="OVERLOADED",group="0"} 2',
    );
    expect(text).toContain(
      'craft_test_refused_total{cluster="c",service="merger",server="s1",code="OVERLOADED",group="1"} 0',
    );
    expect(text).toContain(
      'craft_test_stage_seconds_bucket{le="1",cluster="c",service="merger",server="s1",stage="merged"} 1',
    );
    expect(text).not.toContain('craft_test_age_seconds{');
    age = 3;
    expect(await metrics.text()).toContain('craft_test_age_seconds{cluster="c",service="merger",server="s1"} 3');
    await metrics.close();
    expect(await metrics.text()).not.toContain('stage="merged"');
  });

  it('keeps a bounded number of series, whatever the values of the labels are', async () => {
    const metrics = await openMetrics({ cluster: 'c', service: 'merger', server: 's1', port: undefined });
    const failed = metrics.counterBy('test_failed_total', 'Failed.', 'command');
    for (let n = 0; n < SERIES_MAX + 10; n++) failed(`c${n}`).add();
    const series = (await metrics.text()).match(/^craft_test_failed_total\{.*$/gm) ?? [];
    expect(series).toHaveLength(SERIES_MAX + 1);
    expect(series).toContain('craft_test_failed_total{cluster="c",service="merger",server="s1",command="other"} 10');
    failed('c0').add();
    expect(await metrics.text()).toContain('command="c0"} 2');
    await metrics.close();
  });

  it('says how full queues are, with their bounds', async () => {
    const metrics = await openMetrics({ cluster: 'c', service: 'replica', server: 's1', port: undefined });
    observeQueues(metrics, () => [
      { queue: 'intake', items: { now: 3, max: 10 } },
      { queue: 'uncommitted', group: 1, bytes: { now: 5, max: 100 } },
    ]);
    const text = await metrics.text();
    expect(text).toContain('craft_queue_items{cluster="c",service="replica",server="s1",queue="intake",group=""} 3');
    expect(text).toContain(
      'craft_queue_items_max{cluster="c",service="replica",server="s1",queue="intake",group=""} 10',
    );
    expect(text).toContain(
      'craft_queue_bytes{cluster="c",service="replica",server="s1",queue="uncommitted",group="1"} 5',
    );
    expect(text).toContain(
      'craft_queue_bytes_max{cluster="c",service="replica",server="s1",queue="uncommitted",group="1"} 100',
    );
    expect(text).not.toContain('craft_queue_bytes{cluster="c",service="replica",server="s1",queue="intake"');
    await metrics.close();
  });

  it('has those of the process', async () => {
    observeProcess({ cluster: 'c', server: 's1' });
    const metrics = await openMetrics({ cluster: 'c', service: 'replica', server: 's1', port: undefined });
    const text = await metrics.text();
    expect(text).not.toContain('nodejs_active_handles_total');
    for (const name of [
      'process_cpu_seconds_total',
      'process_resident_memory_bytes',
      'nodejs_eventloop_lag_p99_seconds',
    ]) {
      expect(text).toMatch(new RegExp(`^${name}\\{cluster="c",server="s1"\\} \\S+$`, 'm'));
    }
    await metrics.close();
  });

  it('has gauges with one more label, whose values may change', async () => {
    const metrics = await openMetrics({ cluster: 'c', service: 'merger', server: 's1', port: undefined });
    let values: [string[], number][] = [[['a'], 1]];
    metrics.gaugeBy('test_health', 'By condition.', 'condition', () => values);
    expect(await metrics.text()).toContain(
      'craft_test_health{cluster="c",service="merger",server="s1",condition="a"} 1',
    );
    values = [[['b'], 0]];
    const text = await metrics.text();
    expect(text).toContain('condition="b"} 0');
    expect(text).not.toContain('condition="a"');
    await metrics.close();
  });

  it('answers probes for all services of the process, with what is wrong', async () => {
    const replica = await openMetrics({ cluster: 'c', service: 'replica', server: 's1', port: 0 });
    const merger = await openMetrics({ cluster: 'c', service: 'merger', server: 's1', port: undefined });
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
    const metrics = await openMetrics({
      cluster: 'c',
      service: 'replica',
      server: 's1',
      port: 0,
      address: '127.0.0.2',
    });
    expect((await fetch(`http://127.0.0.2:${metrics.port}/healthz`)).status).toBe(200);
    await expect(fetch(`http://127.0.0.1:${metrics.port}/healthz`)).rejects.toThrow();
    await metrics.close();
  });

  it('shares one port between services and gives it back with the last', async () => {
    const first = await openMetrics({ cluster: 'c', service: 'replica', server: 's1', port: 0 });
    const port = first.port;
    await first.close();
    const a = await openMetrics({ cluster: 'c', service: 'merger', server: 's1', port });
    const b = await openMetrics({ cluster: 'c', service: 'applier', server: 's1', port });
    await a.close();
    expect((await fetch(`http://127.0.0.1:${port}/metrics`)).status).toBe(200);
    await b.close();
    await expect(fetch(`http://127.0.0.1:${port}/metrics`)).rejects.toThrow();
  });
});
