/** The public contract of reads, from a plain NATS client against three real servers (T6). */
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, startTestCluster, type TestCluster } from '../../harness/index.js';
import { PlainClient } from './plain-client.js';

let test: TestCluster;
let client: PlainClient;
beforeAll(async () => {
  test = await startTestCluster();
  client = await PlainClient.open(test.cluster);
});
afterAll(async () => {
  await client?.close();
  await test?.stop();
});

describe('queries', () => {
  it('see every write acknowledged before, however it was acknowledged and wherever they are answered', async () => {
    for (let n = 0; n < 60; n++) {
      const ack = ['applied', 'ordered', 'committed'][n % 3] ?? '';
      const write = await client.surely('cmd.kv.put', { key: 'seen', value: n }, { 'Craft-Ack': ack });
      expect(write.body).toMatchObject({ ok: true });
      // Any of the three appliers answers.
      const read = await client.surely('query.kv.get', { key: 'seen' });
      expect(read.body).toEqual({ ok: true, result: { value: n, version: n + 1 } });
    }
  });

  it('list in the order of the keys, page by page', async () => {
    for (const key of ['p/b', 'p/a', 'q', 'p/c']) await client.surely('cmd.kv.put', { key, value: key });
    const first = await client.surely('query.kv.list', { prefix: 'p/', limit: 2 });
    expect(first.body['result']).toMatchObject([{ key: 'p/a' }, { key: 'p/b' }]);
    const second = await client.surely('query.kv.list', { prefix: 'p/', limit: 2, after: 'p/b' });
    expect(second.body['result']).toMatchObject([{ key: 'p/c' }]);
  });

  it('give back the largest value that is accepted, alone and in a list', async () => {
    const digits = Array(11_000).fill(1e20);
    const text = `{"key":"large","value":[${Array(11_000).fill('1e20')}]}`;
    expect((await client.surely('cmd.kv.put', text)).body).toMatchObject({ ok: true });
    await client.surely('cmd.kv.put', { key: 'large/next', value: 'x'.repeat(262_000) });
    const alone = await client.surely('query.kv.get', { key: 'large' });
    expect(alone.body).toEqual({ ok: true, result: { value: digits, version: 1 } });
    const listed = await client.surely('query.kv.list', { prefix: 'large' });
    expect(listed.body).toMatchObject({ ok: true });
    expect((listed.body['result'] as { key: string }[])[0]).toMatchObject({ key: 'large', value: digits });
  });

  it('list keys that take more room in JSON than in bytes, page by page to the last', async () => {
    const keys = Array.from({ length: 960 }, (_, at) => `\x02${'\x01'.repeat(500)}${String(at).padStart(3, '0')}`);
    for (let at = 0; at < keys.length; at += 80) {
      const ops = keys.slice(at, at + 80).map((key) => ({ put: { key, value: null } }));
      expect((await client.surely('cmd.kv.txn', { ops })).body).toMatchObject({ ok: true });
    }
    const found: string[] = [];
    for (let after = ''; ; ) {
      const page = await client.surely('query.kv.list', { prefix: '\x02', limit: 960, after });
      expect(page.body).toMatchObject({ ok: true });
      const rows = page.body['result'] as { key: string }[];
      found.push(...rows.map(({ key }) => key));
      const last = rows.at(-1);
      if (last === undefined) break;
      after = last.key;
    }
    expect(found).toEqual(keys);
  });

  it('answer null for a key that is not there, and local ones at once', async () => {
    expect((await client.surely('query.kv.get', { key: 'none' })).body).toEqual({ ok: true, result: null });
    const local = await client.surely('query.kv.get', { key: 'none' }, { 'Craft-Consistency': 'local' });
    expect(local.body).toEqual({ ok: true, result: null });
  });

  it('and commands can be asked of one server, while it leads a group', async () => {
    const leading = async () => {
      const statuses = await client.status();
      const { server, groups } = statuses.find((one) => one.groups.some(({ role }) => role === 'leader')) ?? {};
      return { server, led: groups?.filter(({ role }) => role === 'leader').map(({ group }) => group) ?? [] };
    };
    for (let n = 0; n < 10; n++) {
      const id = { 'Nats-Msg-Id': `asked ${n}` };
      // It may hand a group back, or lose one, at any moment: then another one is asked.
      await eventually('a leader that takes it', async () => {
        const { server, led } = await leading();
        const write = await client.request(`server.${server}.cmd.kv.put`, { key: 'asked', value: n }, id);
        expect(write.body).toMatchObject({ ok: true });
        const after = await leading();
        if (after.server === server) expect([...led, ...after.led]).toContain(write.body['group']);
        return true;
      });
      for (const server of test.cluster.servers) {
        const read = await client.surely(`server.${server}.query.kv.get`, { key: 'asked' });
        expect(read.body).toEqual({ ok: true, result: { value: n, version: n + 1 } });
      }
    }
    await expect(client.request('server.s9.query.kv.get', { key: 'asked' })).rejects.toThrow();
  });

  it.each([
    ['kv.get', '{"key":', {}, 'INVALID_ARGUMENT'],
    ['kv.get', '{}', {}, 'INVALID_ARGUMENT'],
    ['kv.get', '{"key":"a","other":1}', {}, 'INVALID_ARGUMENT'],
    ['kv.get', '{"key":"a"}', { 'Craft-Consistency': 'eventual' }, 'INVALID_ARGUMENT'],
    ['kv.get', '{"key":"a"}', { 'craft-consistency': 'eventual' }, 'INVALID_ARGUMENT'],
    ['kv.list', '{"limit":0}', {}, 'INVALID_ARGUMENT'],
    ['nonsense', '{}', {}, 'UNKNOWN_COMMAND'],
  ])('refuse %s %s %o with %s', async (name, input, header, code) => {
    const { body, header: head } = await client.request(`query.${name}`, input, header);
    expect(body).toMatchObject({ ok: false, error: { code } });
    expect(head('Nats-Service-Error')).toContain(code);
  });

  it('refuse a key that is not UTF-8: it would be another one', async () => {
    const payload = Buffer.from([...Buffer.from('{"key":"a'), 0xe9, ...Buffer.from('"}')]);
    const reply = await client.raw(`${test.cluster.cluster}.query.kv.get`, payload);
    expect(reply.json()).toMatchObject({ ok: false, error: { code: 'INVALID_ARGUMENT' } });
  });
});

describe('sync', () => {
  it('makes plain SQL at that server a linearizable read', async () => {
    for (const server of test.cluster.servers) {
      const sql = postgres(test.cluster.databaseUrl(server), { max: 1, onnotice: () => undefined });
      for (let n = 0; n < 20; n++) {
        const write = await client.surely('cmd.kv.put', { key: server, value: n }, { 'Craft-Ack': 'committed' });
        expect(write.body).toMatchObject({ ok: true });
        const synced = await client.surely(`sync.${server}`, {});
        expect(synced.body['timestamp']).toBeGreaterThanOrEqual(Number(write.body['timestamp']));
        const [row] = await sql`select value from kv where key = ${server}`;
        expect(row?.['value']).toBe(n);
      }
      await sql.end();
    }
  });
});
