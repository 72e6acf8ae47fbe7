/** What a client tries again, and which outcome it gives then. */
import { expect, it } from 'vitest';
import { OutcomeUnknownError, OverloadedError, RejectedError, UnavailableError } from '../../../shared/client/index.js';
import { type Answer, applied, failure, refused, ScriptedServices } from './scripted.js';

const services = new ScriptedServices();

it('pitfall: outcome unknown: retries what is retryable, and silence, with the same id', async () => {
  const end = await services.respond('craft.batch', [
    refused('OVERLOADED'),
    refused('NOT_LEADER'),
    'silence',
    'garbage',
    refused('TIMEOUT_UNKNOWN'),
    applied(9, 9_000),
  ]);
  const reply = await services.client.command('kv.put', { key: 'a' }, { id: 'mine' });
  expect(reply).toMatchObject({ id: 'mine', index: 9 });
  expect(services.seen.map(({ id }) => id)).toEqual(Array(6).fill('mine'));
  await end();
});

it('waits for somebody who listens', async () => {
  const pending = services.client.command('kv.put', { key: 'a' });
  await services.client.connection.flush();
  const end = await services.respond('craft.batch', [applied(1, 1)]);
  await pending;
  expect(services.seen).toHaveLength(1);
  await end();
});

it('is unavailable at the deadline when every attempt was refused', async () => {
  const started = performance.now();
  const nobody = await failure(services.client.command('kv.put', {}, { timeoutMs: 300 }));
  expect(nobody).toBeInstanceOf(UnavailableError);
  expect(performance.now() - started).toBeGreaterThanOrEqual(240);
  const end = await services.respond('craft.batch', [refused('OVERLOADED')]);
  const overloaded = (await failure(services.client.command('kv.put', {}, { timeoutMs: 300 }))) as Error;
  expect(overloaded).toBeInstanceOf(UnavailableError);
  expect(overloaded.cause).toBeInstanceOf(OverloadedError);
  expect(services.seen.length).toBeGreaterThan(2);
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
    const end = await services.respond('craft.batch', [first, refused(then)]);
    const error = await failure(services.client.command('kv.put', {}, { id: 'x', timeoutMs: 400 }));
    expect(error, then).toBeInstanceOf(OutcomeUnknownError);
    expect(error).toMatchObject({ code: 'TIMEOUT_UNKNOWN', id: 'x', retryable: true });
    await end();
  }
  const end = await services.respond('craft.batch', [first, refused('REJECTED')]);
  expect(await failure(services.client.command('kv.put', {}))).toBeInstanceOf(RejectedError);
  await end();
  const before = services.seen.length;
  const endOfLast = await services.respond('craft.batch', [first]);
  const pending = failure(services.client.command('kv.put', {}, { timeoutMs: 400 }));
  await expect.poll(() => services.seen.length).toBeGreaterThan(before);
  await endOfLast();
  expect(await pending).toBeInstanceOf(OutcomeUnknownError);
});

it('a query that nobody answered is unavailable, not unknown', async () => {
  const end = await services.respond('craft.query.>', ['silence']);
  expect(await failure(services.client.kv.get('a', { timeoutMs: 300 }))).toBeInstanceOf(UnavailableError);
  services.script = [{ ok: true, result: { value: 1, version: 2 } }];
  expect(await services.client.kv.get('a', { consistency: 'local' })).toEqual({ value: 1, version: 2 });
  await end();
});
