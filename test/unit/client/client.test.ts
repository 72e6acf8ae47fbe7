/** Commands and queries of a client, one by one. */
import { jetstreamManager } from '@nats-io/jetstream';
import { expect, it } from 'vitest';
import {
  connectCraft,
  InternalError,
  InvalidArgumentError,
  OutcomeUnknownError,
  PayloadTooLargeError,
  RejectedError,
  UnavailableError,
  UnknownCommandError,
} from '../../../shared/client/index.js';
import { decodeCommandBatch } from '../../../shared/wire/command-batch.js';
import { isPubAck } from '../../../shared/wire/pub-ack.js';
import { applied, failure, refused, ScriptedServices } from './scripted.js';

const services = new ScriptedServices();

it('returns the reply and makes an id of its own for each command', async () => {
  const end = await services.respond('craft.batch', [applied(1, 1_000), applied(2, 2_000)]);
  expect(await services.client.kv.put('a', { n: 1 }, { ifVersion: 0 })).toMatchObject({
    index: 1,
    group: 1,
    timestamp: 1_000,
    result: { version: 1 },
  });
  await services.client.kv.delete('a');
  expect(services.seen.map(({ subject, name, input }) => [subject, name, input])).toEqual([
    ['craft.batch', 'kv.put', { key: 'a', value: { n: 1 }, ifVersion: 0 }],
    ['craft.batch', 'kv.delete', { key: 'a' }],
  ]);
  expect(services.seen[0]?.id).toMatch(/^[0-9a-f-]{36}$/);
  expect(services.seen[1]?.id).not.toBe(services.seen[0]?.id);
  expect(services.client.timestamp).toBe(2_000);
  await end();
});

it('sends commands to one group and under another cluster name', async () => {
  const other = await connectCraft({ connection: services.client.connection, cluster: 'blue' });
  const end = await services.respond('blue.>', [applied(1, 1)]);
  await other.command('kv.put', { key: 'a' }, { group: 2 });
  await other.query('kv.get', { key: 'a' });
  await other.sync('s2');
  expect(services.seen.map(({ subject }) => subject)).toEqual([
    'blue.group.2.batch',
    'blue.query.kv.get',
    'blue.sync.s2',
  ]);
  await other.close();
  expect(services.client.connection.isClosed()).toBe(false);
  await end();
});

it.each([
  ['INVALID_ARGUMENT', InvalidArgumentError],
  ['UNKNOWN_COMMAND', UnknownCommandError],
  ['PAYLOAD_TOO_LARGE', PayloadTooLargeError],
  ['REJECTED', RejectedError],
  ['INTERNAL', InternalError],
])('throws %s at once as a class of its own', async (code, errorClass) => {
  const end = await services.respond('craft.batch', [refused(code)]);
  const error = await failure(services.client.command('kv.put', {}));
  expect(error).toBeInstanceOf(errorClass);
  expect(error).toMatchObject({ code, message: `because ${code}`, retryable: false });
  expect(services.seen).toHaveLength(1);
  await end();
});

it('refuses what cannot be sent', async () => {
  const large = 'x'.repeat((services.client.connection.info?.max_payload ?? 0) + 1);
  expect(await failure(services.client.command('kv.put', { large }))).toBeInstanceOf(PayloadTooLargeError);
  expect(await failure(services.client.command('kv.put', undefined))).toBeInstanceOf(InvalidArgumentError);
  expect(await failure(services.client.command('kv.put', {}, { after: 1.5 }))).toBeInstanceOf(InvalidArgumentError);
  expect(await failure(services.client.query('kv.get', undefined))).toBeInstanceOf(InvalidArgumentError);
  expect(await failure(services.client.query('kv.get', { large }))).toBeInstanceOf(PayloadTooLargeError);
});

