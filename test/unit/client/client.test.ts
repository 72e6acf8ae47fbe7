import '../../../shared/wire/protobuf.js';
import { jetstreamManager } from '@nats-io/jetstream';
import { type Context, type ContextManager, context, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { BasicTracerProvider, type Span } from '@opentelemetry/sdk-trace-base';
import { connect, type Msg, type NatsConnection, type Subscription } from 'nats';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  type CraftClient,
  connectCraft,
  InternalError,
  InvalidArgumentError,
  OutcomeUnknownError,
  OverloadedError,
  PayloadTooLargeError,
  RejectedError,
  UnavailableError,
  UnknownCommandError,
} from '../../../shared/client/index.js';
import { decodeCommandBatch } from '../../../shared/wire/command-batch.js';
import { craft } from '../../../shared/wire/generated/craft.js';
import { isPubAck } from '../../../shared/wire/pub-ack.js';
import { WireError } from '../../../shared/wire/wire-error.js';
import { startTestNats, type TestNats } from '../../harness/index.js';

const { ReplyBatch } = craft.v1;

interface Seen {
  readonly subject: string;
  /** Of a command. */
  readonly name?: string;
  readonly input: unknown;
  readonly id: string;
  readonly ack: string;
  readonly after: number;
  readonly traceparent: string;
}
/** A reply as JSON, `garbage` for bytes that are none, or `silence`. */
type Answer = object | string;

const applied = (index: number, timestamp: number) => ({
  ok: true,
  index,
  group: 1,
  timestamp,
  result: { version: 1 },
});
const refused = (code: string) => ({ ok: false, error: { code, message: `because ${code}`, retryable: false } });

