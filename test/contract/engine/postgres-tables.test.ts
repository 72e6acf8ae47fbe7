/**
 * What the Postgres engine leaves in its tables, for users who query them with SQL, and what it
 * does not leave there for ever.
 */
import postgres, { type Sql } from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import { endOfPrefix } from '../../../services/applier/postgres/kv-query.js';
import { seededRandom } from '../../../services/applier/postgres/random.js';
import { startTestPostgres, type TestPostgres } from '../../harness/index.js';
import { batches, command, WINDOW_MS } from './commands.js';

let server: TestPostgres;
let admin: Sql;
let engine: PostgresEngine;
let databases = 0;

beforeAll(async () => {
  server = await startTestPostgres();
});
beforeEach(async () => {
  const name = `tables_${databases++}`;
  await server.createDatabases([name]);
  admin = postgres(server.url(name), { max: 1, onnotice: () => undefined });
  engine = new PostgresEngine({ databaseUrl: server.url(name), server: 's1', resultWindowMs: WINDOW_MS });
  await engine.open();
});
afterEach(async () => {
  await engine.close();
  await admin.end();
});
afterAll(() => server?.stop());

async function apply(run: ReturnType<typeof command>[], size: number): Promise<void> {
  for (const batch of batches(run, [size])) await engine.apply(batch);
}

describe('the table kv', () => {
  it('has for each key the value, version and place of the command that wrote it last', async () => {
    const timestamp = 1_790_000_000_123_457;
    await apply(
      [
        command(1, 'kv.put', { key: 'a', value: 1 }),
        command(2, 'kv.put', { key: 'a', value: { 'ü"\\': [null, '\u{1f600}'] } }, { timestamp }),
        command(3, 'kv.put', { key: 'nothing', value: null }, { timestamp: timestamp + 1 }),
        command(4, 'kv.put', { key: 'gone', value: 1 }, { timestamp: timestamp + 2 }),
        command(5, 'kv.delete', { key: 'gone' }, { timestamp: timestamp + 3 }),
      ],
      5,
    );
    const rows = await admin`select key, value, jsonb_typeof(value) as type, version::int, merged_index::int,
      (extract(epoch from updated_at) * 1000000)::bigint::text as us from kv order by key`;
    expect([...rows]).toEqual([
      {
        key: 'a',
        value: { 'ü"\\': [null, '\u{1f600}'] },
        type: 'object',
        version: 2,
        merged_index: 2,
        us: String(timestamp),
      },
      { key: 'nothing', value: null, type: 'null', version: 1, merged_index: 3, us: String(timestamp + 1) },
    ]);
  });

  it('is in schema public, also for a role that is called craft and has a schema of its name', async () => {
    const [where] =
      await admin`select current_user as role, to_regclass('public.kv')::text as kv, to_regclass('craft.kv') as own`;
    expect(where).toEqual({ role: 'craft', kv: 'kv', own: null });
  });

  it('is listed by bytes, by prefix and by page, also where characters end', async () => {
    const keys = ['', '\u{ffff}', '\u{10000}', '\u{10ffff}', 'a', 'b', 'B', 'é', '%', '_'].flatMap((prefix) => [
      `${prefix}1`,
      `${prefix}2`,
    ]);
    await apply(
      keys.map((key, at) => command(at + 1, 'kv.put', { key, value: at })),
      keys.length,
    );
    const inBytes = [...keys].sort((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)));
    const list = async (input: object) =>
      ((await engine.query('kv.list', input)) as { key: string }[]).map((row) => row.key);
    expect(await list({})).toEqual(inBytes);
    for (const prefix of ['', '\u{ffff}', '\u{10ffff}', 'a', 'é', '%', '_', '1']) {
      expect(await list({ prefix })).toEqual(inBytes.filter((key) => key.startsWith(prefix)));
    }
    const paged: string[] = [];
    for (let page = await list({ limit: 3 }); page.length > 0; page = await list({ limit: 3, after: paged.at(-1) })) {
      paged.push(...page);
    }
    expect(paged).toEqual(inBytes);
    expect([endOfPrefix('a'), endOfPrefix('\ud7ff'), endOfPrefix('a\u{10ffff}'), endOfPrefix('\u{10ffff}')]).toEqual([
      'b',
      '\ue000',
      'b',
      '',
    ]);
  });
});

it('random numbers of an entry are its own, the same every time, and spread evenly', () => {
  const draw = (mergedIndex: number, timestamp: number) => {
    const random = seededRandom(mergedIndex, timestamp);
    return Array.from({ length: 4 }, random);
  };
  const timestamp = 1_790_000_000_000_000;
  expect(draw(1, timestamp)).toEqual(draw(1, timestamp));
  const firsts = Array.from({ length: 10_000 }, (_, at) => draw(at + 1, timestamp + at)[0] ?? -1);
  expect(new Set(firsts).size).toBeGreaterThan(9_990);
  const tenths = Array.from(
    { length: 10 },
    (_, tenth) => firsts.filter((one) => Math.floor(one * 10) === tenth).length,
  );
  for (const count of tenths) expect(Math.abs(count - 1_000)).toBeLessThan(200);
  expect(Math.min(...firsts)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...firsts)).toBeLessThan(1);
});
