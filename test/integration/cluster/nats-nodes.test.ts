/**
 * The three servers of a NATS cluster are restarted one after the other, under load. Each time the
 * servers whose stream is there say so within five seconds, in status and metrics. The others
 * serve, and all of them go on by themselves.
 */
import { jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from 'nats';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { troublesOf } from '../../../services/cli/conditions.js';
import { assess } from '../../../services/cli/health.js';
import { type CraftClient, connectCraft } from '../../../shared/client/index.js';
import { natsAddress } from '../../../shared/wire/connection.js';
import { NatsNodes } from '../../chaos/nats-nodes.js';
import {
  eventually,
  freePorts,
  startTestCluster,
  type TemporaryFolder,
  type TestCluster,
  temporaryFolder,
} from '../../harness/index.js';
import { converged } from './inspect.js';

/** From the end of a node until it is told (milliseconds). */
const TOLD_MS = 5_000;
const SERVERS = ['s1', 's2', 's3'];

let folder: TemporaryFolder;
let nodes: NatsNodes;
let test: TestCluster;
let connection: NatsConnection;
let client: CraftClient;
let metricsPorts: number[];

beforeAll(async () => {
  folder = await temporaryFolder('nodes');
  nodes = await NatsNodes.start(folder.path, SERVERS);
  metricsPorts = await freePorts(SERVERS.length);
  test = await startTestCluster({
    servers: SERVERS,
    groups: 2,
    natsUrl: nodes.url,
    environmentOf: (server) => ({
      ...nodes.environmentOf(server),
      CRAFT_METRICS_PORT: String(metricsPorts[SERVERS.indexOf(server)]),
    }),
  });
  connection = await connect({ ...natsAddress(nodes.url), maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  client = await connectCraft({ connection, timeoutMs: 60_000 });
});
afterAll(async () => {
  await connection?.close();
  await test?.stop();
  await nodes?.stop();
  await folder?.remove();
});

/** The servers whose stream lies on each node. */
async function streamsByNode(): Promise<ReadonlyMap<string, readonly string[]>> {
  const manager = await jetstreamManager(connection, { checkAPI: false });
  const found = await Promise.all(
    SERVERS.map((server) =>
      eventually(
        `the stream of ${server}`,
        async () => (await manager.streams.info(`CRAFT_LOG_${server}`)).cluster?.leader,
      ),
    ),
  );
  return new Map(nodes.names.map((name) => [name, SERVERS.filter((_, at) => found[at] === name)]));
}

async function expectHealthy(): Promise<void> {
  await eventually(
    'a healthy cluster',
    async () => {
      const { level, problems } = assess(await client.status(), await client.health());
      if (level !== 'healthy') throw new Error(problems.join('\n'));
      return true;
    },
    { timeoutMs: 30_000, everyMs: 200 },
  );
}

async function expectTold(server: string): Promise<void> {
  const line = new RegExp(`^${server} merger: .*\\((publish|stream), since .*nats (stream|server) report`);
  const metric = new RegExp(
    `^craft_health\\{cluster="[^"]+",service="merger",server="${server}",condition="(publish|stream)"\\} 0$`,
    'm',
  );
  await eventually(
    `the stream of ${server} that is away, told`,
    async () => {
      const all = (await client.health()).flatMap((one) => troublesOf(one, true));
      expect(all).toContainEqual(expect.stringMatching(line));
      const port = metricsPorts[SERVERS.indexOf(server)];
      expect(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()).toMatch(metric);
      return true;
    },
    { timeoutMs: TOLD_MS, everyMs: 100 },
  );
}

it('with one replica of each stream all commands are committed, and the databases are equal', async () => {
  await expectHealthy();
  let sent = 0;
  const ended = new AbortController();
  const load = (async () => {
    const indexes: number[] = [];
    while (!ended.signal.aborted) indexes.push((await client.kv.put('n', ++sent, { ack: 'committed' })).index ?? 0);
    return indexes.length;
  })();
  // When the test fails before it is awaited, that says why, and not the end of the client.
  load.catch(() => undefined);
  const streams = await streamsByNode();
  expect([...streams.values()].flat().sort()).toEqual(SERVERS);
  for (const [name, servers] of streams) {
    await nodes.kill(name);
    await Promise.all(servers.map(expectTold));
    const before = sent;
    await eventually('commands meanwhile', () => sent > before + 1);
    await nodes.startNode(name);
    await expectHealthy();
  }
  ended.abort();
  expect(await load).toBe(sent);
  const { index = 0 } = await client.kv.put('last', sent);
  const all = await converged(test.cluster, index, 60_000);
  expect(new Set(all.map((one) => JSON.stringify(one))).size).toBe(1);
}, 180_000);

it('with three replicas of each stream, commands are executed while a node is away', async () => {
  const manager = await jetstreamManager(connection, { checkAPI: false });
  const names = SERVERS.map((server) => `CRAFT_LOG_${server}`);
  await Promise.all(names.map((name) => manager.streams.update(name, { num_replicas: 3 })));
  await eventually('all replicas', async () => {
    const all = await Promise.all(names.map((name) => manager.streams.info(name)));
    return all.every(({ cluster }) => cluster?.replicas?.length === 2 && cluster.replicas.every((one) => one.current));
  });
  const [[name = ''] = []] = [...(await streamsByNode())].sort(([, a], [, b]) => b.length - a.length);
  await nodes.kill(name);
  const { index = 0 } = await client.kv.put('without', name);
  await converged(test.cluster, index);
  await nodes.startNode(name);
  await expectHealthy();
}, 90_000);