describe('client', () => {
  let server: TestNats;
  let responder: NatsConnection;
  let client: CraftClient;
  let seen: Seen[];
  /** Answers in order; the last one repeats. */
  let script: Answer[];
  /** Commands in each message. */
  let messages: number[];
  const open = new Set<Subscription>();

  beforeAll(async () => {
    server = await startTestNats();
    responder = await connect({ servers: server.url });
  });
  afterAll(async () => {
    await responder.close();
    await server.stop();
  });
  beforeEach(async () => {
    seen = [];
    messages = [];
    client = await connectCraft({ servers: server.url, timeoutMs: 1_500, attemptTimeoutMs: 200 });
  });
  afterEach(async () => {
    for (const subscription of open) subscription.unsubscribe();
    open.clear();
    await client.close();
  });

  const next = () => (script.length > 1 ? script.shift() : script[0]) ?? 'silence';

  function answer(message: Msg): void {
    if (message.subject.endsWith('batch')) {
      answerBatch(message);
      return;
    }
    const header = (name: string) => message.headers?.get(name) ?? '';
    const { subject } = message;
    seen.push({ subject, input: message.json(), id: '', ack: '', after: 0, traceparent: header('traceparent') });
    const one = next();
    if (one !== 'silence') message.respond(typeof one === 'string' ? one : JSON.stringify(one));
  }

  /** An answer of the script to each command, all in one message. */
  function answerBatch(message: Msg): void {
    const { inbox, firstNumber, commands } = decodeCommandBatch(message.data);
    messages.push(commands.length);
    const replies: craft.v1.ICommandReply[] = [];
    for (const [at, command] of commands.entries()) {
      if (command instanceof WireError) throw command;
      const { name, id, acknowledgement: ack, after, traceparent } = command;
      const input: unknown = JSON.parse(Buffer.from(command.payload).toString());
      seen.push({ subject: message.subject, name, input, id, ack, after, traceparent });
      const one = next();
      if (one === 'garbage') responder.publish(inbox, new Uint8Array([0x0f, 1, 2]));
      if (typeof one === 'string') continue;
      const { result, ...reply } = one as craft.v1.ICommandReply & { result?: unknown };
      const resultJson = result === undefined ? {} : { resultJson: JSON.stringify(result) };
      replies.push({ ...reply, ...resultJson, number: firstNumber + at });
    }
    if (replies.length > 0) responder.publish(inbox, ReplyBatch.encode({ replies }).finish());
  }

  async function respond(subject: string, answers: Answer[]): Promise<() => Promise<void>> {
    script = answers;
    const subscription = responder.subscribe(subject, { callback: (_error, message) => answer(message) });
    open.add(subscription);
    await responder.flush();
    return async () => {
      subscription.unsubscribe();
      await responder.flush();
    };
  }

  async function failure(work: Promise<unknown>): Promise<unknown> {
    return work.then(
      (value) => {
        throw new Error(`expected a failure, got ${JSON.stringify(value)}`);
      },
      (error: unknown) => error,
    );
  }

  it('returns the reply and makes an id of its own for each command', async () => {
    const end = await respond('craft.batch', [applied(1, 1_000), applied(2, 2_000)]);
    expect(await client.kv.put('a', { n: 1 }, { ifVersion: 0 })).toMatchObject({
      index: 1,
      group: 1,
      timestamp: 1_000,
      result: { version: 1 },
    });
    await client.kv.delete('a');
    expect(seen.map(({ subject, name, input }) => [subject, name, input])).toEqual([
      ['craft.batch', 'kv.put', { key: 'a', value: { n: 1 }, ifVersion: 0 }],
      ['craft.batch', 'kv.delete', { key: 'a' }],
    ]);
    expect(seen[0]?.id).toMatch(/^[0-9a-f-]{36}$/);
    expect(seen[1]?.id).not.toBe(seen[0]?.id);
    expect(client.timestamp).toBe(2_000);
    await end();
  });

  it('sends commands to one group and under another cluster name', async () => {
    const other = await connectCraft({ connection: client.connection, cluster: 'blue' });
    const end = await respond('blue.>', [applied(1, 1)]);
    await other.command('kv.put', { key: 'a' }, { group: 2 });
    await other.query('kv.get', { key: 'a' });
    await other.sync('s2');
    expect(seen.map(({ subject }) => subject)).toEqual(['blue.group.2.batch', 'blue.query.kv.get', 'blue.sync.s2']);
    await other.close();
    expect(client.connection.isClosed()).toBe(false);
    await end();
  });

  it('asks the preferred server first, and any when that does not answer', async () => {
    const picky = await connectCraft({ connection: client.connection, prefer: 's2', attemptTimeoutMs: 100 });
    const end = await respond('craft.>', [applied(1, 1), applied(2, 2), 'silence', applied(3, 3), applied(4, 4)]);
    await picky.command('kv.put', { key: 'a' });
    await picky.query('kv.get', { key: 'a' });
    await picky.command('kv.put', { key: 'b' });
    await picky.command('kv.put', { key: 'c' });
    await picky.query('kv.get', { key: 'a' });
    await picky.command('kv.put', { key: 'd' }, { group: 1 });
    expect(seen.map(({ subject }) => subject.slice('craft.'.length))).toEqual([
      ...['server.s2.batch', 'server.s2.query.kv.get'],
      // It did not answer, and is left out for a while.
      ...['server.s2.batch', 'batch', 'batch'],
      ...['server.s2.query.kv.get', 'group.1.batch'],
    ]);
    await picky.close();
    await end();
    await expect(connectCraft({ servers: server.url, prefer: 's.2' })).rejects.toThrow(InvalidArgumentError);
  });

  it('leaves a preferred server out that used up the time of a call', async () => {
    const impatient = await connectCraft({ connection: client.connection, prefer: 's2', timeoutMs: 150 });
    const end = await respond('craft.>', ['silence', 'silence', applied(1, 1)]);
    expect(await failure(impatient.command('kv.put', { key: 'a' }))).toBeInstanceOf(OutcomeUnknownError);
    expect(await failure(impatient.query('kv.get', { key: 'a' }))).toBeInstanceOf(UnavailableError);
    await impatient.command('kv.put', { key: 'b' });
    await impatient.query('kv.get', { key: 'b' });
    expect(seen.map(({ subject }) => subject.slice('craft.'.length))).toEqual([
      ...['server.s2.batch', 'server.s2.query.kv.get', 'batch', 'query.kv.get'],
    ]);
    await impatient.close();
    await end();
  });

  it('measures which server is nearest before its first call, and keeps the order of the calls', async () => {
    const group = (role: string) => ({ group: 0, role, leader: 's1', term: 1, lastIndex: 1, commitIndex: 1 });
    const servers = { far: { delayMs: 60, role: 'leader' }, near: { delayMs: 0, role: 'follower' } };
    const status = responder.subscribe('craft.admin.status', {
      callback: (_error, message) => {
        for (const [server, { delayMs, role }] of Object.entries(servers)) {
          const about = { server, physical: 0, clockOffsetUs: 0, groups: [group(role)] };
          setTimeout(() => message.respond(JSON.stringify(about)), delayMs);
        }
      },
    });
    open.add(status);
    const end = await respond('craft.server.>', [applied(1, 1)]);
    const nearest = await connectCraft({ connection: client.connection, prefer: 'nearest' });
    await Promise.all(['a', 'b', 'c'].map((key) => nearest.command('kv.put', { key })));
    await nearest.query('kv.get', { key: 'a' });
    expect(seen.map(({ subject, input }) => [subject, (input as { key: string }).key])).toEqual([
      ...['a', 'b', 'c'].map((key) => ['craft.server.far.batch', key]),
      ['craft.server.near.query.kv.get', 'a'],
    ]);
    expect(messages).toEqual([3]);
    await nearest.close();
    await end();
  });

  it('does not take the acknowledgement of a stream that has its subjects for an answer', async () => {
    await (await jetstreamManager(responder)).streams.add({ name: 'FOREIGN', subjects: ['foreign.>'] });
    const acknowledgement = (await responder.request('foreign.command', '{}')).data;
    expect(isPubAck(acknowledgement)).toBe(true);
    const subjects = ['craft.batch', 'craft.query.>'];
    const foreign = subjects.map((subject) =>
      responder.subscribe(subject, { callback: (_error, message) => void message.respond(acknowledgement) }),
    );
    for (const subscription of foreign) open.add(subscription);
    const end = await respond('craft.batch', [applied(1, 1_000)]);
    expect(await client.kv.put('a', 1)).toMatchObject({ index: 1 });
    await end();
    const endQuery = await respond('craft.query.>', [{ ok: true, result: { version: 1 } }]);
    expect(await client.query('kv.get', { key: 'a' })).toEqual({ version: 1 });
    await endQuery();
    // One attempt for each.
    expect(seen.map(({ subject }) => subject)).toEqual(['craft.batch', 'craft.query.kv.get']);
    for (const text of ['{"ok":true}', '{"error":', '{"stream":"S","ok":true}', '']) {
      expect(isPubAck(Buffer.from(text)), text).toBe(false);
    }
  });

  it('pitfall: outcome unknown: retries what is retryable, and silence, with the same id', async () => {
    const end = await respond('craft.batch', [
      refused('OVERLOADED'),
      refused('NOT_LEADER'),
      'silence',
      'garbage',
      refused('TIMEOUT_UNKNOWN'),
      applied(9, 9_000),
    ]);
    const reply = await client.command('kv.put', { key: 'a' }, { id: 'mine' });
    expect(reply).toMatchObject({ id: 'mine', index: 9 });
    expect(seen.map(({ id }) => id)).toEqual(Array(6).fill('mine'));
    await end();
  });

  it('waits for somebody who listens', async () => {
    const pending = client.command('kv.put', { key: 'a' });
    await client.connection.flush();
    const end = await respond('craft.batch', [applied(1, 1)]);
    await pending;
    expect(seen).toHaveLength(1);
    await end();
  });

  it('is unavailable at the deadline when every attempt was refused', async () => {
    const started = performance.now();
    const nobody = await failure(client.command('kv.put', {}, { timeoutMs: 300 }));
    expect(nobody).toBeInstanceOf(UnavailableError);
    expect(performance.now() - started).toBeGreaterThanOrEqual(240);
    const end = await respond('craft.batch', [refused('OVERLOADED')]);
    const overloaded = (await failure(client.command('kv.put', {}, { timeoutMs: 300 }))) as Error;
    expect(overloaded).toBeInstanceOf(UnavailableError);
    expect(overloaded.cause).toBeInstanceOf(OverloadedError);
    expect(seen.length).toBeGreaterThan(2);
    await end();
  });

  it.each([
    ['silence', 'silence'],
    ['TIMEOUT_UNKNOWN', refused('TIMEOUT_UNKNOWN')],
    ['a malformed reply', 'garbage'],
    ['a failure without a reason', { ok: false }],
    ['a code of a later version', refused('GALAXY_ASLEEP')],
  ])('after %s no refusal makes the outcome definite', async (_name, first: Answer) => {
    for (const then of ['OVERLOADED', 'UNAVAILABLE', 'NOT_LEADER', 'INVALID_ARGUMENT', 'INTERNAL']) {
      const end = await respond('craft.batch', [first, refused(then)]);
      const error = await failure(client.command('kv.put', {}, { id: 'x', timeoutMs: 400 }));
      expect(error, then).toBeInstanceOf(OutcomeUnknownError);
      expect(error).toMatchObject({ code: 'TIMEOUT_UNKNOWN', id: 'x', retryable: true });
      await end();
    }
    const end = await respond('craft.batch', [first, refused('REJECTED')]);
    expect(await failure(client.command('kv.put', {}))).toBeInstanceOf(RejectedError);
    await end();
    const before = seen.length;
    const endOfLast = await respond('craft.batch', [first]);
    const pending = failure(client.command('kv.put', {}, { timeoutMs: 400 }));
    await expect.poll(() => seen.length).toBeGreaterThan(before);
    await endOfLast();
    expect(await pending).toBeInstanceOf(OutcomeUnknownError);
  });

  it.each([
    ['INVALID_ARGUMENT', InvalidArgumentError],
    ['UNKNOWN_COMMAND', UnknownCommandError],
    ['PAYLOAD_TOO_LARGE', PayloadTooLargeError],
    ['REJECTED', RejectedError],
    ['INTERNAL', InternalError],
  ])('throws %s at once as a class of its own', async (code, errorClass) => {
    const end = await respond('craft.batch', [refused(code)]);
    const error = await failure(client.command('kv.put', {}));
    expect(error).toBeInstanceOf(errorClass);
    expect(error).toMatchObject({ code, message: `because ${code}`, retryable: false });
    expect(seen).toHaveLength(1);
    await end();
  });

  it('refuses what cannot be sent', async () => {
    const large = 'x'.repeat((client.connection.info?.max_payload ?? 0) + 1);
    expect(await failure(client.command('kv.put', { large }))).toBeInstanceOf(PayloadTooLargeError);
    expect(await failure(client.command('kv.put', undefined))).toBeInstanceOf(InvalidArgumentError);
    expect(await failure(client.command('kv.put', {}, { after: 1.5 }))).toBeInstanceOf(InvalidArgumentError);
    expect(await failure(client.query('kv.get', undefined))).toBeInstanceOf(InvalidArgumentError);
    expect(await failure(client.query('kv.get', { large }))).toBeInstanceOf(PayloadTooLargeError);
  });

  it('a query that nobody answered is unavailable, not unknown', async () => {
    const end = await respond('craft.query.>', ['silence']);
    expect(await failure(client.kv.get('a', { timeoutMs: 300 }))).toBeInstanceOf(UnavailableError);
    script = [{ ok: true, result: { value: 1, version: 2 } }];
    expect(await client.kv.get('a', { consistency: 'local' })).toEqual({ value: 1, version: 2 });
    await end();
  });

  it('sends Craft-After so that nothing of this client is ordered before its committed commands (T7)', async () => {
    const committed = (timestamp: number) => ({ ok: true, group: 0, timestamp });
    const end = await respond('craft.batch', [
      applied(1, 1_000),
      committed(3_000),
      committed(4_000),
      applied(2, 5_000),
      applied(3, 6_000),
    ]);
    await client.command('kv.put', {});
    expect(await client.command('kv.put', {}, { ack: 'committed' })).not.toHaveProperty('index');
    await client.command('kv.put', {}, { ack: 'committed', after: 3_500 });
    await client.command('kv.put', {});
    await client.command('kv.put', {});
    expect(seen.map(({ ack, after }) => [ack, after])).toEqual([
      ['applied', 0],
      ['committed', 1_000],
      ['committed', 3_500],
      ['applied', 4_000],
      ['applied', 0],
    ]);
    await end();
  });

  it('ends early with its signal: unknown when something was sent, else with the reason', async () => {
    const end = await respond('craft.batch', ['silence']);
    const abort = new AbortController();
    const pending = failure(client.command('kv.put', {}, { signal: abort.signal }));
    await expect.poll(() => seen.length).toBe(1);
    const reason = new Error('enough');
    abort.abort(reason);
    expect(await pending).toMatchObject({ code: 'TIMEOUT_UNKNOWN', cause: reason });
    expect(await failure(client.command('kv.put', {}, { signal: abort.signal }))).toBe(reason);
    expect(seen).toHaveLength(1);
    await end();
  });

  it('a command in flight at close is unknown; afterwards nothing is sent', async () => {
    const end = await respond('craft.batch', ['silence']);
    const other = await connectCraft({ servers: server.url });
    const pending = failure(other.command('kv.put', {}));
    await expect.poll(() => seen.length).toBe(1);
    await other.close();
    expect(await pending).toBeInstanceOf(OutcomeUnknownError);
    expect(await failure(other.command('kv.put', {}))).toBeInstanceOf(UnavailableError);
    await end();
  });

  it('what is issued in one turn travels in one message, and each command has its own outcome', async () => {
    const end = await respond('craft.batch', [
      applied(1, 1),
      refused('REJECTED'),
      refused('OVERLOADED'),
      applied(4, 4),
      applied(5, 5),
    ]);
    const outcomes = await Promise.allSettled(
      ['a', 'b', 'c', 'd'].map((key, at) => client.kv.put(key, 1, { id: key, ack: at === 3 ? 'ordered' : 'applied' })),
    );
    expect(outcomes.map((one) => (one.status === 'fulfilled' ? one.value.index : one.reason))).toEqual([
      1,
      expect.any(RejectedError),
      5,
      4,
    ]);
    // The refused one comes again, alone.
    expect(messages).toEqual([4, 1]);
    expect(seen.map(({ id, ack }) => [id, ack])).toEqual([
      ['a', 'applied'],
      ['b', 'applied'],
      ['c', 'applied'],
      ['d', 'ordered'],
      ['c', 'applied'],
    ]);
    await end();
  });

  it('hears the answers to a batch on the reply subject of its message, too, in any number of messages', async () => {
    const subscription = responder.subscribe('craft.batch', {
      callback: (_error, message) => {
        const { firstNumber, commands } = decodeCommandBatch(message.data);
        for (let at = commands.length - 1; at >= 0; at -= 1) {
          const reply = { number: firstNumber + at, ok: true, index: at + 1, timestamp: 1, resultJson: '{}' };
          message.respond(ReplyBatch.encode({ replies: [reply] }).finish());
        }
      },
    });
    open.add(subscription);
    await responder.flush();
    const replies = await Promise.all(['a', 'b', 'c'].map((key) => client.kv.put(key, 1)));
    expect(replies.map(({ index }) => index)).toEqual([1, 2, 3]);
  });

  it('hears all answers below the inbox prefix that it is given', async () => {
    const inboxes: string[] = [];
    const end = await respond('craft.>', [{ ok: true, index: 1, group: 0, timestamp: 1, result: {} }]);
    const heard = responder.subscribe('craft.>', {
      callback: (_error, { subject, reply = '', data }) => {
        inboxes.push(reply);
        if (subject.endsWith('batch')) inboxes.push(decodeCommandBatch(data).inbox);
      },
    });
    await responder.flush();
    const own = await connectCraft({ servers: server.url, nats: { inboxPrefix: '_INBOX_own' } });
    await own.kv.put('a', 1);
    await own.query('kv.get', { key: 'a' });
    await own.status({ timeoutMs: 100 });
    await own.close();
    await end();
    heard.unsubscribe();
    expect(inboxes).toHaveLength(5);
    for (const inbox of inboxes) expect(inbox).toMatch(/^_INBOX_own\./);
  });

  it('a batch that is refused as a whole fails each of its commands, with the reason', async () => {
    const error = { code: 'INVALID_ARGUMENT', message: 'no batch', retryable: false };
    const subscription = responder.subscribe('craft.batch', {
      callback: (_error, message) => void message.respond(ReplyBatch.encode({ error }).finish()),
    });
    open.add(subscription);
    await responder.flush();
    for (const failed of await Promise.all(['a', 'b'].map((key) => failure(client.kv.put(key, 1))))) {
      expect(failed).toBeInstanceOf(InvalidArgumentError);
      expect(failed).toMatchObject({ message: 'no batch' });
    }
  });

  it('a result that is no JSON is no result', async () => {
    const end = await respond('craft.batch', [{ ok: true, index: 1, group: 0, timestamp: 1, resultJson: '{' }]);
    expect(await failure(client.kv.put('a', 1))).toBeInstanceOf(OutcomeUnknownError);
    await end();
  });

  it('passes on the active trace context', async () => {
    const active = trace.setSpanContext(ROOT_CONTEXT, {
      traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
      spanId: '00f067aa0ba902b7',
      traceFlags: 1,
    });
    context.setGlobalContextManager(new FixedContext(active));
    const end = await respond('craft.batch', [applied(1, 1)]);
    try {
      await client.command('kv.put', {});
    } finally {
      context.disable();
    }
    await client.command('kv.put', {});
    expect(seen.map(({ traceparent }) => traceparent)).toEqual([
      '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
      '',
    ]);
    await end();
  });

  it("tells of retries in the caller's span, while that is recorded", async () => {
    const tracer = new BasicTracerProvider().getTracer('test');
    const span = tracer.startSpan('caller') as Span;
    context.setGlobalContextManager(new FixedContext(trace.setSpan(ROOT_CONTEXT, span)));
    try {
      for (const isRecorded of [true, false]) {
        const end = await respond('craft.batch', [refused('OVERLOADED'), 'silence', applied(1, 1)]);
        await client.command('kv.put', {});
        await end();
        if (isRecorded) span.end();
      }
    } finally {
      context.disable();
    }
    expect(span.events.map(({ name, attributes }) => [name, attributes?.['error.type']])).toEqual([
      ['craft.retry', 'OVERLOADED'],
      ['craft.retry', 'timeout'],
    ]);
  });

  it('collects the status of every server that answers, and of its applier', async () => {
    const status = (name: string) => ({
      server: name,
      version: '1',
      groups: [{ group: 0, role: 'leader', leader: name, term: 1, lastIndex: 5, commitIndex: 5 }],
    });
    const state = { server: 's2', appliedIndex: 7, ok: false, since: '2026-01-01T00:00:00Z', error: 'no database' };
    const answers = { status: [status('s2'), status('s1'), 'garbage'], applied: [state, 'garbage'] };
    const subscriptions = Object.entries(answers).flatMap(([verb, all]) =>
      all.map((answer) =>
        responder.subscribe(`craft.admin.${verb}`, {
          callback: (_error, message) => {
            message.respond(JSON.stringify(answer));
          },
        }),
      ),
    );
    await responder.flush();
    expect(await client.status()).toEqual([status('s1'), { ...status('s2'), state }]);
    // Servers of an older version have appliers that are not heard of.
    for (const subscription of subscriptions.slice(3)) subscription.unsubscribe();
    await responder.flush();
    expect(await client.status()).toEqual([status('s1'), status('s2')]);
    for (const subscription of subscriptions.slice(0, 3)) subscription.unsubscribe();
  });

  it('collects the health of all services of every server, from one process or several', async () => {
    const service = (name: string) => ({
      service: name,
      serves: true,
      conditions: [{ condition: 'nats', ok: true, since: 1 }],
    });
    const answers = [
      { server: 's2', version: '1', services: [service('replica'), service('merger'), service('applier')] },
      { server: 's1', version: '1', services: [service('replica')] },
      { server: 's1', version: '1', services: [service('applier')] },
      { server: 's3', services: 'garbage' },
    ];
    expect(await client.health()).toEqual([]);
    const subscriptions = answers.map((answer) =>
      responder.subscribe('craft.admin.health', {
        callback: (_error, message) => {
          message.respond(JSON.stringify(answer));
        },
      }),
    );
    await responder.flush();
    expect(await client.health()).toMatchObject([
      { server: 's1', services: expect.arrayContaining([service('replica'), service('applier')]) },
      { server: 's2', services: answers[0]?.services },
    ]);
    for (const subscription of subscriptions) subscription.unsubscribe();
  });
});

/** Says that one context is always active. */
class FixedContext implements ContextManager {
  constructor(private readonly fixed: Context) {}
  active(): Context {
    return this.fixed;
  }
  with<A extends unknown[], F extends (...args: A) => ReturnType<F>>(
    _context: Context,
    fn: F,
    self?: ThisParameterType<F>,
    ...args: A
  ): ReturnType<F> {
    return fn.call(self, ...args);
  }
  bind<T>(_context: Context, target: T): T {
    return target;
  }
  enable(): this {
    return this;
  }
  disable(): this {
    return this;
  }
}
