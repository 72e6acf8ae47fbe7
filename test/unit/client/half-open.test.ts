import type { NatsConnection, Subscription } from 'nats';
import { expect, it } from 'vitest';
import { connectCraft } from '../../../shared/client/index.js';

it('a client that cannot hear all of its answers gives back what it listens to already', async () => {
  const open = new Set<string>();
  const connection = {
    options: {},
    closed: () => new Promise(() => undefined),
    subscribe(subject: string) {
      if (open.size === 1) throw new Error('draining');
      open.add(subject);
      return { unsubscribe: () => void open.delete(subject) } as unknown as Subscription;
    },
  } as unknown as NatsConnection;
  await expect(connectCraft({ connection })).rejects.toThrow('draining');
  expect([...open]).toEqual([]);
});
