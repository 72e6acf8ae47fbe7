/**
 * The public contract of batches, from a plain NATS client with the public protobuf file against
 * three real servers.
 */
import type { Msg, Subscription } from 'nats';
import { createInbox, headers } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import '../../../shared/wire/protobuf.js';
import { craft } from '../../../shared/wire/generated/craft.js';
import { eventually, startTestCluster, type TestCluster } from '../../harness/index.js';
import { PlainClient } from './plain-client.js';

const { CommandBatch, ReplyBatch, Acknowledgement, PayloadFormat, KvPut } = craft.v1;

type Command = craft.v1.IBatchCommand;
type Reply = craft.v1.ICommandReply;

const put = (key: string, value: unknown, more: Partial<Command> & { ifVersion?: number } = {}): Command => {
  const { ifVersion, ...fields } = more;
  const input = ifVersion === undefined ? { key, value } : { key, value, ifVersion };
  return { name: 'kv.put', payload: Buffer.from(JSON.stringify(input)), ...fields };
};

/**
 * A client of batches as the contract describes it: one inbox, and a number of its own for each
 * command.
 */
class BatchClient {
  /** By number; a second answer to a command would show as a change. */
  readonly answers = new Map<number, Reply>();
  readonly twice: number[] = [];
  messages = 0;
  next = 1;
  private readonly inbox = createInbox();
  private readonly subscription: Subscription;

  constructor(
    private readonly plain: PlainClient,
    private readonly cluster: string,
  ) {
    this.subscription = plain.nats.subscribe(this.inbox, { callback: (_error, message) => this.hear(message) });
  }

  close(): void {
    this.subscription.unsubscribe();
  }

  /**
   * `subject` without the cluster's name. Resolves with the answers, in the order of the commands.
   */
  async run(commands: readonly Command[], subject = 'batch'): Promise<Reply[]> {
    const numbers = this.send(commands, subject);
    await eventually('all answers', () => numbers.every((number) => this.answers.has(number)));
    return numbers.map((number) => this.answers.get(number) ?? {});
  }

  send(commands: readonly Command[], subject = 'batch'): number[] {
    const firstNumber = this.next;
    this.next += commands.length;
    const data = CommandBatch.encode({ firstNumber, inbox: this.inbox, commands: [...commands] }).finish();
    this.plain.nats.publish(`${this.cluster}.${subject}`, data, { reply: this.inbox });
    return commands.map((_, at) => firstNumber + at);
  }

  private hear(message: Msg): void {
    this.messages += 1;
    for (const reply of ReplyBatch.decode(message.data).replies) {
      const number = reply.number ?? 0;
      if (this.answers.has(number)) this.twice.push(number);
      this.answers.set(number, reply);
    }
  }
}

const codes = (replies: readonly Reply[]) => replies.map(({ ok, error }) => (ok ? 'ok' : error?.code));

