/**
 * A service that has a NATS server of its own next to it uses that, and another one when it is away
 * or does not say a word.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connectCraft } from '../../shared/client/index.js';
import { connectNats } from '../../shared/wire/connection.js';
import { TcpProxy } from '../chaos/proxy.js';
import { eventually, startTestNats, type TestNats } from '../harness/index.js';

let own: TestNats;
let other: TestNats;
beforeAll(async () => {
  [own, other] = await Promise.all([startTestNats(), startTestNats()]);
});
afterAll(() => Promise.all([own?.stop(), other?.stop()]));

it('goes to the first of the list, and to the next one when that is killed', async () => {
  const options = { natsUrl: `${own.url},${other.url}`, natsOrder: 'listed', natsCreds: undefined } as const;
  // So many would hardly all be right by chance.
  const all = await Promise.all(Array.from({ length: 12 }, (_, i) => connectNats(options, `test-${i}`)));
  let isAway = false;
  try {
    expect(new Set(all.map((connection) => connection.getServer()))).toEqual(new Set([`127.0.0.1:${own.port}`]));
    isAway = true;
    await own.kill('SIGKILL');
    await eventually('all are at the other one', async () => {
      await Promise.all(all.map((connection) => connection.flush()));
      return all.every((connection) => connection.getServer() === `127.0.0.1:${other.port}`);
    });
    // The next time that they must choose they choose the first again.
    await own.restart();
    isAway = false;
    await Promise.all(all.map((connection) => connection.reconnect()));
    await eventually('all are at the first one again', async () => {
      await Promise.all(all.map((connection) => connection.flush()));
      return all.every((connection) => connection.getServer() === `127.0.0.1:${own.port}`);
    });
  } finally {
    await Promise.all(all.map((connection) => connection.close()));
    if (isAway) await own.restart();
  }
});

/** Well below what a cluster may be without a server (milliseconds). */
const SILENCE_MS_MAX = 15_000;

/** Ways of being cut off: each notices by itself that nothing comes back. */
const SILENCES = [['up', 'down'], ['down'], ['up']] as const;

it('goes to the next one when the way to the first is silent, in both directions or in one', async () => {
  const proxies = await Promise.all(SILENCES.map(() => TcpProxy.open(own.port)));
  const all = await Promise.all(
    proxies.map(({ port }) => {
      const natsUrl = `nats://127.0.0.1:${port},${other.url}`;
      return connectNats({ natsUrl, natsOrder: 'listed', natsCreds: undefined }, 'test');
    }),
  );
  try {
    expect(all.map((connection) => connection.getServer())).toEqual(proxies.map(({ port }) => `127.0.0.1:${port}`));
    for (const [at, directions] of SILENCES.entries()) proxies[at]?.damage(directions);
    const areElsewhere = () => all.every((connection) => connection.getServer() === `127.0.0.1:${other.port}`);
    await eventually('all are at the other one', areElsewhere, { timeoutMs: SILENCE_MS_MAX });
    await Promise.all(all.map((connection) => connection.flush()));
  } finally {
    for (const proxy of proxies) proxy.heal();
    await Promise.all(all.map((connection) => connection.close()));
    await Promise.all(proxies.map((proxy) => proxy.close()));
  }
});

it('does not wait for a first server that accepts connections and says nothing', async () => {
  const proxy = await TcpProxy.open(own.port);
  proxy.damage(['up', 'down']);
  const natsUrl = `nats://127.0.0.1:${proxy.port},${other.url}`;
  const startedMs = performance.now();
  const connection = await connectNats({ natsUrl, natsOrder: 'listed', natsCreds: undefined }, 'test');
  try {
    expect(connection.getServer()).toBe(`127.0.0.1:${other.port}`);
    expect(performance.now() - startedMs).toBeLessThan(SILENCE_MS_MAX);
  } finally {
    await connection.close();
    await proxy.close();
  }
});

it('leaves a client that can be closed while its server is away', async () => {
  const client = await connectCraft({ servers: other.url });
  await other.kill('SIGKILL');
  try {
    await expect(client.close()).resolves.toBeUndefined();
  } finally {
    await other.restart();
  }
});
