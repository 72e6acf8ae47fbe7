/**
 * What a role or a database presets changes nothing: not what commands and queries come to, and not
 * whether they come to an end.
 */
import { sql } from 'drizzle-orm';
import postgres, { type Sql } from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { PostgresTransaction } from '../../../services/applier/postgres/drizzle.js';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import { isEnvironment } from '../../../services/applier/postgres/sqlstate.js';
import type { EngineSnapshot } from '../../../shared/engine/port.js';
import type { StateMachine } from '../../../shared/engine/state-machine.js';
import { startTestPostgres, type TestPostgres } from '../../harness/index.js';
import { batches, command, WINDOW_MS } from './commands.js';

const PRESETS: Readonly<Record<string, readonly string[]>> = {
  'a search path without the tables': ["search_path = 'pg_catalog'"],
  'a search path to nowhere': ["search_path = 'nowhere'"],
  'a search path with more': ["search_path = 'other', 'public'"],
  'time-outs': [
    'statement_timeout = 5',
    'lock_timeout = 5',
    'idle_in_transaction_session_timeout = 5',
    'transaction_timeout = 5',
  ],
  'forms of values': [
    "timezone = 'Asia/Tokyo'",
    "datestyle = 'German'",
    "intervalstyle = 'sql_standard'",
    'extra_float_digits = -3',
    "bytea_output = 'escape'",
  ],
  'what statements mean': [
    'quote_all_identifiers = on',
    'transform_null_equals = on',
    'array_nulls = off',
    'standard_conforming_strings = off',
    "default_text_search_config = 'pg_catalog.simple'",
  ],
  'how transactions and triggers run': [
    "default_transaction_isolation = 'serializable'",
    'session_replication_role = replica',
  ],
};

const nothing = z.strictObject({});
const TOLD = sql`select '2026-01-02 03:04:05Z'::timestamptz::text as at, interval '1 day 2 hours'::text as took, (0.1::float8 + 0.2)::text as sum,
  '\\x00ff'::bytea::text as bytes, (null = null) is null as unknown, '{NULL}'::text[]::text as list, to_tsvector('running')::text as words,
  quote_ident('a') as name, current_setting('transaction_isolation') as isolation`;

const machine: StateMachine<PostgresTransaction> = {
  name: 'presets',
  commands: {
    put: {
      input: nothing,
      handle: async (tx) => {
        await tx.execute(sql`insert into item (note) values ('x')`);
        await tx.execute(sql`select pg_sleep(0.02)`);
        return [...(await tx.execute(TOLD)), ...(await tx.execute(sql`select id, counted from item order by id`))];
      },
    },
  },
  queries: {
    told: {
      input: nothing,
      handle: async (tx) => {
        await tx.execute(sql`select pg_sleep(0.02)`);
        return [...(await tx.execute(TOLD)), ...(await tx.execute(sql`select id, counted from item order by id`))];
      },
    },
  },
};

const ITEMS = `create schema other;
  create table item (id serial, note text, counted int not null default 0);
  create function count_it() returns trigger language plpgsql as $$ begin new.counted = 1; return new; end $$;
  create trigger counting before insert on item for each row execute function count_it()`;

let server: TestPostgres;
let databases = 0;
let name = '';
let admin: Sql;
const opened: PostgresEngine[] = [];

beforeAll(async () => {
  server = await startTestPostgres();
});
beforeEach(async () => {
  name = await freshDatabase();
  admin = postgres(server.url(name), { max: 1, onnotice: () => undefined });
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((engine) => engine.close()));
  await admin.end();
});
afterAll(() => server?.stop());

async function freshDatabase(): Promise<string> {
  const fresh = `presets_${databases++}`;
  await server.createDatabases([fresh]);
  const sql = postgres(server.url(fresh), { max: 1, onnotice: () => undefined });
  await sql.unsafe(ITEMS);
  await sql.end();
  return fresh;
}

