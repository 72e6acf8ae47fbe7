/**
 * kill -9 of every kind of part under load: nothing acknowledged is lost, nothing is doubled,
 * nobody diverges (T8, T9).
 */

import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CraftClient, connectCraft } from '../../../shared/client/index.js';
import { eventually, startTestCluster, type TestCluster } from '../../harness/index.js';
import { converged, type Database, readMergedLog } from './inspect.js';

const RATE_PER_SECOND = 200;
/** Leaders must be back within this (milliseconds). */
const LEADERS_MS_MAX = 5_000;

let test: TestCluster;
let client: CraftClient;
/**
 * What was acknowledged, over all tests of this file: key -> merged index. Every key is written
 * exactly once.
 */
const acknowledged = new Map<string, number>();

beforeAll(async () => {
  test = await startTestCluster({ layout: 'service' });
  client = await connectCraft({ servers: test.cluster.natsUrl, timeoutMs: 60_000 });
});
afterAll(async () => {
  await client?.close();
  await test?.stop();
});

/**
 * Commands at a steady rate for as long as `during` takes; each is retried with its id until it is
 * answered. `kv.put` with ifVersion 0 and a key of its own: executed twice it would be rejected, so
 * a doubled command shows.
 */
async function underLoad(name: string, during: () => Promise<void>): Promise<void> {
  const answers: Promise<void>[] = [];
  let n = 0;
  const send = async (key: string) => {
    const { index } = await client.kv.put(key, { key }, { ifVersion: 0 });
    if (index === undefined) throw new Error('an applied command has its merged index');
    acknowledged.set(key, index);
  };
  const timer = setInterval(() => answers.push(send(`${name}-${n++}`)), 1_000 / RATE_PER_SECOND);
  try {
    await eventually('load before the fault', () => n > RATE_PER_SECOND / 2);
    await during();
    const seen = n;
    await eventually('load after the fault', () => n > seen + RATE_PER_SECOND / 2);
  } finally {
    clearInterval(timer);
  }
  await Promise.all(answers);
}

/** What the status says of the state of each server. */
async function untilStates(what: string, wanted: readonly ('well' | 'trouble' | 'none')[]): Promise<void> {
  await eventually(`the states of the servers: ${what}`, async () => {
    const found = (await client.status()).map(({ state }) => {
      if (state === undefined) return 'none';
      if (state.ok) return state.since === undefined && state.error === undefined && state.appliedIndex > 0 && 'well';
      return Date.parse(state.since ?? '') > 0 && state.error !== '' && 'trouble';
    });
    return found.join() === wanted.join();
  });
}

/** Every database and merged log is the same, and holds each acknowledged command exactly once. */
async function expectWhole(): Promise<void> {
  const databases: Database[] = await converged(test.cluster, Math.max(...acknowledged.values()), 60_000);
  expect(new Set(databases.map((one) => JSON.stringify(one))).size).toBe(1);
  const logs = await Promise.all(test.cluster.servers.map((server) => readMergedLog(test.cluster, server)));
  for (const log of logs) expect(log.entries).toEqual(logs[0]?.entries);
  expect(logs[0]?.entries.map((entry) => entry.mergedIndex)).toEqual(logs[0]?.entries.map((_, i) => i + 1));

  for (const server of test.cluster.servers) {
    const sql = postgres(test.cluster.databaseUrl(server), { max: 1, onnotice: () => undefined });
    const rows = await sql<{ key: string; version: number; mergedIndex: number }[]>`
      select key, version::int as version, merged_index::int as "mergedIndex" from kv`;
    await sql.end();
    const found = new Map(rows.map((row) => [row.key, row]));
    for (const [key, mergedIndex] of acknowledged) expect(found.get(key)).toEqual({ key, version: 1, mergedIndex });
    expect(found.size).toBe(acknowledged.size);
  }
}

describe('kill -9 under 200 commands a second', () => {
  for (const server of ['s1', 's2', 's3']) {
    it(`of server ${server}: leaders are back within five seconds, nothing is lost or doubled`, async () => {
      await underLoad(`server-${server}`, async () => {
        await test.cluster.kill(server, 'SIGKILL');
        const killedMs = performance.now();
        const others = test.cluster.servers.filter((other) => other !== server);
        await test.cluster.waitReady({ servers: others, timeoutMs: LEADERS_MS_MAX });
        expect(performance.now() - killedMs).toBeLessThan(LEADERS_MS_MAX);
        await test.cluster.restart(server);
        await test.cluster.waitReady();
      });
      await expectWhole();
    }, 120_000);
  }

  it('of a merger: it goes on from the stream', async () => {
    await underLoad('merger', async () => {
      await test.cluster.kill('s2.merger', 'SIGKILL');
      await eventually('the health of s2 without a merger, and of all others', async () => {
        const found = (await client.health()).map(({ services }) => services.map(({ service }) => service).sort());
        const all = ['applier', 'merger', 'replica'];
        return JSON.stringify(found) === JSON.stringify([all, ['applier', 'replica'], all]);
      });
      await test.cluster.restart('s2.merger');
    });
    await expectWhole();
  }, 120_000);

  it('of an applier: it goes on from the position in its database', async () => {
    await underLoad('applier', async () => {
      await test.cluster.kill('s3.applier', 'SIGKILL');
      await untilStates('only s3 without', ['well', 'well', 'none']);
      await test.cluster.restart('s3.applier');
    });
    await expectWhole();
    await untilStates('all well', ['well', 'well', 'well']);
  }, 120_000);

  it('of Postgres: the appliers wait for it and skip nothing', async () => {
    await underLoad('postgres', async () => {
      await test.cluster.kill('postgres', 'SIGKILL');
      await untilStates('all in trouble', ['trouble', 'trouble', 'trouble']);
      await test.cluster.restart('postgres');
    });
    await expectWhole();
    await untilStates('all well', ['well', 'well', 'well']);
  }, 120_000);

  it('of the NATS server: everybody reconnects and goes on', async () => {
    await underLoad('nats', async () => {
      await test.cluster.kill('nats', 'SIGKILL');
      await test.cluster.restart('nats');
      await test.cluster.waitReady();
    });
    await expectWhole();
  }, 120_000);

  it('of everything at once: what was acknowledged is there after the restart', async () => {
    await underLoad('all', async () => {
      await Promise.all(test.cluster.servers.map((server) => test.cluster.kill(server, 'SIGKILL')));
      await Promise.all(test.cluster.servers.map((server) => test.cluster.restart(server)));
      await test.cluster.waitReady();
    });
    await expectWhole();
  }, 120_000);
});
