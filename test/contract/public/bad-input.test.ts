/**
 * Whatever is sent to whatever subject: a typed error or a counted drop, nothing appended, no
 * leader lost.
 */
import '../../../shared/wire/protobuf.js';

import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EntryKind } from '../../../shared/raft/entry.js';
import type { MessageBody } from '../../../shared/raft/message.js';
import { encodeEntry } from '../../../shared/wire/entry-block.js';
import { encodeEnvelope } from '../../../shared/wire/envelope.js';
import { ErrorCode } from '../../../shared/wire/errors.js';
import { craft } from '../../../shared/wire/generated/craft.js';
import { eventually, startTestCluster, type TestCluster } from '../../harness/index.js';
import { PlainClient } from './plain-client.js';
import { NatsSocket } from './socket.js';

const PUT = '{"key":"bad","value":1}';

interface Refusal {
  readonly what: string;
  readonly code: keyof typeof ErrorCode;
  readonly payload?: string;
  readonly subject?: string;
  readonly header?: Record<string, string>;
}

const REFUSALS: readonly Refusal[] = [
  { what: 'not JSON', code: 'INVALID_ARGUMENT', payload: '{"key":' },
  { what: 'an empty payload', code: 'INVALID_ARGUMENT', payload: '' },
  { what: 'bytes that are not UTF-8', code: 'INVALID_ARGUMENT', payload: 'BINARY' },
  { what: 'JSON that is no object', code: 'INVALID_ARGUMENT', payload: '[1]' },
  { what: 'null', code: 'INVALID_ARGUMENT', payload: 'null' },
  { what: 'a field that there is none of', code: 'INVALID_ARGUMENT', payload: '{"key":"bad","value":1,"ifversion":1}' },
  {
    what: 'a number that a double changes',
    code: 'INVALID_ARGUMENT',
    payload: '{"key":"bad","value":9007199254740993}',
  },
  {
    what: 'a deep nesting',
    code: 'INVALID_ARGUMENT',
    payload: `{"key":"bad","value":${'['.repeat(5_000)}${']'.repeat(5_000)}}`,
  },
  { what: 'a missing field', code: 'INVALID_ARGUMENT', payload: '{"key":"bad"}' },
  { what: 'a field of another type', code: 'INVALID_ARGUMENT', payload: '{"key":7,"value":1}' },
  { what: 'a negative version', code: 'INVALID_ARGUMENT', payload: '{"key":"bad","value":1,"ifVersion":-1}' },
  { what: 'an empty key', code: 'INVALID_ARGUMENT', payload: '{"key":"","value":1}' },
  {
    what: 'a key with a NUL, which Postgres cannot hold',
    code: 'INVALID_ARGUMENT',
    payload: '{"key":"\\u0000","value":1}',
  },
  { what: 'a value with a NUL', code: 'INVALID_ARGUMENT', payload: '{"key":"bad","value":"\\u0000"}' },
  { what: 'half a surrogate pair', code: 'INVALID_ARGUMENT', payload: '{"key":"bad","value":"\\ud800"}' },
  {
    what: 'a key that is too long',
    code: 'INVALID_ARGUMENT',
    payload: JSON.stringify({ key: 'k'.repeat(513), value: 1 }),
  },
  {
    what: 'too many bytes',
    code: 'PAYLOAD_TOO_LARGE',
    payload: JSON.stringify({ key: 'bad', value: 'x'.repeat(300_000) }),
  },
  {
    what: 'few bytes that stand for many digits',
    code: 'PAYLOAD_TOO_LARGE',
    payload: `{"key":"bad","value":[${Array(40_000).fill('1e20')}]}`,
  },
  { what: 'an unknown command', code: 'UNKNOWN_COMMAND', subject: 'cmd.kv.fly' },
  { what: 'a command and more', code: 'UNKNOWN_COMMAND', subject: 'cmd.kv.put.now' },
  { what: 'a name that every object has', code: 'UNKNOWN_COMMAND', subject: 'cmd.constructor' },
  { what: 'another name that every object has', code: 'UNKNOWN_COMMAND', subject: 'cmd.__proto__' },
  { what: 'an unknown command of a group', code: 'UNKNOWN_COMMAND', subject: 'group.1.cmd.kv.fly' },
  { what: 'an unknown acknowledgement', code: 'INVALID_ARGUMENT', header: { 'Craft-Ack': 'maybe' } },
  { what: 'a Craft-After that is no number', code: 'INVALID_ARGUMENT', header: { 'Craft-After': 'later' } },
  { what: 'a negative Craft-After', code: 'INVALID_ARGUMENT', header: { 'Craft-After': '-1' } },
  {
    what: 'a Craft-After an hour ahead',
    code: 'INVALID_ARGUMENT',
    header: { 'Craft-After': String((Date.now() + 3_600_000) * 1_000) },
  },
  { what: 'an unknown content type', code: 'INVALID_ARGUMENT', header: { 'Content-Type': 'text/html' } },
  {
    what: 'a number that a double rounds',
    code: 'INVALID_ARGUMENT',
    payload: '{"key":"bad","value":9007199254740993.0}',
  },
  {
    what: 'a number with too many digits for it',
    code: 'INVALID_ARGUMENT',
    payload: '{"key":"bad","value":1.2345e-322}',
  },
  {
    what: 'an id with U+FFFD, which may have been anything',
    code: 'INVALID_ARGUMENT',
    header: { 'Nats-Msg-Id': 'a\ufffd' },
  },
  { what: 'an unknown acknowledgement, in another case', code: 'INVALID_ARGUMENT', header: { 'CRAFT-ACK': 'maybe' } },
  {
    what: 'an unknown content type, in another case',
    code: 'INVALID_ARGUMENT',
    header: { 'content-type': 'text/html' },
  },
  { what: 'an id that is too long', code: 'INVALID_ARGUMENT', header: { 'Nats-Msg-Id': 'i'.repeat(10_000) } },
];

