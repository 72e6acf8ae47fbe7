/** Leadership goes while commands are on their way, against a real NATS server. */
import { connect, type Msg, type NatsConnection, NoRespondersError } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LeaderHandlers, LeaderSubscriptions } from '../../services/replica/subscriptions.js';
import { Subjects } from '../../shared/wire/subjects.js';
import { startTestNats, type TestNats } from '../harness/index.js';

const COMMANDS = 2_000;

let nats: TestNats;
let server: NatsConnection;
let client: NatsConnection;

beforeAll(async () => {
  nats = await startTestNats();
  server = await connect({ servers: nats.url });
  client = await connect({ servers: nats.url });
});
afterAll(async () => {
  await client?.close();
  await server?.close();
  await nats?.stop();
});

const handlers = (hear: (message: Msg) => void): LeaderHandlers => {
  return { take: hear, takeBatch: hear, takeRestore: hear, takeVerify: hear, takeMachine: hear };
};

describe('who stops leading in the middle of a burst', () => {
  it.each([
    ['commands to the group', 'burst-a.group.0.cmd.kv.put', 'burst-a'],
    ['commands to any leader', 'burst-b.cmd.kv.put', 'burst-b'],
    ['files to be restored', 'burst-c.restore', 'burst-c'],
    ['switches of the machine', 'burst-f.machine', 'burst-f'],
    ['batches to the group', 'burst-d.group.0.batch', 'burst-d'],
    ['batches to any leader', 'burst-e.batch', 'burst-e'],
    ['commands to this server', 'burst-g.server.s1.cmd.kv.put', 'burst-g'],
    ['batches to this server', 'burst-h.server.s1.batch', 'burst-h'],
  ])('hears of everything that NATS has given it: %s', async (_, subject, cluster) => {
    let taken = 0;
    const hear = (message: Msg) => {
      taken += 1;
      message.respond('heard');
      if (taken === 1) void leading.stop(0);
    };
    const leading = new LeaderSubscriptions(server, new Subjects(cluster), 's1', handlers(hear));
    leading.start(0);
    await server.flush();
    const answers = await Promise.all(
      Array.from({ length: COMMANDS }, () =>
        client.request(subject, '', { timeout: 10_000 }).then(
          (message) => message.string(),
          (error: Error) => (error.cause instanceof NoRespondersError ? 'nobody' : error.name),
        ),
      ),
    );
    expect(new Set(answers)).not.toContain('TimeoutError');
    expect(answers.filter((answer) => answer === 'heard')).toHaveLength(taken);
    // The burst was under way when it stopped, and the rest was nobody's.
    expect(taken).toBeGreaterThan(1);
    await leading.drain();
  });

  it('leads again at once, and hears each command once', async () => {
    let taken = 0;
    const hear = (message: Msg) => {
      taken += 1;
      message.respond('heard');
    };
    const leading = new LeaderSubscriptions(server, new Subjects('again'), 's1', handlers(hear));
    leading.start(0);
    const stopped = leading.stop(0);
    leading.start(0);
    await stopped;
    await server.flush();
    for (let n = 0; n < 10; n++) await client.request('again.cmd.kv.put', '', { timeout: 10_000 });
    for (let n = 0; n < 10; n++) await client.request('again.batch', '', { timeout: 10_000 });
    for (const subject of ['again.server.s1.cmd.kv.put', 'again.server.s1.batch']) {
      for (let n = 0; n < 10; n++) await client.request(subject, '', { timeout: 10_000 });
    }
    expect(taken).toBe(40);
    await leading.drain();
  });
});
