/** The main job at volume, on real parts: one order, the same everywhere. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CommandReply, type CraftClient, connectCraft } from '../../../shared/client/index.js';
import { eventually, startTestCluster, type TestCluster } from '../../harness/index.js';
import { converged, readMergedLog, sumOfVersions } from './inspect.js';

const COMMANDS = 10_000;
const CLIENTS = 3;
const IN_FLIGHT = 48;

let test: TestCluster;
beforeAll(async () => {
  test = await startTestCluster();
});
afterAll(() => test?.stop());

/**
 * Closed loop: each of `IN_FLIGHT` loops sends the next command when its last one is answered.
 * Leadership may come home meanwhile; what is refused then is sent again, with its id.
 */
async function load(craft: CraftClient, client: number, count: number): Promise<CommandReply[]> {
  const replies: CommandReply[] = [];
  let next = 0;
  const loop = async () => {
    while (next < count) {
      const n = next++;
      const input = { key: `k${(n * 7 + client) % 500}`, value: { client, n } };
      // To any leader, and now and then to a certain one.
      replies.push(await craft.command('kv.put', input, n % 3 === 0 ? { group: (n / 3) % 3 } : {}));
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, loop));
  return replies;
}

describe('10,000 puts from three clients over all leaders', () => {
  it('are all answered, in one order that every server has', async () => {
    const clients = await Promise.all(
      Array.from({ length: CLIENTS }, () => connectCraft({ servers: test.cluster.natsUrl, timeoutMs: 20_000 })),
    );
    const share = Math.ceil(COMMANDS / CLIENTS);
    const replies = (await Promise.all(clients.map((client, i) => load(client, i, share)))).flat();
    await Promise.all(clients.map((client) => client.close()));
    const total = share * CLIENTS;

    expect(replies).toHaveLength(total);
    expect(new Set(replies.map((reply) => reply.group))).toEqual(new Set([0, 1, 2]));
    expect(new Set(replies.map((reply) => reply.index)).size).toBe(total);

    const databases = await converged(test.cluster, total);
    expect(new Set(databases.map((database) => JSON.stringify(database))).size).toBe(1);
    // Each of them once: a version counts the puts of its key.
    const [own] = test.cluster.servers;
    expect(await sumOfVersions(test.cluster.databaseUrl(own ?? ''))).toBe(total);
    const entries = databases[0]?.mergedIndex ?? 0;

    const logs = await Promise.all(test.cluster.servers.map((server) => readMergedLog(test.cluster, server)));
    const [first] = logs;
    if (first === undefined) throw new Error('no merged log');
    expect(first.entries.map((entry) => entry.mergedIndex)).toEqual(Array.from({ length: entries }, (_, i) => i + 1));
    const decreasing = first.entries.filter((entry, i) => entry.timestamp < (first.entries[i - 1]?.timestamp ?? 0));
    expect(decreasing).toEqual([]);
    for (const log of logs) expect(log).toEqual(first);
    expect(first.checksum).toBe(databases[0]?.checksum);

    // What the clients were told is what the log says.
    const byIndex = new Map(first.entries.map((entry) => [entry.mergedIndex, entry]));
    for (const { index = 0, group, timestamp } of replies) {
      expect(byIndex.get(index)).toMatchObject({ group, timestamp });
    }
  }, 180_000);
});

describe('a cluster without commands', () => {
  it('writes no log entry, closes nothing and publishes nothing', async () => {
    // Leadership that a busy machine has moved about comes home (each move appends a no-op), and
    // what the load has left to close is closed; from then on nothing moves.
    await eventually(
      'every group led by its preferred server',
      async () => (await test.cluster.waitReady()).join() === test.cluster.servers.join(),
      { timeoutMs: 30_000, everyMs: 100 },
    );
    const observe = async () => {
      const status = await test.cluster.status();
      if (status.length !== 3) return undefined;
      return JSON.stringify(
        status.map(({ server, groups }) => [
          server,
          groups.map((one) => [one.lastIndex, one.commitIndex, one.watermark]),
        ]),
      );
    };
    // The first look is at once, and has nothing to be compared with.
    let before: string | undefined;
    await eventually(
      'two equal looks a second apart',
      async () => {
        const now = await observe();
        const isSame = now !== undefined && now === before;
        before = now;
        return isSame;
      },
      { timeoutMs: 20_000, everyMs: 1_000 },
    );

    const startedMs = performance.now();
    await eventually('five quiet seconds', () => performance.now() - startedMs > 5_000, { everyMs: 250 });
    expect(await observe()).toBe(before);
  }, 90_000);
});
