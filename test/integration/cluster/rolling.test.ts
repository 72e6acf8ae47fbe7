/**
 * A rolling restart with SIGTERM under load: leadership moves before its server goes, so no command
 * fails (dissertation, section 3.10).
 */
import { connect, NoRespondersError } from 'nats';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CraftClient, connectCraft } from '../../../shared/client/index.js';
import { eventually, startTestCluster, type TestCluster } from '../../harness/index.js';
import { converged } from './inspect.js';

let test: TestCluster;
let client: CraftClient;

beforeAll(async () => {
  test = await startTestCluster();
  client = await connectCraft({ servers: test.cluster.natsUrl, timeoutMs: 20_000 });
});
afterAll(async () => {
  await client?.close();
  await test?.stop();
});

it('no command fails while all three servers are restarted one after the other', async () => {
  const { cluster } = test;
  let isOver = false;
  let done = 0;
  let slowestMs = 0;
  const worker = async (number: number) => {
    for (let n = 0; !isOver; n++) {
      const startMs = performance.now();
      // Each key once: what was executed twice would be rejected.
      await client.kv.put(`w${number}-${n}`, {}, { ifVersion: 0 });
      slowestMs = Math.max(slowestMs, performance.now() - startMs);
      done += 1;
    }
  };
  const working = Promise.all(Array.from({ length: 8 }, (_, number) => worker(number)));
  for (const server of cluster.servers) {
    const before = done;
    await cluster.kill(server, 'SIGTERM');
    await cluster.waitReady({ servers: cluster.servers.filter((other) => other !== server) });
    await eventually(`commands without ${server}`, () => done > before + 50);
    await cluster.restart(server);
    await cluster.waitReady({ servers: cluster.servers });
  }
  isOver = true;
  await working;
  console.log(`${done} commands, the slowest took ${slowestMs.toFixed(0)} ms`);
  const { index = 0 } = await client.kv.put('last', {});
  const all = await converged(cluster, index);
  expect(new Set(all.map((one) => JSON.stringify(one))).size).toBe(1);
  expect(all[0]?.keys).toBe(done + 1);
}, 120_000);

it('every request of a plain NATS client is answered while leadership goes away and comes home', async () => {
  const { cluster } = test;
  const connection = await connect({ servers: cluster.natsUrl });
  const outcomes = new Map<string, number>();
  let isOver = false;
  const worker = async (number: number) => {
    for (let n = 0; !isOver; n++) {
      const subject = n % 3 === 0 ? `craft.group.${(n / 3) % 3}.cmd.kv.put` : 'craft.cmd.kv.put';
      const outcome = await connection
        .request(subject, JSON.stringify({ key: `plain-${number}`, value: n }), { timeout: 10_000 })
        .then((reply) => reply.json<{ ok: boolean; error?: { code: string } }>())
        .then(
          ({ error }) => error?.code ?? 'ok',
          (error: Error) => (error.cause instanceof NoRespondersError ? 'no responders' : error.name),
        );
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
  };
  const working = Promise.all(Array.from({ length: 96 }, (_, number) => worker(number)));
  for (const server of cluster.servers) {
    await cluster.kill(server, 'SIGTERM');
    await cluster.waitReady({ servers: cluster.servers.filter((other) => other !== server) });
    await cluster.restart(server);
    await eventually(
      'every group led by its preferred server',
      async () => (await cluster.waitReady()).join() === cluster.servers.join(),
      { timeoutMs: 60_000, everyMs: 100 },
    );
  }
  isOver = true;
  await working;
  await connection.close();
  console.log(Object.fromEntries(outcomes));
  // Refused for certain, which may be sent again: that is all that may happen besides.
  for (const definite of ['NOT_LEADER', 'no responders']) outcomes.delete(definite);
  expect([...outcomes.keys()]).toEqual(['ok']);
}, 180_000);
