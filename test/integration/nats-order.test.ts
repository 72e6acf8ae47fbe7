/** A service that has a NATS server of its own next to it uses that, and another one when it is away. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connectNats } from '../../shared/wire/connection.js';
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
  try {
    expect(new Set(all.map((connection) => connection.getServer()))).toEqual(new Set([`127.0.0.1:${own.port}`]));
    await own.kill('SIGKILL');
    await eventually('all are at the other one', async () => {
      await Promise.all(all.map((connection) => connection.flush()));
      return all.every((connection) => connection.getServer() === `127.0.0.1:${other.port}`);
    });
  } finally {
    await Promise.all(all.map((connection) => connection.close()));
  }
});