async function open(of?: StateMachine<PostgresTransaction>, database = name): Promise<PostgresEngine> {
  const options = { databaseUrl: server.url(database), server: 's1', resultWindowMs: WINDOW_MS };
  const engine = new PostgresEngine(of === undefined ? options : { ...options, machine: of });
  opened.push(engine);
  await again(() => engine.open());
  return engine;
}

const TRIES_MAX = 5;

/**
 * A time-out may undo a try, as any fault of the environment; the owner of an engine tries again.
 */
async function again<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (!isEnvironment(error) || tries === TRIES_MAX) throw error;
    }
  }
}

async function apply(engine: PostgresEngine, run: ReturnType<typeof command>[]) {
  const all = [];
  for (const batch of batches(run, [1])) {
    const checksum = (batch.commands[0]?.mergedIndex ?? 0).toString(16).padStart(16, '0');
    all.push(...(await again(() => engine.apply({ ...batch, checksum }))).applied);
  }
  return all;
}

async function keep(snapshot: EngineSnapshot): Promise<EngineSnapshot> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of snapshot.data) chunks.push(chunk);
  return {
    ...snapshot,
    data: (async function* () {
      yield* chunks;
    })(),
  };
}

/** All that an engine does, without and then with the preset. */
async function course(
  of: StateMachine<PostgresTransaction> | undefined,
  change: (engine: PostgresEngine) => Promise<PostgresEngine>,
) {
  const at = (mergedIndex: number) =>
    of === undefined
      ? command(mergedIndex, 'kv.put', { key: `k${mergedIndex}`, value: [0.1, 'x', null] }, { id: `id ${mergedIndex}` })
      : command(mergedIndex, 'put', {}, { id: `id ${mergedIndex}` });
  const ask = (engine: PostgresEngine) =>
    again(() => (of === undefined ? engine.query('kv.list', {}) : engine.query('told', {})));
  const first = await open(of);
  const before = await apply(first, [at(1), at(2)]);
  const kept = await keep(await first.snapshot());
  const engine = await change(first);
  const after = await apply(engine, [at(3), at(4)]);
  await again(() => engine.markDiverged('x'));
  const seen = await ask(engine);
  const tables = await (await engine.checkRows()).tables;
  const { format } = await keep(await engine.snapshot());
  await engine.restore(kept);
  return { before, after, seen, tables, format, restored: await ask(engine), place: await engine.locate([]) };
}

describe.each([
  ['the built-in machine', undefined],
  ["a user's machine", machine],
] as const)('%s', (_, of) => {
  let expected: Awaited<ReturnType<typeof course>>;

  it.each(Object.entries(PRESETS))('comes to the same with %s', async (_, presets) => {
    const target = name;
    name = await freshDatabase();
    expected ??= await course(of, async (engine) => engine);
    name = target;
    for (const owner of ['role', 'database'] as const) {
      name = owner === 'role' ? target : await freshDatabase();
      const where = owner === 'role' ? `alter role craft in database ${name}` : `alter database ${name}`;
      const found = await course(of, async (engine) => {
        for (const preset of presets) await admin.unsafe(`${where} set ${preset}`);
        await engine.close();
        return open(of);
      });
      expect(found).toEqual(expected);
    }
  });

  it('lies where the search path was when it began', async () => {
    await admin.unsafe(`alter database ${name} set search_path = 'other', 'public'`);
    const engine = await open(of);
    await engine.close();
    await admin.unsafe(`alter database ${name} reset search_path`);
    const again = await open(of);
    if (of === undefined) await apply(again, [command(1, 'kv.put', { key: 'a', value: 1 })]);
    const [kv] = await admin`select to_regclass('other.kv')::text as kv, to_regclass('public.kv')::text as none`;
    expect(kv).toEqual({ kv: 'other.kv', none: null });
    expect((await (await again.checkRows()).tables).map((table) => table.name)).toContain('kv');
  });
});
