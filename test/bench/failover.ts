/**
 * How long a group is away when its leader dies: kill -9, again and again, with default settings.
 *
 *     npm run bench:failover -- --kills 20
 *
 * A client asks the leader of each group for a write every few milliseconds, answered or not. Away
 * is a group from the kill, or its last answer after that, until it answers again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { connect } from 'nats';
import { GroupProbes } from '../chaos/group-probes.js';
import { leaderOf } from '../chaos/leader-killer.js';
import { longestGap } from '../chaos/outages.js';
import { eventually } from '../harness/index.js';
import { type CraftOptions, positiveInteger, stageOptions, withCraftOptions } from './options.js';
import { spread } from './statistics.js';
import { type CraftSystem, startCraft } from './systems/craft.js';
import { Stage } from './systems/stage.js';

interface Options extends CraftOptions {
  readonly kills: number;
}

const PROBE_EVERY_MS = 10;
const PROBE_TIMEOUT_MS = 2_000;
const WAIT_MS_MAX = 60_000;
/** Between two kills, so that leaders are where they prefer to be. */
const REST_MS = 3_000;

const nowUs = (): number => Math.round(performance.now() * 1_000);

function parseOptions(): Options {
  return withCraftOptions(new Command('failover'))
    .option('--kills <n>', 'how often', positiveInteger, 20)
    .parse()
    .opts<Options>();
}

/**
 * Kills the leader of `group`; resolves, with everything running again, with how long that was away
 * (milliseconds).
 */
async function killLeader({ cluster }: CraftSystem, group: number, probes: GroupProbes): Promise<number> {
  const leader = await eventually(`a leader of group ${group}`, () => leaderOf(cluster, group));
  const killedUs = nowUs();
  await cluster.kill(leader, 'SIGKILL');
  const others = cluster.servers.filter((server) => server !== leader);
  await cluster.waitReady({ servers: others, timeoutMs: WAIT_MS_MAX });
  const electedUs = nowUs();
  const answered = (): boolean => (probes.successesOf(group).at(-1) ?? 0) > electedUs;
  await eventually(`group ${group} answers`, answered, { timeoutMs: WAIT_MS_MAX });
  const awayMs = longestGap(probes.successesOf(group), killedUs, electedUs, nowUs()) / 1_000;
  console.log(`${leader}, leader of group ${group}, was killed: the group was away for ${awayMs.toFixed(0)} ms`);
  await cluster.restart(leader);
  await cluster.waitReady({ servers: cluster.servers, timeoutMs: WAIT_MS_MAX });
  await delay(REST_MS);
  return awayMs;
}

async function main(options: Options): Promise<void> {
  const stage = await Stage.start(stageOptions(options));
  try {
    const craft = await startCraft(stage);
    const { cluster } = craft;
    const servers = craft.nats.urls.join(',').split(',');
    const connections = await Promise.all(
      Array.from({ length: cluster.groups }, () => connect({ servers, name: 'bench probe' })),
    );
    const probes = new GroupProbes({
      cluster,
      connections,
      everyMs: PROBE_EVERY_MS,
      timeoutMs: PROBE_TIMEOUT_MS,
      nowUs,
    });
    let isOver = false;
    const probing = probes.run(() => isOver);
    const awayMs: number[] = [];
    try {
      await delay(REST_MS);
      for (let kill = 0; kill < options.kills; kill += 1) {
        awayMs.push(await killLeader(craft, kill % cluster.groups, probes));
      }
    } finally {
      isOver = true;
      await probing;
      await Promise.all(connections.map((connection) => connection.close()));
      await craft.stop();
    }
    const { median, min, max } = spread(awayMs);
    console.log(`\na group was away for ${median} ms (median of ${awayMs.length} kills), from ${min} to ${max} ms`);
    const { ok, fail, unknown } = probes.counts();
    console.log(`probes: ${ok} answered, ${fail} refused, ${unknown} with an unknown outcome`);
  } finally {
    await stage.stop();
  }
}

await main(parseOptions());
