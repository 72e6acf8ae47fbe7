/** What the applier counts of a transaction, and what of it belongs to this server. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ApplierMetrics } from '../../../services/applier/metrics.js';
import { loadStateMachine } from '../../../shared/engine/loading.js';
import type { Applied, MergedCommand } from '../../../shared/engine/port.js';
import type { MergedRun } from '../../../shared/merge/merge.js';
import { openMetrics } from '../../../shared/telemetry/metrics.js';

let metrics: Awaited<ReturnType<typeof openMetrics>>;
let nowUs: number;
let counts: ApplierMetrics;

beforeEach(async () => {
  metrics = await openMetrics({ cluster: 'c', service: 'applier', server: 's1', port: undefined });
  nowUs = 1_000_000;
  counts = new ApplierMetrics({
    metrics,
    server: 's1',
    loaded: await loadStateMachine(undefined),
    core: {
      appliedIndex: 7,
      queueFill: { items: { now: 1, max: 10 }, bytes: { now: 2, max: 20 } },
      refusal: undefined,
    },
    end: () => 9,
    queues: () => [],
    physical: () => nowUs,
  });
});
afterEach(() => metrics.close());

const run = (mergedIndex: number) => ({ after: { mergedIndex } }) as MergedRun;
const command = (mergedIndex: number, timestamp: number, server = 's1', name = 'kv.put') =>
  ({ mergedIndex, timestamp, server, name, reply: '_INBOX.x' }) as MergedCommand;
const applied = (outcome: Applied['outcome'], duplicate = false) => ({ outcome, duplicate }) as Applied;
const OK = applied({ ok: true, json: 'null' });

/** By their names: the order of the text is that in which this process has opened its metrics. */
async function samples(pattern: RegExp): Promise<string[]> {
  const lines = (await metrics.text()).split('\n').filter((line) => pattern.test(line));
  return lines.sort();
}

async function stage(name: string): Promise<string[]> {
  const found = await samples(new RegExp(`^craft_command_seconds_(sum|count).*stage="${name}"`));
  // The sum, then the count.
  return found.reverse().map((line) => line.split(' ')[1] ?? '');
}

it('stages begin with the proposal, and are those of commands of this server', async () => {
  nowUs = 1_010_000;
  counts.onArrived([run(2)]);
  nowUs = 1_030_000;
  counts.onArrived([run(4)]);
  nowUs = 1_050_000;
  counts.onApplied([command(1, 1_000_000), command(2, 1_000_000, 's2'), command(3, 1_020_000)], 0.02);
  nowUs = 1_060_000;
  counts.onAnswered([command(1, 1_000_000), command(2, 1_000_000, 's2'), command(3, 1_020_000)], [OK, OK, OK]);
  expect(await stage('merged')).toEqual(['0.02', '2']);
  expect(await stage('applied')).toEqual(['0.08', '2']);
  expect(await stage('answered')).toEqual(['0.1', '2']);
  nowUs = 1_070_000;
  counts.onApplied([command(4, 1_020_000)], 0.01);
  expect(await stage('merged')).toEqual(['0.03', '3']);
});

it('runs of before a move are forgotten, and of runs that come twice the first time counts', async () => {
  counts.onArrived('behind');
  counts.onArrived([run(9)]);
  counts.onMoved();
  nowUs += 10_000;
  counts.onApplied([command(8, 1_000_000)], 0.01);
  expect(await stage('merged')).toEqual(['0', '0']);
  expect(await stage('applied')).toEqual(['0.01', '1']);
  counts.onArrived([run(9)]);
  nowUs += 10_000;
  counts.onArrived([run(9), run(10)]);
  counts.onApplied([command(9, 1_010_000), command(10, 1_010_000)], 0.01);
  expect(await stage('merged')).toEqual(['0.01', '2']);
});

it('failed and rejected commands have the names that the machine knows', async () => {
  const failed = applied({ ok: false, failed: true, message: '' });
  const rejected = applied({ ok: false, message: '' });
  counts.onAnswered(
    [command(1, nowUs), command(2, nowUs), command(3, nowUs, 's2', 'made.up'), command(4, nowUs, 's2', '')],
    [failed, applied({ ok: true, json: 'null' }, true), rejected, rejected],
  );
  expect(await samples(/^craft_(failed|rejected|duplicate)_commands_total\{.* [1-9]/)).toEqual([
    'craft_duplicate_commands_total{cluster="c",service="applier",server="s1"} 1',
    'craft_failed_commands_total{cluster="c",service="applier",server="s1",machine="kv",command="kv.put"} 1',
    'craft_rejected_commands_total{cluster="c",service="applier",server="s1",machine="kv",command="other"} 2',
  ]);
});

it('of what is applied again, or is from before the start of the applier, only the work counts', async () => {
  const outcomes = [OK, applied({ ok: false, failed: true, message: '' }), applied({ ok: false, message: '' }, true)];
  const apply = (first: number, timestamp: number) => {
    const commands = [first, first + 1, first + 2].map((mergedIndex) => command(mergedIndex, timestamp));
    counts.onArrived([run(first + 2)]);
    counts.onApplied(commands, 0.01);
    counts.onAnswered(commands, outcomes);
  };
  const counted = async () => [
    ...(await samples(/^craft_command_seconds_count.*stage="(merged|applied|answered)"/)),
    ...(await samples(/^craft_(failed|rejected|duplicate)_commands_total/)),
  ];
  const startUs = nowUs;
  const none = await counted();
  apply(1, startUs - 1);
  expect(await counted()).toEqual(none);
  apply(4, startUs);
  const once = await counted();
  expect(once.filter((line) => !none.includes(line)).map((line) => line.split(' ')[1])).toEqual([
    ...['3', '3', '3'],
    ...['1', '1', '1'],
  ]);
  nowUs += 60_000_000;
  counts.onMoved();
  apply(4, startUs);
  expect(await counted()).toEqual(once);
  expect(await samples(/^craft_applied_commands_total/)).toEqual([expect.stringMatching(/ 9$/)]);
});

it('every command that can fail has a counter before it does', async () => {
  const zeros = await samples(/^craft_failed_commands_total\{.* 0$/);
  for (const name of ['kv.put', 'craft.restore', 'craft.machine', 'other']) {
    expect(zeros).toContainEqual(expect.stringContaining(`command="${name}"`));
  }
});

it('says how far behind the log the state is, and how full the queue is', async () => {
  expect(await samples(/^craft_(behind_entries|queue_\w+)\{/)).toEqual([
    'craft_behind_entries{cluster="c",service="applier",server="s1"} 2',
    'craft_queue_bytes_max{cluster="c",service="applier",server="s1",queue="apply",group=""} 20',
    'craft_queue_bytes{cluster="c",service="applier",server="s1",queue="apply",group=""} 2',
    'craft_queue_items_max{cluster="c",service="applier",server="s1",queue="apply",group=""} 10',
    'craft_queue_items{cluster="c",service="applier",server="s1",queue="apply",group=""} 1',
  ]);
});
