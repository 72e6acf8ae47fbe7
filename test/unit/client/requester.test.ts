import { connect, headers, type Msg, type NatsConnection } from 'nats';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { CraftClient } from '../../../shared/client/client.js';
import { Requester, type RequestFailure } from '../../../shared/client/requester.js';
import { startTestNats, type TestNats } from '../../harness/index.js';

describe('requester', () => {
  let server: TestNats;
  let responder: NatsConnection;
  let connection: NatsConnection;
  let requester: Requester;

  beforeAll(async () => {
    server = await startTestNats();
    responder = await connect({ servers: server.url });
    responder.subscribe('echo', { callback: (_error, message) => void message.respond(message.data) });
    responder.subscribe('silent', { callback: () => undefined });
    responder.subscribe('empty', { callback: (_error, message) => void message.respond() });
    responder.subscribe('elsewhere', {
      callback: (_error, message) => responder.publish(message.headers?.get('To') ?? '', message.data),
    });
    await responder.flush();
  });
  afterAll(async () => {
    await responder.close();
    await server.stop();
  });
  beforeEach(async () => {
    connection = await connect({ servers: server.url });
    requester = new Requester(connection).start();
  });
  afterEach(async () => {
    await connection.close();
  });

  const text = (reply: Msg | RequestFailure) => (typeof reply === 'string' ? `failed: ${reply}` : reply.string());

  it('gives every request its own reply', async () => {
    const payloads = Array.from({ length: 2_000 }, (_, i) => `request ${i}`);
    const replies = await Promise.all(payloads.map((payload) => requester.request('echo', payload, undefined, 5_000)));
    expect(replies.map(text)).toEqual(payloads);
    expect(requester.inFlight).toBe(0);
  });

  it('listens from its start on, as does a client', async () => {
    const subscribe = vi.spyOn(connection, 'subscribe');
    const waiting = new Requester(connection);
    const client = new CraftClient(connection, { connection });
    expect(subscribe).not.toHaveBeenCalled();
    waiting.start();
    expect(subscribe).toHaveBeenCalledOnce();
    client.start();
    expect(subscribe.mock.calls.length).toBeGreaterThan(1);
    // One that was never started has nothing to give back.
    new Requester(connection).close();
    await new CraftClient(connection, { connection }).close();
  });

  it('hears answers below the prefix that its connection has', async () => {
    const own = await connect({ servers: server.url, inboxPrefix: '_INBOX_own' });
    let replyTo = '';
    const asked = responder.subscribe('own', {
      callback: (_error, message) => {
        replyTo = message.reply ?? '';
        message.respond('heard');
      },
    });
    await responder.flush();
    expect(text(await new Requester(own).start().request('own', '', undefined, 5_000))).toBe('heard');
    expect(replyTo).toMatch(/^_INBOX_own\.\w+\.0$/);
    asked.unsubscribe();
    await own.close();
  });

  it('tells an empty reply from nobody listening', async () => {
    expect(text(await requester.request('empty', 'x', undefined, 5_000))).toBe('');
    expect(await requester.request('nobody', 'x', undefined, 5_000)).toBe('no-responders');
  });

  it('gives up after the timeout of each request, not sooner, and ignores what comes later', async () => {
    const started = performance.now();
    const late: (Msg | RequestFailure)[] = [];
    let replyTo = '';
    const subscription = responder.subscribe('late', {
      callback: (_error, message) => {
        replyTo = message.reply ?? '';
      },
    });
    await responder.flush();
    const [short, long] = await Promise.all([
      requester.request('silent', '', undefined, 100).then((reply) => [reply, performance.now() - started] as const),
      requester.request('silent', '', undefined, 300).then((reply) => [reply, performance.now() - started] as const),
      new Promise<void>((resolve) => {
        requester.send('late', '', undefined, 100, (reply) => {
          late.push(reply);
          resolve();
        });
      }),
    ]);
    expect([short[0], long[0]]).toEqual(['timeout', 'timeout']);
    expect(short[1]).toBeGreaterThanOrEqual(100);
    expect(short[1]).toBeLessThan(long[1]);
    expect(long[1]).toBeGreaterThanOrEqual(300);
    responder.publish(replyTo, 'too late');
    await responder.flush();
    await connection.flush();
    expect(late).toEqual(['timeout']);
    expect(requester.inFlight).toBe(0);
    subscription.unsubscribe();
  });

  it('keeps headers of one request out of the next', async () => {
    const seen: boolean[] = [];
    const subscription = responder.subscribe('headers', {
      callback: (_error, message) => {
        seen.push(message.headers?.has('Nats-Msg-Id') ?? false);
        message.respond('ok');
      },
    });
    await responder.flush();
    const header = headers();
    header.set('Nats-Msg-Id', 'x');
    await requester.request('headers', '', header, 5_000);
    await requester.request('headers', '', undefined, 5_000);
    expect(seen).toEqual([true, false]);
    subscription.unsubscribe();
  });

  it('waits for an answer that somebody else announces', async () => {
    const reply = await new Promise<Msg | RequestFailure>((resolve) => {
      requester.expect(5_000, resolve, (replyTo) => {
        const header = headers();
        header.set('To', replyTo);
        connection.publish('elsewhere', 'there', { headers: header });
      });
    });
    expect(text(reply)).toBe('there');
  });

  it('takes the acknowledgement of a stream for a reply only where that is asked for', async () => {
    const acknowledgement = '{"stream":"S","seq":1}';
    const responder = connection.subscribe('stored', {
      callback: (_error, message) => void message.respond(acknowledgement),
    });
    expect(await requester.request('stored', '', undefined, 100)).toBe('timeout');
    const publisher = new Requester(connection, undefined, () => true).start();
    expect(text(await publisher.request('stored', '', undefined, 5_000))).toBe(acknowledgement);
    publisher.close();
    responder.unsubscribe();
  });

  it('ends what is in flight when it or the connection closes', async () => {
    const first = requester.request('silent', '', undefined, 60_000);
    requester.close();
    expect(await first).toBe('closed');
    const other = new Requester(connection).start();
    const second = other.request('silent', '', undefined, 60_000);
    await connection.close();
    expect(await second).toBe('closed');
    expect(() => other.send('echo', '', undefined, 1_000, () => undefined)).toThrow(/closed/);
    expect(other.inFlight).toBe(0);
  });
});
