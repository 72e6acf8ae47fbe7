/** What a hostile or an unlucky client, or a long absence, must not do to the services. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect, type NatsConnection } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, startTestCluster, type TestCluster } from '../../harness/index.js';
import { converged } from './inspect.js';

let test: TestCluster;
let connection: NatsConnection;
beforeAll(async () => {
  test = await startTestCluster();
  connection = await connect({ servers: test.cluster.natsUrl });
});
afterAll(async () => {
  await connection?.close();
  await test?.stop();
});

async function put(key: string, value: unknown): Promise<{ ok: boolean; index: number; error?: { code: string } }> {
  const input = JSON.stringify({ key, value });
  return (await connection.request('craft.cmd.kv.put', input, { timeout: 20_000 })).json();
}

describe('a server that was away while much was written', () => {
  it('catches up in pieces that fit into messages, and no leader falls', async () => {
    await test.cluster.kill('s3', 'SIGKILL');
    await test.cluster.waitReady({ servers: ['s1', 's2'] });
    const large = 'x'.repeat(200_000);
    let last = 0;
    for (let n = 0; n < 40; n++) last = Math.max(last, (await put(`large-${n}`, large)).index);
    const pids = test.cluster.pids;
    await test.cluster.restart('s3');
    await converged(test.cluster, last, 60_000);
    expect(test.cluster.pids).toMatchObject({ s1: pids['s1'], s2: pids['s2'] });
  }, 120_000);
});

describe('a request that wants its answer on a subject of the services', () => {
  it('is dropped, and every merged log goes on', async () => {
    for (const server of test.cluster.servers) {
      for (const reply of [`craft.log.${server}`, `craft.rpc.${server}`, '$JS.API.INFO']) {
        connection.publish('craft.cmd.kv.put', JSON.stringify({ key: 'forged', value: 1 }), { reply });
        connection.publish('craft.query.kv.get', JSON.stringify({ key: 'forged' }), { reply });
        connection.publish(`craft.sync.${server}`, '', { reply });
        connection.publish(`craft.admin.status.${server}`, '', { reply });
        connection.publish(`craft.admin.applied.${server}`, '', { reply });
      }
    }
    const { ok, index } = await put('after', 1);
    expect(ok).toBe(true);
    await converged(test.cluster, index);
    const read = await connection.request('craft.query.kv.get', '{"key":"forged"}', { timeout: 10_000 });
    expect(read.json()).toEqual({ ok: true, result: null });
  });

  it('cannot stop a merger by garbage in its stream either', async () => {
    for (const server of test.cluster.servers) connection.publish(`craft.log.${server}`, 'garbage');
    const { ok, index } = await put('after garbage', 1);
    expect(ok).toBe(true);
    await converged(test.cluster, index);
  });
});

describe('a page of large values', () => {
  it('ends early instead of failing', async () => {
    const page = await connection.request('craft.query.kv.list', '{"prefix":"large-","limit":40}', { timeout: 10_000 });
    const { ok, result } = page.json<{ ok: boolean; result: { key: string }[] }>();
    expect(ok).toBe(true);
    expect(result.length).toBeGreaterThan(0);
    expect(result.length).toBeLessThan(40);
  });
});

describe('a NATS server that takes smaller messages than before', () => {
  it('is noticed by who is cut off: what the servers send each other follows, and larger commands are refused', async () => {
    const file = join(test.cluster.dataDir, 'nats', 'nats.conf');
    const text = await readFile(file, 'utf8');
    expect(text).toContain('max_payload: 4MB');
    await writeFile(file, text.replace('max_payload: 4MB', 'max_payload: 256KB'));
    const { nats } = test.cluster.pids;
    if (nats === undefined) throw new Error('NATS does not run');
    process.kill(nats, 'SIGHUP');
    // Together they are more than one message carries, at every leader, until all of them are cut
    // off and know it.
    await eventually(
      'a refusal of what does not fit',
      async () => {
        const medium = 'y'.repeat(20_000);
        await Promise.all(Array.from({ length: 60 }, (_, n) => put(`medium-${n}`, medium)));
        const tries = await Promise.all(Array.from({ length: 12 }, () => put('large', 'z'.repeat(150_000))));
        return tries.every((reply) => !reply.ok && reply.error?.code === 'PAYLOAD_TOO_LARGE');
      },
      { timeoutMs: 60_000 },
    );
    const { index } = await put('last', 1);
    const all = await converged(test.cluster, index, 60_000);
    expect(new Set(all.map((one) => JSON.stringify(one))).size).toBe(1);
  }, 120_000);
});
