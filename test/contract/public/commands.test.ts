/** The public contract of commands, from a plain NATS client against three real servers. */
import { jetstreamManager } from '@nats-io/jetstream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import '../../../shared/wire/protobuf.js';
import { craft } from '../../../shared/wire/generated/craft.js';
import { decodeMergedBatch } from '../../../shared/wire/merged-batch.js';
import { eventually, startTestCluster, type TestCluster } from '../../harness/index.js';
import { PlainClient } from './plain-client.js';

const APPLIED = ['ok', 'index', 'group', 'timestamp', 'result'];
const ACKNOWLEDGED = ['ok', 'group', 'timestamp'];

describe('commands', () => {
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

  it('answers kv.put with its place and result, and the row is in all three databases', async () => {
    const before = Date.now() * 1_000;
    const { body } = await client.request('cmd.kv.put', { key: 'a', value: { n: 1 } });
    const after = Date.now() * 1_000;
    expect(Object.keys(body)).toEqual(APPLIED);
    expect(body).toMatchObject({ ok: true, result: { version: 1 } });
    expect([0, 1, 2]).toContain(body['group']);
    expect(body['index']).toBeGreaterThanOrEqual(1);
    expect(Number.isSafeInteger(body['timestamp'])).toBe(true);
    expect(body['timestamp']).toBeGreaterThan(before - 1_000_000);
    expect(body['timestamp']).toBeLessThan(after + 1_000_000);

    const row = await client.rowEverywhere('a');
    expect(row).toEqual({
      value: { n: 1 },
      version: 1,
      mergedIndex: body['index'],
      updatedAtUs: body['timestamp'],
    });
  });

  it('pitfall: outcome unknown: whoever asks again with the id is answered with the first result, whichever leader it reaches', async () => {
    const id = { 'Nats-Msg-Id': 'once' };
    const first = await client.request('group.0.cmd.kv.put', { key: 'once', value: 1 }, id);
    expect(first.body).toMatchObject({ ok: true, group: 0, result: { version: 1 } });
    const row = await client.rowEverywhere('once');
    for (const subject of ['cmd', 'group.0.cmd', 'group.1.cmd', 'group.2.cmd']) {
      // Headers are known in any case, as HTTP has it.
      const header = subject === 'group.0.cmd' ? { 'NATS-msg-id': 'once' } : id;
      const again = await client.request(`${subject}.kv.put`, { key: 'once', value: 2 }, header);
      expect(again.body, subject).toEqual(first.body);
    }
    await client.request('cmd.kv.put', { key: 'fence', value: 1 });
    await client.rowEverywhere('fence');
    expect(await client.rowEverywhere('once')).toEqual(row);
  });

  it('takes commands through the leader of each group, in one order', async () => {
    let previous = 0;
    for (const group of [0, 1, 2, 1, 0]) {
      const { body } = await client.request(`group.${group}.cmd.kv.put`, { key: `g${group}`, value: group });
      expect(body).toMatchObject({ ok: true, group });
      expect(body['index']).toBeGreaterThan(previous);
      previous = Number(body['index']);
    }
  });

  it.each(['ordered', 'committed'])('acknowledges %s before execution', async (ack) => {
    const { body } = await client.request('cmd.kv.put', { key: ack, value: 'early' }, { 'Craft-Ack': ack });
    expect(Object.keys(body)).toEqual(ACKNOWLEDGED);
    expect(body['ok']).toBe(true);
    const row = await client.rowEverywhere(ack);
    expect(row).toMatchObject({ value: 'early', version: 1, updatedAtUs: body['timestamp'] });
  });

  it('acknowledges applied when asked by name', async () => {
    const { body } = await client.request('cmd.kv.put', { key: 'named', value: 1 }, { 'Craft-Ack': 'applied' });
    expect(Object.keys(body)).toEqual(APPLIED);
  });

  it('stamps after Craft-After', async () => {
    for (const group of [0, 1, 2]) {
      const after = (Date.now() + 200) * 1_000;
      const header = { 'Craft-After': String(after), 'Craft-Ack': 'committed' };
      const { body } = await client.request(`group.${group}.cmd.kv.put`, { key: 'after', value: group }, header);
      expect(body).toMatchObject({ ok: true });
      expect(body['timestamp']).toBeGreaterThan(after);
    }
  });

  it('runs a published command that asks for no answer', async () => {
    client.nats.publish(`${cluster}.cmd.kv.put`, '{"key":"silent","value":[1,2,3]}');
    await client.nats.flush();
    expect(await client.rowEverywhere('silent')).toMatchObject({ value: [1, 2, 3], version: 1 });
  });

  it('rejects what the state machine does not accept, and says the same to a retry', async () => {
    await client.request('cmd.kv.put', { key: 'guarded', value: 1 });
    const id = { 'Nats-Msg-Id': 'guarded-2' };
    const first = await client.request('cmd.kv.put', { key: 'guarded', value: 2, ifVersion: 7 }, id);
    expect(first.body).toMatchObject({ ok: false, error: { code: 'REJECTED', retryable: false } });
    await client.request('cmd.kv.put', { key: 'guarded', value: 3, ifVersion: 1 });
    const retry = await client.request('group.1.cmd.kv.put', { key: 'guarded', value: 2, ifVersion: 7 }, id);
    expect(retry.body).toEqual(first.body);
    expect(await client.rowEverywhere('guarded', (row) => row.version === 2)).toMatchObject({ value: 3 });
  });

  it('deletes, and runs a transaction as a whole or not at all', async () => {
    const ops = [{ put: { key: 't1', value: 1 } }, { put: { key: 't2', value: 2 } }];
    expect((await client.request('cmd.kv.txn', { ops })).body).toMatchObject({ ok: true });
    expect((await client.rowEverywhere('t1')).mergedIndex).toBe((await client.rowEverywhere('t2')).mergedIndex);
    const failing = [{ delete: { key: 't1' } }, { put: { key: 't2', value: 9, ifVersion: 5 } }];
    expect((await client.request('cmd.kv.txn', { ops: failing })).body).toMatchObject({ error: { code: 'REJECTED' } });
    expect((await client.request('cmd.kv.delete', { key: 't2' })).body).toMatchObject({ result: { deleted: true } });
    expect((await client.request('cmd.kv.delete', { key: 't2' })).body).toMatchObject({ result: { deleted: false } });
    await expect.poll(() => client.rows('t2')).toEqual([undefined, undefined, undefined]);
    expect(await client.rowEverywhere('t1')).toMatchObject({ value: 1, version: 1 });
  });

  it('speaks protobuf to those who ask for it', async () => {
    const header = { 'Content-Type': 'application/protobuf' };
    const put = craft.v1.KvPut.encode({ key: 'binary', valueJson: '{"n":1}' }).finish();
    const reply = await client.raw(`${cluster}.cmd.kv.put`, put, header);
    const decoded = craft.v1.CommandReply.decode(reply.data);
    expect(decoded).toMatchObject({ ok: true, resultJson: '{"version":1}' });
    const row = await client.rowEverywhere('binary');
    expect(row).toMatchObject({ value: { n: 1 }, mergedIndex: decoded.index, updatedAtUs: decoded.timestamp });
    const refused = await client.raw(`${cluster}.cmd.kv.put`, new Uint8Array([0x0a, 0xff, 0x01]), header);
    expect(craft.v1.CommandReply.decode(refused.data)).toMatchObject({
      ok: false,
      error: { code: 'INVALID_ARGUMENT', retryable: false },
    });
    expect(refused.headers?.get('Nats-Service-Error-Code')).toBe('400');
  });

  it('leaves the same merged log in the streams of all servers', async () => {
    const { body } = await client.request('cmd.kv.put', { key: 'last', value: 1 });
    await client.rowEverywhere('last');
    const manager = await jetstreamManager(client.nats);
    const endOf = async (server: string) => {
      const stream = `${cluster.toUpperCase()}_LOG_${server}`;
      const message = await manager.streams.getMessage(stream, { last_by_subj: `${cluster}.log.${server}` });
      if (message === null) throw new Error(`${stream} is empty`);
      const { mergedIndex, checksum } = decodeMergedBatch(message.data).after;
      return { mergedIndex, checksum };
    };
    // They are written behind.
    const ends = await eventually('the last command in all streams', async () => {
      const found = await Promise.all(['s1', 's2', 's3'].map(endOf));
      return found.every(({ mergedIndex }) => mergedIndex === body['index']) ? found : undefined;
    });
    expect(ends[1]).toEqual(ends[0]);
    expect(ends[2]).toEqual(ends[0]);
  });
});
