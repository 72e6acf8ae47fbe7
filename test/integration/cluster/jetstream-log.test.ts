/**
 * A cluster whose replicas keep their logs in JetStream: it applies commands, and forgets nothing
 * when a replica or NATS itself is killed.
 */

import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from 'nats';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { recover } from '../../../services/cli/recover.js';
import { type CraftClient, connectCraft } from '../../../shared/client/index.js';
import { replicaConfig } from '../../../shared/config/config.js';
import { Subjects } from '../../../shared/wire/subjects.js';
import { startTestCluster, type TestCluster } from '../../harness/index.js';
import { converged } from './inspect.js';

const COMMANDS = 150;
const IN_FLIGHT = 16;

let test: TestCluster;
let client: CraftClient;
const acknowledged = new Map<string, number>();

beforeAll(async () => {
  test = await startTestCluster({ layout: 'service', logStore: 'jetstream' });
  client = await connectCraft({ servers: test.cluster.natsUrl, timeoutMs: 60_000 });
});
afterAll(async () => {
  await client?.close();
  await test?.stop();
});

/**
 * Writes keys of this name, some at a time; calls `midway` when half of them are answered. Executed
 * twice, one would be rejected.
 */
async function write(name: string, midway: () => Promise<void> = async () => undefined): Promise<void> {
  let next = 0;
  let answered = 0;
  let half: Promise<void> | undefined;
  const worker = async () => {
    while (next < COMMANDS) {
      const key = `${name}-${next++}`;
      const { index } = await client.kv.put(key, { key }, { ifVersion: 0 });
      acknowledged.set(key, index ?? Number.NaN);
      if (++answered === COMMANDS / 2) half = midway();
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  await half;
}

async function expectWhole(): Promise<void> {
  const databases = await converged(test.cluster, Math.max(...acknowledged.values()), 60_000);
  expect(new Set(databases.map((one) => JSON.stringify(one))).size).toBe(1);
  expect(databases[0]?.keys).toBe(acknowledged.size);
}

it('applies commands, from logs that are in streams', async () => {
  await write('first');
  await expectWhole();
  const connection = await connect({ servers: test.cluster.natsUrl });
  const manager = await jetstreamManager(connection);
  for (const server of test.cluster.servers) {
    const { state } = await manager.streams.info(new Subjects(test.cluster.cluster).storeStream(server));
    expect(state.messages).toBeGreaterThan(10);
  }
  await connection.close();
}, 120_000);

it.each(['s1', 's2', 's3'])(
  'survives kill -9 of the replica of %s under load',
  async (server) => {
    await write(server, async () => {
      await test.cluster.kill(`${server}.replica`, 'SIGKILL');
      await test.cluster.restart(`${server}.replica`);
      await test.cluster.waitReady();
    });
    await expectWhole();
  },
  120_000,
);

it('survives kill -9 of the NATS server under load', async () => {
  await write('nats', async () => {
    await test.cluster.kill('nats', 'SIGKILL');
    await test.cluster.restart('nats');
    await test.cluster.waitReady();
  });
  await expectWhole();
}, 120_000);

it('after the quorum is lost for good, the survivor goes on alone with its log in a stream', async () => {
  const { cluster } = test;
  for (const server of ['s1', 's2', 's3']) await cluster.kill(server, 'SIGKILL');
  const environment = {
    CRAFT_SERVER: 's3',
    CRAFT_SERVERS: 's3',
    CRAFT_NATS_URL: cluster.natsUrl,
    CRAFT_LOG_STORE: 'jetstream',
    CRAFT_LOG_STORE_SYNC: 'vouched',
  };
  const store = replicaConfig({ ...process.env, ...environment });
  const lines: string[] = [];
  await recover({ store, survivors: ['s3'], confirm: 'craft' }, (line) => lines.push(line));
  expect(lines[0]).toMatch(/^group 0: log up to \d+, /);
  cluster.forget('s1');
  cluster.forget('s2');
  await cluster.restart('s3');
  await cluster.waitReady({ servers: ['s3'], timeoutMs: 60_000 });
  await write('alone');
  await expectWhole();
}, 180_000);