describe('batches of commands', () => {
  let test: TestCluster;
  let cluster: string;
  let plain: PlainClient;
  let client: BatchClient;

  beforeAll(async () => {
    test = await startTestCluster();
    cluster = test.cluster.cluster;
    plain = await PlainClient.open(test.cluster);
    client = new BatchClient(plain, cluster);
  });
  afterAll(async () => {
    expect(client?.twice ?? []).toEqual([]);
    client?.close();
    await plain?.close();
    await test?.stop();
  });

  it('run each command with its result, in one group and in the order of the batch', async () => {
    const commands = Array.from({ length: 200 }, (_, n) => put('order', n));
    const before = client.messages;
    const replies = await client.run(commands);
    expect(codes(replies)).toEqual(commands.map(() => 'ok'));
    expect(new Set(replies.map(({ group }) => group)).size).toBe(1);
    expect(replies.map(({ resultJson }) => resultJson)).toEqual(commands.map((_, n) => `{"version":${n + 1}}`));
    for (const [at, reply] of replies.entries()) {
      if (at === 0) continue;
      expect(reply.index).toBeGreaterThan(replies[at - 1]?.index ?? 0);
      expect(reply.timestamp).toBeGreaterThan(replies[at - 1]?.timestamp ?? 0);
    }
    const row = await plain.rowEverywhere('order', ({ version }) => version === 200);
    expect(row).toMatchObject({ value: 199, mergedIndex: replies.at(-1)?.index });
    // A transaction or a few, not a message a command.
    expect(client.messages - before).toBeLessThanOrEqual(20);
  });

  it.each([0, 1, 2])('go through the leader of group %i when they are sent there', async (group) => {
    const replies = await client.run([put('grouped', 1), put('grouped', 2)], `group.${group}.batch`);
    expect(replies).toMatchObject([
      { ok: true, group },
      { ok: true, group },
    ]);
  });

  it('answer each command when it asked to be: committed, ordered, applied', async () => {
    const commands = [
      put('acks', 1, { acknowledgement: Acknowledgement.ACKNOWLEDGEMENT_COMMITTED }),
      put('acks', 2, { acknowledgement: Acknowledgement.ACKNOWLEDGEMENT_ORDERED }),
      put('acks', 3, { acknowledgement: Acknowledgement.ACKNOWLEDGEMENT_APPLIED }),
      put('acks', 4, { acknowledgement: Acknowledgement.ACKNOWLEDGEMENT_COMMITTED }),
    ];
    const replies = await client.run(commands);
    expect(replies.map(({ ok, index, resultJson }) => [ok, (index ?? 0) > 0, resultJson])).toEqual([
      [true, false, ''],
      [true, false, ''],
      [true, true, '{"version":3}'],
      [true, false, ''],
    ]);
    const row = await plain.rowEverywhere('acks', ({ version }) => version === 4);
    expect(row.updatedAtUs).toBe(replies[3]?.timestamp);
  });

  it('give each command its own outcome: good, rejected, refused, malformed and twice the same id', async () => {
    await client.run([put('mixed', 0)]);
    const before = await plain.logs();
    // What is refused before anything is appended, first alone.
    const refused = [
      { name: 'kv.fly', payload: Buffer.from('{}') },
      { name: 'kv.put', payload: Buffer.from('{"key":7,"value":1}') },
      { name: 'kv.put', payload: Buffer.from('{"key":') },
      put('mixed', 'x'.repeat(300_000)),
      put('mixed', 1, { id: 'i'.repeat(257) }),
      put('mixed', 1, { id: 'a\ufffd' }),
      put('mixed', 1, { acknowledgement: 9 as craft.v1.Acknowledgement }),
      put('mixed', 1, { payloadFormat: 9 as craft.v1.PayloadFormat }),
      put('mixed', 1, { after: (Date.now() + 3_600_000) * 1_000 }),
      { name: 'kv.put', payload: Buffer.from([0xff]), payloadFormat: PayloadFormat.PAYLOAD_FORMAT_PROTOBUF },
    ];
    const wanted = ['UNKNOWN_COMMAND', 'INVALID_ARGUMENT', 'INVALID_ARGUMENT', 'PAYLOAD_TOO_LARGE'];
    while (wanted.length < refused.length) wanted.push('INVALID_ARGUMENT');
    expect(codes(await client.run(refused))).toEqual(wanted);
    expect(await plain.logs()).toEqual(before);

    const good = [
      put('mixed', 1, { id: 'mixed-1' }),
      put('mixed', 2, { ifVersion: 9 }),
      put('mixed', 3, { id: 'mixed-1' }),
      put('mixed', 4, { ifVersion: 2 }),
    ];
    const replies = await client.run(refused.flatMap((one, at) => (at < good.length ? [one, good[at] ?? {}] : [one])));
    const [first, rejected, second, last] = [1, 3, 5, 7].map((at) => replies[at]);
    expect(codes([first, rejected, second, last].map((one) => one ?? {}))).toEqual(['ok', 'REJECTED', 'ok', 'ok']);
    expect({ ...second, number: 0 }).toEqual({ ...first, number: 0 });
    expect(last?.resultJson).toBe('{"version":3}');
    expect(await plain.rowEverywhere('mixed', ({ version }) => version === 3)).toMatchObject({ value: 4 });
    // By an id, a command of a batch and one that comes alone are the same command (T8).
    const alone = await plain.request('cmd.kv.put', { key: 'mixed', value: 5 }, { 'Nats-Msg-Id': 'mixed-1' });
    expect(alone.body).toMatchObject({ index: first?.index, result: { version: 2 } });
  });

  it('stamp a command after its Craft-After', async () => {
    const after = (Date.now() + 200) * 1_000;
    const [reply] = await client.run([put('after', 1, { after })]);
    expect(reply?.timestamp).toBeGreaterThan(after);
  });

  it('take payloads in protobuf', async () => {
    const payload = KvPut.encode({ key: 'binary-batch', valueJson: '{"n":1}' }).finish();
    const payloadFormat = PayloadFormat.PAYLOAD_FORMAT_PROTOBUF;
    const [reply] = await client.run([{ name: 'kv.put', payload, payloadFormat }]);
    expect(reply).toMatchObject({ ok: true, resultJson: '{"version":1}' });
    expect(await plain.rowEverywhere('binary-batch')).toMatchObject({ value: { n: 1 } });
  });

  it('without an inbox are answered on the reply subject, and without that run all the same', async () => {
    const commands = [put('no-inbox', 1), { name: 'kv.fly' }];
    const inbox = createInbox();
    const heard: Reply[] = [];
    const subscription = plain.nats.subscribe(inbox, {
      callback: (_error, message) => void heard.push(...ReplyBatch.decode(message.data).replies),
    });
    const data = CommandBatch.encode({ firstNumber: 41, commands }).finish();
    plain.nats.publish(`${cluster}.batch`, data, { reply: inbox });
    await eventually('two answers', () => heard.length === 2);
    const sorted = heard.sort((a, b) => (a.number ?? 0) - (b.number ?? 0));
    expect(sorted.map(({ number }) => number)).toEqual([41, 42]);
    expect(codes(sorted)).toEqual(['ok', 'UNKNOWN_COMMAND']);
    subscription.unsubscribe();
    plain.nats.publish(
      `${cluster}.batch`,
      CommandBatch.encode({ firstNumber: 1, commands: [put('silent', 1)] }).finish(),
    );
    await plain.nats.flush();
    await eventually('the row', async () => (await plain.rows('silent')).every((row) => row !== undefined));
  });

  it.each([
    ['bytes that are no batch', Buffer.from('{"key":"bad","value":1}')],
    ['no bytes', new Uint8Array(0)],
    [
      'a batch that is cut off',
      CommandBatch.encode({ firstNumber: 1, commands: [put('bad', 1)] })
        .finish()
        .slice(0, -1),
    ],
    ['a batch without commands', CommandBatch.encode({ firstNumber: 1 }).finish()],
    ['a batch without a number', CommandBatch.encode({ commands: [put('bad', 1)] }).finish()],
    ['too many commands', CommandBatch.encode({ firstNumber: 1, commands: Array(1_025).fill(put('bad', 1)) }).finish()],
    [
      'an inbox with white space',
      CommandBatch.encode({ firstNumber: 1, inbox: 'a b', commands: [put('bad', 1)] }).finish(),
    ],
    [
      'an inbox of NATS',
      CommandBatch.encode({ firstNumber: 1, inbox: '$JS.API.INFO', commands: [put('bad', 1)] }).finish(),
    ],
    [
      'an inbox of the services',
      CommandBatch.encode({ firstNumber: 1, inbox: 'craft.log.s1', commands: [put('bad', 1)] }).finish(),
    ],
  ])('get one typed error as a whole, and change nothing: %s', async (_, data) => {
    const before = await plain.logs();
    for (const subject of ['batch', 'group.1.batch']) {
      const message = await plain.nats.request(`${cluster}.${subject}`, data, { timeout: 10_000 });
      const { replies, error } = ReplyBatch.decode(message.data);
      expect(replies).toEqual([]);
      expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', retryable: false });
      expect(error?.message).not.toBe('');
    }
    expect(await plain.logs()).toEqual(before);
    expect(await plain.rows('bad')).toEqual([undefined, undefined, undefined]);
  });

  it('that want their answer on a subject of the services are dropped', async () => {
    const data = CommandBatch.encode({ firstNumber: 1, commands: [put('bad', 1)] }).finish();
    for (const group of [0, 1, 2]) {
      const subject = `${cluster}.group.${group}.batch`;
      plain.nats.publish(subject, data, { reply: `${cluster}.log.s1` });
      // The leader has read what came before.
      const good = CommandBatch.encode({ firstNumber: 1, commands: [put(`good-${group}`, 1)] }).finish();
      const message = await plain.nats.request(subject, good, { timeout: 10_000 });
      expect(codes(ReplyBatch.decode(message.data).replies)).toEqual(['ok']);
    }
    expect(await plain.rows('bad')).toEqual([undefined, undefined, undefined]);
  });

  it('to a group that does not exist have nobody who listens', async () => {
    const data = CommandBatch.encode({ firstNumber: 1, commands: [put('bad', 1)] }).finish();
    await expect(plain.nats.request(`${cluster}.group.3.batch`, data)).rejects.toThrow(/no responders/);
  });

  it('may carry headers, which mean nothing', async () => {
    const header = headers();
    header.set('Craft-Ack', 'maybe');
    const data = CommandBatch.encode({ firstNumber: 1, commands: [put('headers', 1)] }).finish();
    const message = await plain.nats.request(`${cluster}.batch`, data, { timeout: 10_000, headers: header });
    expect(codes(ReplyBatch.decode(message.data).replies)).toEqual(['ok']);
  });
});
