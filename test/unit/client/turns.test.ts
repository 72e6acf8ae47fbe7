/** Commands that are issued in one turn. */
import { expect, it } from 'vitest';
import { InvalidArgumentError, RejectedError } from '../../../shared/client/index.js';
import { decodeCommandBatch } from '../../../shared/wire/command-batch.js';
import { applied, failure, ReplyBatch, refused, ScriptedServices } from './scripted.js';

const services = new ScriptedServices();

it('what is issued in one turn travels in one message, and each command has its own outcome', async () => {
  const end = await services.respond('craft.batch', [
    applied(1, 1),
    refused('REJECTED'),
    refused('OVERLOADED'),
    applied(4, 4),
    applied(5, 5),
  ]);
  const outcomes = await Promise.allSettled(
    ['a', 'b', 'c', 'd'].map((key, at) =>
      services.client.kv.put(key, 1, { id: key, ack: at === 3 ? 'ordered' : 'applied' }),
    ),
  );
  expect(outcomes.map((one) => (one.status === 'fulfilled' ? one.value.index : one.reason))).toEqual([
    1,
    expect.any(RejectedError),
    5,
    4,
  ]);
  // The refused one comes again, alone.
  expect(services.messages).toEqual([4, 1]);
  expect(services.seen.map(({ id, ack }) => [id, ack])).toEqual([
    ['a', 'applied'],
    ['b', 'applied'],
    ['c', 'applied'],
    ['d', 'ordered'],
    ['c', 'applied'],
  ]);
  await end();
});

it('hears the answers to a batch on the reply subject of its message, too, in any number of messages', async () => {
  await services.listen('craft.batch', (message) => {
    const { firstNumber, commands } = decodeCommandBatch(message.data);
    for (let at = commands.length - 1; at >= 0; at -= 1) {
      const reply = { number: firstNumber + at, ok: true, index: at + 1, timestamp: 1, resultJson: '{}' };
      message.respond(ReplyBatch.encode({ replies: [reply] }).finish());
    }
  });
  const replies = await Promise.all(['a', 'b', 'c'].map((key) => services.client.kv.put(key, 1)));
  expect(replies.map(({ index }) => index)).toEqual([1, 2, 3]);
});

it('a batch that is refused as a whole fails each of its commands, with the reason', async () => {
  const error = { code: 'INVALID_ARGUMENT', message: 'no batch', retryable: false };
  await services.listen('craft.batch', (message) => message.respond(ReplyBatch.encode({ error }).finish()));
  for (const failed of await Promise.all(['a', 'b'].map((key) => failure(services.client.kv.put(key, 1))))) {
    expect(failed).toBeInstanceOf(InvalidArgumentError);
    expect(failed).toMatchObject({ message: 'no batch' });
  }
});
