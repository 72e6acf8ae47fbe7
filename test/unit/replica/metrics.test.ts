/** What the replica says of its groups while it does not know it yet. */
import { expect, it } from 'vitest';
import { ReplicaMetrics } from '../../../services/replica/metrics.js';
import { openMetrics } from '../../../shared/telemetry/metrics.js';
import { Cores } from './cores.js';

it('has no sample of what a new server or a new leader does not know yet', async () => {
  const cores = new Cores(['s1', 's2', 's3'], { groups: 1 });
  const { core } = cores.server('s1');
  const metrics = await openMetrics({ cluster: 'c', service: 'replica', server: 's1', port: undefined });
  const none = { items: 0, bytes: 0 };
  const physical = () => (core.groups[0]?.watermark ?? 0) + 2_000_000;
  new ReplicaMetrics({ metrics, core, intake: { waiting: { small: none, large: none } }, physical });
  const samples = async (name: string) => {
    const lines = (await metrics.text()).split('\n').filter((line) => line.startsWith(`craft_${name}{`));
    return lines.map((line) => line.replace('cluster="c",service="replica",server="s1",', ''));
  };

  expect(core.groups[0]?.watermark).toBe(0);
  expect(await samples('watermark_age_seconds')).toEqual([]);
  cores.server('s3').isCutOff = true;
  cores.pass(200);
  expect(cores.leadersOf(0)).toEqual(['s1']);
  expect(await samples('watermark_age_seconds')).toEqual(['craft_watermark_age_seconds{group="0"} 2']);
  expect(await samples('follower_lag_entries')).toEqual(['craft_follower_lag_entries{group="0",follower="s2"} 0']);
  cores.server('s3').isCutOff = false;
  cores.pass(1_000);
  expect(await samples('follower_lag_entries')).toEqual([
    'craft_follower_lag_entries{group="0",follower="s2"} 0',
    'craft_follower_lag_entries{group="0",follower="s3"} 0',
  ]);
  await metrics.close();
});