describe('bad input', () => {
  let test: TestCluster;
  let cluster: string;
  let client: PlainClient;

  beforeAll(async () => {
    test = await startTestCluster();
    cluster = test.cluster.cluster;
    client = await PlainClient.open(test.cluster);
  });
  afterAll(async () => {
    await client?.close();
    await test?.stop();
  });

  it.each(REFUSALS)('refuses $what', async ({ code, payload, subject, header }) => {
    const before = await client.logs();
    const bytes = payload === 'BINARY' ? new Uint8Array([0x22, 0xff, 0xfe, 0x22]) : (payload ?? PUT);
    const reply = await client.raw(`${cluster}.${subject ?? 'cmd.kv.put'}`, bytes, header);
    const body = reply.json<{ ok: boolean; error: { message: string } }>();
    expect(body).toEqual({ ok: false, error: { code, message: expect.any(String), retryable: false } });
    expect(body.error.message).not.toBe('');
    expect(reply.headers?.get('Nats-Service-Error-Code')).toBe(String(ErrorCode[code].status));
    expect(reply.headers?.get('Nats-Service-Error')).toContain(code);
    expect(await client.logs()).toEqual(before);
  });

  it('refuses ids that are not UTF-8, which would all be one', async () => {
    const before = await client.logs();
    const socket = await NatsSocket.open(test.cluster.natsUrl);
    for (const byte of [0xe8, 0xe9]) {
      const head = Buffer.concat([
        Buffer.from('NATS/1.0\r\nNats-Msg-Id: x'),
        Buffer.from([byte]),
        Buffer.from('\r\n\r\n'),
      ]);
      await socket.publish(`${cluster}.cmd.kv.put`, PUT, head);
      expect(await socket.heard(/"ok":/)).toContain('INVALID_ARGUMENT');
    }
    socket.close();
    expect(await client.logs()).toEqual(before);
  });

  it('refuses a protobuf key that is not UTF-8, and takes one with U+FFFD in it', async () => {
    const put = (key: Buffer) =>
      Buffer.concat([Buffer.from([0x0a, key.length]), key, Buffer.from([0x12, 1]), Buffer.from('1')]);
    const header = { 'Content-Type': 'application/protobuf' };
    const reply = await client.raw(`${cluster}.cmd.kv.put`, put(Buffer.from([0x62, 0xe9])), header);
    expect(reply.headers?.get('Nats-Service-Error')).toContain('INVALID_ARGUMENT');
    const taken = await client.raw(`${cluster}.cmd.kv.put`, put(Buffer.from('b\ufffd')), header);
    expect(taken.headers?.get('Nats-Service-Error') ?? '').toBe('');
  });

  it('refuses protobuf whose form in the log is larger than a command may be', async () => {
    const before = await client.logs();
    const operations = Array.from({ length: 400 }, (_, at) => ({
      put: { key: `${'\x01'.repeat(500)}${at}`, valueJson: '1' },
    }));
    const payload = craft.v1.KvTxn.encode({ operations }).finish();
    const reply = await client.raw(`${cluster}.cmd.kv.txn`, payload, { 'Content-Type': 'application/protobuf' });
    expect(reply.headers?.get('Nats-Service-Error')).toContain('PAYLOAD_TOO_LARGE');
    expect(await client.logs()).toEqual(before);
  });

  it('a group that does not exist has nobody who listens', async () => {
    for (const group of ['3', '99', '-1', 'x', '00', '1e0']) {
      await expect(client.raw(`${cluster}.group.${group}.cmd.kv.put`, PUT), group).rejects.toThrow(/no responders/);
    }
  });

  it('subjects that clients refuse to send reach nobody and append nothing', async () => {
    const before = await client.logs();
    const socket = await NatsSocket.open(test.cluster.natsUrl);
    for (const subject of [
      `${cluster}.cmd.`,
      `${cluster}.cmd..kv.put`,
      `${cluster}.cmd.kv.`,
      `.cmd.kv.put`,
      `${cluster}.group..cmd.kv.put`,
      `${cluster}.group.1.cmd.`,
      `${cluster}.group.1..kv.put`,
    ]) {
      const said = await socket.publish(subject, PUT);
      if (!said.includes('503')) expect(said, subject).toMatch(/-ERR|"ok":false/);
    }
    socket.close();
    expect(await client.logs()).toEqual(before);
  });

  it('wildcards in the subject of a publish are no way to reach several servers', async () => {
    const before = await client.logs();
    const socket = await NatsSocket.open(test.cluster.natsUrl);
    for (const subject of [`${cluster}.cmd.*`, `${cluster}.cmd.>`, `${cluster}.group.*.cmd.kv.put`]) {
      await socket.publish(subject, PUT);
    }
    socket.close();
    expect(await client.logs()).toEqual(before);
  });

  it('2 MiB are refused, by NATS or by the leader', async () => {
    const before = await client.logs();
    const socket = await NatsSocket.open(test.cluster.natsUrl);
    await socket.publish(`${cluster}.cmd.kv.put`, `{"key":"bad","value":"${'x'.repeat(2 << 20)}"}`);
    const said = await socket.heard(/MSG reply\.here[\s\S]*\}\r\n|-ERR.*\r\n/);
    socket.close();
    const takesIt = (client.nats.info?.max_payload ?? 0) > 2 << 20;
    expect(said).toMatch(takesIt ? /PAYLOAD_TOO_LARGE/ : /Maximum Payload/i);
    expect(await client.logs()).toEqual(before);
  });

  it('a malformed traceparent is no reason to refuse', async () => {
    for (const traceparent of ['nonsense', `00-${'0'.repeat(32)}-${'0'.repeat(16)}-01`, 'x'.repeat(2_000)]) {
      expect((await client.request('cmd.kv.put', { key: 'traced', value: 1 }, { traceparent })).body['ok']).toBe(true);
    }
  });

  it('garbage on internal subjects is counted and dropped', async () => {
    const before = await client.logs();
    const malformedBefore = await client.malformed();
    const processes = test.cluster.pids;
    const garbage = [
      new Uint8Array(0),
      new Uint8Array([0xff]),
      new Uint8Array([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
      new Uint8Array(64).fill(0x80),
      Buffer.from('{"key":"bad","value":1}'),
      Buffer.from([0x0a, 2, 0x73, 0x39]), // an envelope from s9, of a cluster without groups
      ...[1, 7, 64, 1_000, 100_000].flatMap((size) => Array.from({ length: 20 }, () => randomBytes(size))),
    ];
    const subjects = ['s1', 's2', 's3'].flatMap((server) => [`rpc.${server}`, `feed.${server}`]).concat('checkpoint');
    for (const subject of subjects) {
      for (const bytes of garbage) {
        client.nats.publish(`${cluster}.${subject}`, bytes);
        client.nats.publish(`${cluster}.${subject}`, bytes, { reply: 'reply.nowhere' });
      }
    }
    for (const verb of ['status', 'status.s1', 'members', 'nonsense']) {
      client.nats.publish(`${cluster}.admin.${verb}`, randomBytes(100), { reply: 'reply.nowhere' });
    }
    await client.nats.flush();
    await expect.poll(() => client.malformed(), { timeout: 5_000 }).toBeGreaterThan(malformedBefore + 100);
    // On a busy machine a follower may miss heartbeats while it reads all this; it then finds the
    // same leader again.
    await expect.poll(() => client.logs(), { timeout: 10_000 }).toEqual(before);
    expect(test.cluster.pids).toEqual(processes);
  });

  it('a well-formed message that no correct server can have sent is counted and dropped', async () => {
    const before = await client.logs();
    const malformedBefore = await client.malformed();
    const processes = test.cluster.pids;
    const first = { index: 1, term: 9_000, timestamp: 1_790_000_000_000_000, kind: EntryKind.noOp };
    const entries = [{ ...first, bytes: encodeEntry(first.term, first.timestamp, first.kind, new Uint8Array(0)) }];
    const append = {
      type: 'append',
      prevIndex: 0,
      prevTerm: 0,
      commitIndex: 0,
      closed: null,
      quorumClosed: null,
    } as const;
    const bodies: [term: number, MessageBody][] = [
      // Another first entry than the one that is committed.
      [9_000, { ...append, entries, durableIndex: 0, tellsAll: false, round: 1 }],
      [2 ** 45, { type: 'vote', preVote: false, transfer: true, lastIndex: 2 ** 45, lastTerm: 2 ** 44 }],
    ];
    const head = { groups: 3, sentAt: Date.now() * 1_000, sentMonotonicUs: 0, echoMonotonicUs: 0, echoHeldUs: 0 };
    const rest = { barrierAsks: [], barrierAnswers: [], closeUpTo: 0 };
    for (const [from, to] of [
      ['s1', 's2'],
      ['s2', 's3'],
      ['s3', 's1'],
    ] as const) {
      const messages = bodies.flatMap(([term, body]) => [0, 1, 2].map((group) => ({ group, from, to, term, body })));
      client.nats.publish(`${cluster}.rpc.${to}`, encodeEnvelope({ from, ...head, messages, ...rest }));
    }
    await expect.poll(() => client.malformed(), { timeout: 5_000 }).toBe(malformedBefore + 18);
    await expect.poll(() => client.logs(), { timeout: 10_000 }).toEqual(before);
    expect(test.cluster.pids).toEqual(processes);
  });

  it('a message in another version of the protocol is refused with the reason, which status tells', async () => {
    const from = (server: string, protocol: number) => craft.v1.Envelope.encode({ from: server, groups: 3, protocol });
    const refused = async () =>
      (await client.status()).flatMap(({ server, protocol }) => (server === 's1' ? (protocol?.refused ?? []) : []));
    client.nats.publish(`${cluster}.rpc.s1`, from('s9', 7).finish());
    await eventually('the refusal', async () => (await refused()).length === 1);
    expect(await refused()).toEqual([{ server: 's9', protocol: 7, since: expect.any(String) }]);
    client.nats.publish(`${cluster}.rpc.s1`, from('s9', 1).finish());
    await eventually('the end of the refusal', async () => (await refused()).length === 0);
    const request = craft.v1.FeedRequest.encode({ positions: [1, 1, 1], watermarks: [0, 0, 0], protocol: 7 }).finish();
    const reply = await client.nats.request(`${cluster}.feed.s1`, request, { timeout: 5_000 });
    expect(reply.headers?.get('Craft-Protocol')).toBe('1');
  });

  it('and after all this every group still takes commands', async () => {
    for (const group of [0, 1, 2]) {
      const { body } = await client.request(`group.${group}.cmd.kv.put`, { key: 'alive', value: group });
      expect(body).toMatchObject({ ok: true, group });
    }
    await client.rowEverywhere('alive', (row) => row.version === 3);
    expect(await client.rows('bad')).toEqual([undefined, undefined, undefined]);
  });
});