it('sends Craft-After so that nothing of this client is ordered before its committed commands (T7)', async () => {
  const committed = (timestamp: number) => ({ ok: true, group: 0, timestamp });
  const end = await services.respond('craft.batch', [
    applied(1, 1_000),
    committed(3_000),
    committed(4_000),
    applied(2, 5_000),
    applied(3, 6_000),
  ]);
  await services.client.command('kv.put', {});
  expect(await services.client.command('kv.put', {}, { ack: 'committed' })).not.toHaveProperty('index');
  await services.client.command('kv.put', {}, { ack: 'committed', after: 3_500 });
  await services.client.command('kv.put', {});
  await services.client.command('kv.put', {});
  expect(services.seen.map(({ ack, after }) => [ack, after])).toEqual([
    ['applied', 0],
    ['committed', 1_000],
    ['committed', 3_500],
    ['applied', 4_000],
    ['applied', 0],
  ]);
  await end();
});

it('ends early with its signal: unknown when something was sent, else with the reason', async () => {
  const end = await services.respond('craft.batch', ['silence']);
  const abort = new AbortController();
  const pending = failure(services.client.command('kv.put', {}, { signal: abort.signal }));
  await expect.poll(() => services.seen.length).toBe(1);
  const reason = new Error('enough');
  abort.abort(reason);
  expect(await pending).toMatchObject({ code: 'TIMEOUT_UNKNOWN', cause: reason });
  expect(await failure(services.client.command('kv.put', {}, { signal: abort.signal }))).toBe(reason);
  expect(services.seen).toHaveLength(1);
  await end();
});

it('a command in flight at close is unknown; afterwards nothing is sent', async () => {
  const end = await services.respond('craft.batch', ['silence']);
  const other = await connectCraft({ servers: services.url });
  const pending = failure(other.command('kv.put', {}));
  await expect.poll(() => services.seen.length).toBe(1);
  await other.close();
  expect(await pending).toBeInstanceOf(OutcomeUnknownError);
  expect(await failure(other.command('kv.put', {}))).toBeInstanceOf(UnavailableError);
  await end();
});

it('a result that is no JSON is no result', async () => {
  const end = await services.respond('craft.batch', [{ ok: true, index: 1, group: 0, timestamp: 1, resultJson: '{' }]);
  expect(await failure(services.client.kv.put('a', 1))).toBeInstanceOf(OutcomeUnknownError);
  await end();
});

it('does not take the acknowledgement of a stream that has its subjects for an answer', async () => {
  await (await jetstreamManager(services.responder)).streams.add({ name: 'FOREIGN', subjects: ['foreign.>'] });
  const acknowledgement = (await services.responder.request('foreign.command', '{}')).data;
  expect(isPubAck(acknowledgement)).toBe(true);
  const subjects = ['craft.batch', 'craft.query.>'];
  for (const subject of subjects) await services.listen(subject, (message) => message.respond(acknowledgement));
  const end = await services.respond('craft.batch', [applied(1, 1_000)]);
  expect(await services.client.kv.put('a', 1)).toMatchObject({ index: 1 });
  await end();
  const endQuery = await services.respond('craft.query.>', [{ ok: true, result: { version: 1 } }]);
  expect(await services.client.query('kv.get', { key: 'a' })).toEqual({ version: 1 });
  await endQuery();
  // One attempt for each.
  expect(services.seen.map(({ subject }) => subject)).toEqual(['craft.batch', 'craft.query.kv.get']);
  for (const text of ['{"ok":true}', '{"error":', '{"stream":"S","ok":true}', '']) {
    expect(isPubAck(Buffer.from(text)), text).toBe(false);
  }
});

it('hears all answers below the inbox prefix that it is given', async () => {
  const inboxes: string[] = [];
  const end = await services.respond('craft.>', [{ ok: true, index: 1, group: 0, timestamp: 1, result: {} }]);
  const heard = services.responder.subscribe('craft.>', {
    callback: (_error, { subject, reply = '', data }) => {
      inboxes.push(reply);
      if (subject.endsWith('batch')) inboxes.push(decodeCommandBatch(data).inbox);
    },
  });
  await services.responder.flush();
  const own = await connectCraft({ servers: services.url, nats: { inboxPrefix: '_INBOX_own' } });
  await own.kv.put('a', 1);
  await own.query('kv.get', { key: 'a' });
  await own.status({ timeoutMs: 100 });
  await own.close();
  await end();
  heard.unsubscribe();
  expect(inboxes).toHaveLength(5);
  for (const inbox of inboxes) expect(inbox).toMatch(/^_INBOX_own\./);
});
