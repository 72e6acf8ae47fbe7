/** A rolling restart with SIGTERM under load: leadership moves before its server goes, so no command fails (dissertation, section 3.10). */
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
