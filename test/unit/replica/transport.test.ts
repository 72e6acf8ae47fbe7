/** What arrives on subjects that any client may publish to, and what cannot be sent. */
import type { Msg, NatsConnection } from '@nats-io/nats-core';
import { expect, it } from 'vitest';
import { Transport } from '../../../services/replica/transport.js';
import { ReplyGuard } from '../../../shared/wire/reply-guard.js';
import { Subjects } from '../../../shared/wire/subjects.js';
import { WireError } from '../../../shared/wire/wire-error.js';

type Callback = (error: Error | null, message: Msg) => void;

function transportOver(publish: () => void = () => undefined) {
  const callbacks = new Map<string, Callback>();
  const said: unknown[] = [];
  const malformed = { count: 0, add: () => void malformed.count++ };
  const connection = {
    subscribe: (subject: string, { callback }: { callback: Callback }) => void callbacks.set(subject, callback),
    publish,
  } as unknown as Pick<NatsConnection, 'subscribe' | 'publish'>;
  const replies = new ReplyGuard(new Subjects('c'), '_INBOX_services', (reply) => void said.push(reply));
  const transport = new Transport({ connection, replies, malformed, warn: (kind) => void said.push(kind) });
  const deliver = (subject: string, message: Partial<Msg>, error: Error | null = null) =>
    callbacks.get(subject)?.(error, message as Msg);
  return { transport, deliver, said, malformed };
}

it('counts what is malformed, tells every other failure, and throws neither', () => {
  const { transport, deliver, said, malformed } = transportOver();
  const failures = [new WireError('no envelope'), new Error('a defect')];
  const taken: Msg[] = [];
  transport.listen('here', (message) => {
    taken.push(message);
    const failure = failures.shift();
    if (failure !== undefined) throw failure;
  });
  for (let n = 0; n < 3; n++) deliver('here', {});
  deliver('here', {}, new Error('no permission'));
  expect(taken).toHaveLength(3);
  expect(malformed.count).toBe(1);
  expect(said).toEqual(['malformed message on here', 'failed on here']);
});

it('takes what wants its answer on an inbox of the services from services only', () => {
  const { transport, deliver, said } = transportOver();
  const taken: string[] = [];
  transport.listen('for services', ({ reply = '' }) => void taken.push(`service ${reply}`));
  transport.listen('for clients', ({ reply = '' }) => void taken.push(`client ${reply}`), 'client');
  for (const subject of ['for services', 'for clients']) {
    for (const reply of ['_INBOX_services.1', '_INBOX.2', 'c.cmd.kv.put']) deliver(subject, { reply });
  }
  expect(taken).toEqual(['service _INBOX_services.1', 'service _INBOX.2', 'client _INBOX.2']);
  expect(said).toEqual(['c.cmd.kv.put', '_INBOX_services.1', 'c.cmd.kv.put']);
});

it('loses a message that cannot be sent, and says so', () => {
  const { transport, said } = transportOver(() => {
    throw new Error('the connection is closed');
  });
  transport.publish('there', new Uint8Array(1));
  expect(said).toEqual(['failed on there']);
});
