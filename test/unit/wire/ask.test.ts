/** Requests of services and operators, beside a stream that has the subjects of the cluster. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { TimeoutError } from '@nats-io/nats-core';
import { connect, headers, type NatsConnection } from 'nats';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { projectRoot } from '../../../deploy/local/project.js';
import { hasNoResponders } from '../../../services/cli/replies.js';
import { ask } from '../../../shared/wire/ask.js';
import { startTestNats, type TestNats } from '../../harness/index.js';

let server: TestNats;
let connection: NatsConnection;
beforeAll(async () => {
  server = await startTestNats();
  connection = await connect({ servers: server.url });
  await (await jetstreamManager(connection)).streams.add({ name: 'FOREIGN', subjects: ['craft.>'] });
});
afterAll(async () => {
  await connection?.close();
  await server?.stop();
});

it('takes the answer of a service, and not that of a stream that comes before it', async () => {
  // What the stream says first is seen by a request of NATS itself.
  const first = await connection.request('craft.admin.x', '{}');
  expect(first.json()).toMatchObject({ stream: 'FOREIGN' });
  const service = connection.subscribe('craft.admin.x', {
    callback: (_error, message) => {
      // After the acknowledgement has arrived: the service asks the stream itself before it
      // answers.
      void connection.request('craft.admin.other', '').then(() => message.respond(`${message.headers?.get('Own')}`));
    },
  });
  const own = headers();
  own.set('Own', 'mine');
  const answer = await ask(connection, 'craft.admin.x', '{}', { timeout: 5_000, headers: own });
  expect(answer.string()).toBe('mine');
  service.unsubscribe();
});

it('gives up when there is only a stream, and says when nobody listens', async () => {
  await expect(ask(connection, 'craft.admin.x', '', { timeout: 100 })).rejects.toBeInstanceOf(TimeoutError);
  const nobody = await ask(connection, 'other.admin.x', '', { timeout: 5_000 }).catch((error: unknown) => error);
  expect(hasNoResponders(nobody)).toBe(true);
});

it('is how all requests of services and operators are sent', async () => {
  const found: string[] = [];
  for (const folder of ['services', 'shared/wire']) {
    for (const name of await readdir(join(projectRoot(), folder), { recursive: true })) {
      if (!name.endsWith('.ts') || name.includes('node_modules')) continue;
      const text = await readFile(join(projectRoot(), folder, name), 'utf8');
      if (/connection\s*\.request\(/.test(text)) found.push(name);
    }
  }
  expect(found).toEqual([]);
});
