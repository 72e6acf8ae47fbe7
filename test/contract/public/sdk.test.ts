/** What the SDK promises of commands that travel together, against three real servers. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type CommandReply,
  type CraftClient,
  connectCraft,
  InvalidArgumentError,
  PayloadTooLargeError,
  RejectedError,
  UnknownCommandError,
} from '../../../shared/client/index.js';
import { eventually, startTestCluster, type TestCluster } from '../../harness/index.js';
import { PlainClient } from './plain-client.js';

describe('the SDK', () => {
  let test: TestCluster;
  let client: CraftClient;
  let plain: PlainClient;

  beforeAll(async () => {
    test = await startTestCluster();
    client = await connectCraft({ servers: test.cluster.natsUrl, timeoutMs: 60_000 });
    plain = await PlainClient.open(test.cluster);
  });
  afterAll(async () => {
    await client?.close();
    await plain?.close();
    await test?.stop();
  });

  const sent = () => client.connection.stats().outMsgs;
  const heard = () => client.connection.stats().inMsgs;

  it('sends what is issued in one turn as one message, in that order, and hears of it in a few', async () => {
    const [before, heardBefore] = [sent(), heard()];
    const replies = await Promise.all(Array.from({ length: 500 }, (_, n) => client.kv.put('turn', n)));
    expect(sent() - before).toBe(1);
    expect(heard() - heardBefore).toBeLessThan(50);
    expect(new Set(replies.map(({ group }) => group)).size).toBe(1);
    for (const [at, { index = 0, timestamp, result }] of replies.entries()) {
      expect(result).toEqual({ version: at + 1 });
      expect(index).toBeGreaterThan(replies[at - 1]?.index ?? 0);
      expect(timestamp).toBeGreaterThan(replies[at - 1]?.timestamp ?? 0);
    }
    const row = await plain.rowEverywhere('turn', ({ version }) => version === 500);
    expect(row).toMatchObject({ value: 499, mergedIndex: replies.at(-1)?.index });
  });

  it('gives each command of a turn its own outcome, at its own acknowledgement', async () => {
    await client.kv.put('outcomes', 0);
    const before = sent();
    const all = await Promise.allSettled([
      client.kv.put('outcomes', 1, { id: 'outcomes-1' }),
      client.kv.put('outcomes', 2, { ifVersion: 7 }),
      client.command('kv.fly', {}),
      client.command('kv.put', { key: 7, value: 1 }),
      client.kv.put('outcomes', 3, { id: 'outcomes-1' }),
      client.kv.put('outcomes', 4, { ack: 'committed' }),
      client.kv.put('outcomes', 5, { ack: 'ordered' }),
      client.kv.put('outcomes', 6),
      client.kv.put('grouped', 1, { group: 1 }),
      client.kv.put('outcomes', 'x'.repeat(300_000)),
      client.kv.get('missing'),
    ]);
    const reasons = all.map((one) => (one.status === 'rejected' ? one.reason : undefined));
    expect(reasons).toEqual([
      undefined,
      expect.any(RejectedError),
      expect.any(UnknownCommandError),
      expect.any(InvalidArgumentError),
      ...Array(5).fill(undefined),
      expect.any(PayloadTooLargeError),
      undefined,
    ]);
    const replies = all.map((one) => (one.status === 'fulfilled' ? (one.value as CommandReply) : undefined));
    expect(replies[0]).toMatchObject({ id: 'outcomes-1', result: { version: 2 } });
    expect(replies[4]).toEqual(replies[0]);
    expect(Object.keys(replies[5] ?? {})).toEqual(['id', 'group', 'timestamp']);
    expect(Object.keys(replies[6] ?? {})).toEqual(['id', 'group', 'timestamp']);
    expect(replies[7]).toMatchObject({ result: { version: 5 } });
    expect(replies[8]).toMatchObject({ group: 1 });
    // The turn, its command to a group, the large value and the query.
    expect(sent() - before).toBe(4);
    expect(await plain.rowEverywhere('outcomes', ({ version }) => version === 5)).toMatchObject({ value: 6 });
  });

  it('splits a turn that is larger than a message, in commands and in bytes', async () => {
    let before = sent();
    const many = await Promise.all(
      Array.from({ length: 3_000 }, (_, n) => client.kv.put(`many-${n}`, n, { ifVersion: 0 })),
    );
    expect(new Set(many.map(({ index }) => index)).size).toBe(3_000);
    expect(sent() - before).toBe(3);
    before = sent();
    const value = 'x'.repeat(100_000);
    const large = await Promise.all(
      Array.from({ length: 20 }, (_, n) => client.kv.put(`large-${n}`, value, { ifVersion: 0 })),
    );
    expect(new Set(large.map(({ index }) => index)).size).toBe(20);
    expect(sent() - before).toBe(10);
  });

  it('orders what it issues after a committed command behind it, also in one turn (T7)', async () => {
    const first = await client.kv.put('after', 1, { ack: 'committed' });
    const replies = await Promise.all([0, 1, 2].map((group) => client.kv.put('after', 2, { group })));
    for (const { timestamp } of replies) expect(timestamp).toBeGreaterThan(first.timestamp);
  });

  it('answers every command of a batch once, and executes it once, when leaders are killed in the middle', async () => {
    /**
     * Timestamps by key. Of a command that was sent again, `applied` alone tells the one of its
     * only effect.
     */
    const told = new Map<string, { ack: string; timestamp: number }>();
    let isOver = false;
    let issued = 0;
    const burst = async () => {
      const keys = Array.from({ length: 50 }, () => `kill-${issued++}`);
      await Promise.all(
        keys.map(async (key, at) => {
          const ack = (['applied', 'ordered', 'committed'] as const)[at % 3] ?? 'applied';
          const { timestamp } = await client.kv.put(key, key, { ifVersion: 0, ack });
          expect(told.has(key)).toBe(false);
          told.set(key, { ack, timestamp });
        }),
      );
    };
    const bursts = Promise.all(
      Array.from({ length: 4 }, async () => {
        while (!isOver) await burst();
      }),
    );
    try {
      for (const server of test.cluster.servers) {
        const before = told.size;
        await eventually('bursts before the kill', () => told.size > before + 200, { timeoutMs: 30_000 });
        await test.cluster.kill(server, 'SIGKILL');
        await test.cluster.waitReady({ servers: test.cluster.servers.filter((other) => other !== server) });
        await test.cluster.restart(server);
        await test.cluster.waitReady();
      }
    } finally {
      isOver = true;
      await bursts;
    }
    expect(told.size).toBe(issued);
    const fence = await client.kv.put('fence', 1);
    await eventually('the last command in all databases', async () => {
      return (await plain.rows('fence')).every((row) => row?.updatedAtUs === fence.timestamp);
    });
    // Executed twice, a command would have been rejected, or its row would have another version.
    for (const rows of await plain.rowsLike('kill-%')) {
      expect(rows.size).toBe(issued);
      for (const [key, { value, version, updatedAtUs }] of rows) {
        const { ack, timestamp } = told.get(key) ?? {};
        expect([value, version, ack === 'applied' ? updatedAtUs : timestamp], key).toEqual([key, 1, timestamp]);
      }
    }
  }, 120_000);
});
