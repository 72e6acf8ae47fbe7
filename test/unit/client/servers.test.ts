/** What a client collects of all servers. */
import { expect, it } from 'vitest';
import { ScriptedServices } from './scripted.js';

const services = new ScriptedServices();

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
      services.responder.subscribe(`craft.admin.${verb}`, {
        callback: (_error, message) => {
          message.respond(JSON.stringify(answer));
        },
      }),
    ),
  );
  await services.responder.flush();
  expect(await services.client.status()).toEqual([status('s1'), { ...status('s2'), state }]);
  // Servers of an older version have appliers that are not heard of.
  for (const subscription of subscriptions.slice(3)) subscription.unsubscribe();
  await services.responder.flush();
  expect(await services.client.status()).toEqual([status('s1'), status('s2')]);
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
  expect(await services.client.health()).toEqual([]);
  const subscriptions = answers.map((answer) =>
    services.responder.subscribe('craft.admin.health', {
      callback: (_error, message) => {
        message.respond(JSON.stringify(answer));
      },
    }),
  );
  await services.responder.flush();
  expect(await services.client.health()).toMatchObject([
    { server: 's1', services: expect.arrayContaining([service('replica'), service('applier')]) },
    { server: 's2', services: answers[0]?.services },
  ]);
  for (const subscription of subscriptions) subscription.unsubscribe();
});
