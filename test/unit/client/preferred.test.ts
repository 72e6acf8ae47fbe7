/** Which server a client asks first. */
import { expect, it } from 'vitest';
import {
  connectCraft,
  InvalidArgumentError,
  OutcomeUnknownError,
  UnavailableError,
} from '../../../shared/client/index.js';
import { applied, failure, ScriptedServices } from './scripted.js';

const services = new ScriptedServices();

it('asks the preferred server first, and any when that does not answer', async () => {
  const picky = await connectCraft({ connection: services.client.connection, prefer: 's2', attemptTimeoutMs: 100 });
  const end = await services.respond('craft.>', [
    applied(1, 1),
    applied(2, 2),
    'silence',
    applied(3, 3),
    applied(4, 4),
  ]);
  await picky.command('kv.put', { key: 'a' });
  await picky.query('kv.get', { key: 'a' });
  await picky.command('kv.put', { key: 'b' });
  await picky.command('kv.put', { key: 'c' });
  await picky.query('kv.get', { key: 'a' });
  await picky.command('kv.put', { key: 'd' }, { group: 1 });
  expect(services.seen.map(({ subject }) => subject.slice('craft.'.length))).toEqual([
    ...['server.s2.batch', 'server.s2.query.kv.get'],
    // It did not answer, and is left out for a while.
    ...['server.s2.batch', 'batch', 'batch'],
    ...['server.s2.query.kv.get', 'group.1.batch'],
  ]);
  await picky.close();
  await end();
  await expect(connectCraft({ servers: services.url, prefer: 's.2' })).rejects.toThrow(InvalidArgumentError);
});

it('leaves a preferred server out that used up the time of a call', async () => {
  const impatient = await connectCraft({ connection: services.client.connection, prefer: 's2', timeoutMs: 150 });
  const end = await services.respond('craft.>', ['silence', 'silence', applied(1, 1)]);
  expect(await failure(impatient.command('kv.put', { key: 'a' }))).toBeInstanceOf(OutcomeUnknownError);
  expect(await failure(impatient.query('kv.get', { key: 'a' }))).toBeInstanceOf(UnavailableError);
  await impatient.command('kv.put', { key: 'b' });
  await impatient.query('kv.get', { key: 'b' });
  expect(services.seen.map(({ subject }) => subject.slice('craft.'.length))).toEqual([
    ...['server.s2.batch', 'server.s2.query.kv.get', 'batch', 'query.kv.get'],
  ]);
  await impatient.close();
  await end();
});

it('measures which server is nearest before its first call, and keeps the order of the calls', async () => {
  const group = (role: string) => ({ group: 0, role, leader: 's1', term: 1, lastIndex: 1, commitIndex: 1 });
  const servers = { far: { delayMs: 60, role: 'leader' }, near: { delayMs: 0, role: 'follower' } };
  await services.listen('craft.admin.status', (message) => {
    for (const [server, { delayMs, role }] of Object.entries(servers)) {
      const about = { server, physical: 0, clockOffsetUs: 0, groups: [group(role)] };
      setTimeout(() => message.respond(JSON.stringify(about)), delayMs);
    }
  });
  const end = await services.respond('craft.server.>', [applied(1, 1)]);
  const nearest = await connectCraft({ connection: services.client.connection, prefer: 'nearest' });
  await Promise.all(['a', 'b', 'c'].map((key) => nearest.command('kv.put', { key })));
  await nearest.query('kv.get', { key: 'a' });
  expect(services.seen.map(({ subject, input }) => [subject, (input as { key: string }).key])).toEqual([
    ...['a', 'b', 'c'].map((key) => ['craft.server.far.batch', key]),
    ['craft.server.near.query.kv.get', 'a'],
  ]);
  expect(services.messages).toEqual([3]);
  await nearest.close();
  await end();
});
