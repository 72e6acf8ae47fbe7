/**
 * A database that is emptied or replaced under an open engine, tables that are dropped by hand, and
 * a look at all rows meanwhile.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import postgres, { type Sql } from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { PostgresTransaction } from '../../../services/applier/postgres/drizzle.js';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import {
  DamagedError,
  type EngineSnapshot,
  FencedError,
  ReplacedError,
  type StorageEngine,
} from '../../../shared/engine/port.js';
import { Reject, type StateMachine } from '../../../shared/engine/state-machine.js';
import {
  eventually,
  startTestPostgres,
  type TemporaryFolder,
  type TestPostgres,
  temporaryFolder,
} from '../../harness/index.js';
import { batches, command, WINDOW_MS } from './commands.js';
import { removalOf } from './databases.js';

let server: TestPostgres;
let databases = 0;
let name = '';
let admin: Sql;
let folder: TemporaryFolder;
const opened: StorageEngine[] = [];

const nothing = z.strictObject({});

/** Notes of people: the one refers to the other. */
const notes: StateMachine<PostgresTransaction> = {
  name: 'notes',
  commands: {
    put: {
      input: z.strictObject({ key: z.string() }),
      handle: async (tx, { key }: { key: string }) => {
        await tx.execute(sql`insert into person values ('someone') on conflict do nothing`);
        await tx.execute(sql`insert into note values (${key}, 'someone')`);
        return key;
      },
    },
    misspelt: { input: nothing, handle: (tx) => tx.execute(sql`select * from note_s`) },
    // Makes of its error what it likes.
    careless: {
      input: nothing,
      handle: async (tx) => {
        await tx.transaction((inner) => inner.execute(sql`select * from note`)).catch(() => undefined);
        throw new Reject('no');
      },
    },
    empty: { input: nothing, handle: (tx) => tx.execute(sql`truncate note`) },
    drop: { input: nothing, handle: (tx) => tx.execute(sql`drop table note`) },
  },
  queries: {
    all: { input: nothing, handle: (tx) => tx.execute(sql`select key from note order by key`) },
    misspelt: { input: nothing, handle: (tx) => tx.execute(sql`select * from nobody`) },
  },
};

const MIGRATION = [
  'create table person (name text primary key)',
  'create table note (key text primary key, who text not null references person)',
  'create index "by_who" on "note" (who)',
  "insert into person values ('first')",
].join('\n--> statement-breakpoint\n');

beforeAll(async () => {
  server = await startTestPostgres();
  folder = await temporaryFolder('migrations');
  await mkdir(join(folder.path, 'meta'));
  const entry = { idx: 0, version: '7', when: 1, tag: '0000_notes', breakpoints: true };
  const journal = { version: '7', dialect: 'postgresql', entries: [entry] };
  await writeFile(join(folder.path, 'meta', '_journal.json'), JSON.stringify(journal));
  await writeFile(join(folder.path, '0000_notes.sql'), MIGRATION);
});
beforeEach(async () => {
  name = `replaced_${databases++}`;
  await server.createDatabases([name]);
  admin = postgres(server.url(name), { max: 1, onnotice: () => undefined });
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((engine) => engine.close()));
  await admin.end();
});
afterAll(async () => {
  await server?.stop();
  await folder?.remove();
});

async function open(machine?: StateMachine<PostgresTransaction>, database = name): Promise<PostgresEngine> {
  const options = { databaseUrl: server.url(database), server: 's1', resultWindowMs: WINDOW_MS };
  const own = machine === undefined ? undefined : { ...machine, migrations: folder.path };
  const engine = new PostgresEngine(own === undefined ? options : { ...options, machine: own });
  opened.push(engine);
  await engine.open();
  return engine;
}

interface Kind {
  readonly machine: StateMachine<PostgresTransaction> | undefined;
  readonly put: (at: number) => ReturnType<typeof command>;
  readonly list: string;
}
const KINDS: Readonly<Record<string, Kind>> = {
  'the built-in machine': {
    machine: undefined,
    put: (at) => command(at, 'kv.put', { key: `k${at}`, value: at }),
    list: 'kv.list',
  },
  "a user's machine": { machine: notes, put: (at) => command(at, 'put', { key: `k${at}` }), list: 'all' },
};

function batch(...commands: ReturnType<typeof command>[]) {
  const [one] = batches(commands, [commands.length]);
  if (one === undefined) throw new Error('no batch');
  return one;
}

async function keep(snapshot: EngineSnapshot): Promise<() => EngineSnapshot> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of snapshot.data) chunks.push(chunk);
  return () => ({
    ...snapshot,
    data: (async function* () {
      yield* chunks;
    })(),
  });
}

const REPLACING: Readonly<Record<string, () => Promise<unknown>>> = {
  'its tables are dropped': () =>
    admin.unsafe('drop schema craft cascade; drop table kv; drop table if exists note; drop table if exists person'),
  'its schemas are dropped and made anew': () =>
    admin.unsafe('drop schema craft cascade; drop schema public cascade; create schema public'),
  'the whole database is dropped and made anew': async () => {
    const other = postgres(server.url('postgres'), { max: 1, onnotice: () => undefined });
    await other.unsafe(`drop database ${name} with (force)`);
    await server.createDatabases([name]);
    await other.end();
  },
  'another engine has opened a new one': async () => {
    await REPLACING['the whole database is dropped and made anew']?.();
    await (await open()).close();
  },
};

/** Its connections may have gone with the database: then the next try says why. */
async function failure(attempt: () => Promise<unknown>): Promise<unknown> {
  return eventually('an answer of the database', () =>
    attempt().then(
      () => new Error('no failure'),
      (error: unknown) => ((error as { code?: string }).code === 'CONNECTION_LOST' ? undefined : error),
    ),
  );
}

describe.each(Object.entries(KINDS))('%s', (_, { machine, put, list }) => {
  it.each(Object.entries(REPLACING))(
    '%s: says so in every call, and begins anew when it is opened again',
    async (_, replace) => {
      const engine = await open(machine);
      await engine.open();
      await engine.apply(batch(put(1), put(2)));
      const other = `${name}_source`;
      await server.createDatabases([other]);
      const source = await open(machine, other);
      await source.apply(batch(put(1), put(2), put(3)));
      const snapshot = await keep(await source.snapshot());
      await engine.markDiverged('for some reason');
      // It locks the same tables, and in another order.
      await removalOf(engine);
      await replace();
      const calls: Readonly<Record<string, () => Promise<unknown>>> = {
        apply: () => engine.apply(batch(put(3))),
        query: () => engine.query(list, {}),
        locate: () => engine.locate([]),
        snapshot: () => engine.snapshot(),
        restore: () => engine.restore(snapshot()),
        checkRows: () => engine.checkRows(),
        markDiverged: () => engine.markDiverged('x'),
      };
      for (const [call, attempt] of Object.entries(calls)) {
        expect([call, await failure(attempt)]).toEqual([call, expect.any(ReplacedError)]);
      }
      expect(await engine.open()).toMatchObject({ mergedIndex: 0 });
      expect(engine.divergence).toBeUndefined();
      const { applied } = await engine.apply(batch(put(1), put(2)));
      expect(applied.map(({ outcome }) => outcome.ok)).toEqual([true, true]);
      expect(await engine.query(list, {})).toHaveLength(2);
      expect(await engine.restore(snapshot())).toMatchObject({ mergedIndex: 3 });
      expect(await engine.query(list, {})).toHaveLength(3);
    },
  );

  it('that another one has taken over is fenced off, for good', async () => {
    const engine = await open(machine);
    await (await open(machine)).apply(batch(put(1)));
    await expect(engine.apply(batch(put(1)))).rejects.toBeInstanceOf(FencedError);
    await expect(engine.markDiverged('x')).rejects.toBeInstanceOf(FencedError);
    expect(engine.divergence).toBeUndefined();
  });

  it('without one of its tables is damaged, and whole again with a snapshot', async () => {
    const engine = await open(machine);
    await engine.apply(batch(put(1), put(2)));
    const snapshot = await keep(await engine.snapshot());
    await engine.apply({ ...batch(put(3)), checksum: '3'.repeat(16) });
    const table = machine === undefined ? 'kv' : 'note';
    const missing = { code: 'DAMAGED', message: expect.stringContaining(`public.${table} is missing`) as unknown };
    await admin.unsafe(`drop table ${table}`);
    for (let turn = 0; turn < 2; turn++) {
      await expect(engine.apply(batch(put(4)))).rejects.toMatchObject(missing);
      await expect(engine.query(list, {})).rejects.toMatchObject(missing);
      await expect(engine.locate([])).rejects.toMatchObject(missing);
      await expect(engine.snapshot()).rejects.toMatchObject(missing);
      await expect(engine.checkRows()).rejects.toMatchObject(missing);
      // A restart does not mend it.
      expect(await engine.open()).toMatchObject({ mergedIndex: 3 });
    }
    // A batch that does not touch it is not applied either.
    await expect(engine.apply(batch(command(4, 'unheard of', {})))).rejects.toBeInstanceOf(DamagedError);
    await engine.restore(snapshot());
    expect(await engine.query(list, {})).toHaveLength(2);
    await engine.apply(batch(put(3)));
    const [index] = await admin`select count(*)::int as n from pg_indexes where tablename = ${table}`;
    expect(index?.['n']).toBe(machine === undefined ? 1 : 2);
  });

  it.each(['craft.result_batches', 'craft.position'])('without %s is whole again with a snapshot', async (table) => {
    const engine = await open(machine);
    await engine.apply(batch(put(1), put(2)));
    const snapshot = await keep(await engine.snapshot());
    await admin.unsafe(`drop table ${table}`);
    await expect(engine.apply(batch({ ...put(3), id: 'x' }))).rejects.toMatchObject({
      code: table === 'craft.position' ? 'REPLACED' : 'DAMAGED',
    });
    await engine.open();
    if (table === 'craft.position') expect(engine.divergence).toMatch(/position/);
    else await expect(engine.apply(batch(put(3)))).rejects.toBeInstanceOf(DamagedError);
    await engine.restore(snapshot());
    expect(engine.divergence).toBeUndefined();
    await engine.apply(batch({ ...put(3), id: 'x' }));
    expect(await engine.query(list, {})).toHaveLength(3);
  });
});

describe('a handler', () => {
  const key = (at: number) => command(at, 'put', { key: `k${at}` });

  it('that misspells a table has failed, and so has a query', async () => {
    const engine = await open(notes);
    const { applied } = await engine.apply(batch(key(1), command(2, 'misspelt', {}), key(3)));
    expect(applied.map(({ outcome }) => outcome.ok)).toEqual([true, false, true]);
    await expect(engine.query('misspelt', {})).rejects.toMatchObject({ code: 'INTERNAL' });
  });

  it('that looks away when its table is gone does not hide it', async () => {
    const engine = await open(notes);
    await admin`drop table note`;
    await expect(engine.apply(batch(command(1, 'careless', {})))).rejects.toBeInstanceOf(DamagedError);
  });

  it('may drop a table itself: commands that miss it have failed', async () => {
    const engine = await open(notes);
    const { applied } = await engine.apply(batch(key(1), command(2, 'drop', {}), key(3)));
    expect(applied.map(({ outcome }) => outcome.ok)).toEqual([true, true, false]);
    expect((await engine.apply(batch(key(4)))).applied[0]?.outcome).toMatchObject({ failed: true });
    await engine.open();
    expect((await engine.apply({ ...batch(key(5)), checksum: '5'.repeat(16) })).applied).toHaveLength(1);
  });
});

describe('a look at all rows', () => {
  const LARGE = `insert into kv select 'k' || n, to_jsonb(repeat('x', 200)), 1, 1, 'epoch' from generate_series(1, $1::integer) as n`;
  const checking = () => admin`select pid from pg_stat_activity
    where application_name like 'craft check%' and datname = current_database()`;

  it('does not end with a time-out of role or database, and depends on none of their settings', async () => {
    const engine = await open();
    await admin.unsafe(LARGE, [300_000]);
    const expected = await (await engine.checkRows()).tables;
    const presets = [
      'statement_timeout = 50',
      'idle_in_transaction_session_timeout = 50',
      "timezone = 'Asia/Tokyo'",
      "datestyle = 'German'",
      "bytea_output = 'escape'",
      'extra_float_digits = -3',
      "intervalstyle = 'sql_standard'",
    ];
    for (const preset of presets) await admin.unsafe(`alter database ${name} set ${preset}`);
    expect(await (await engine.checkRows()).tables).toEqual(expected);
    expect(expected[0]?.rows).toBe(300_000);
  });

  it('ends with the engine, and gives way to a restore', async () => {
    const engine = await open();
    const snapshot = await keep(await engine.snapshot());
    await admin.unsafe(LARGE, [400_000]);
    const one = await engine.checkRows();
    await engine.restore(snapshot());
    await expect(one.tables).rejects.toThrow();
    await admin.unsafe(LARGE, [400_000]);
    const two = await engine.checkRows();
    await engine.close();
    await expect(two.tables).rejects.toThrow();
    await eventually('the end of its process', async () => (await checking()).length === 0);
  });

  it('does not hold up a handler that empties a table, and does not take that for the rows of before', async () => {
    const engine = await open(notes);
    await engine.apply(batch(command(1, 'put', { key: 'a' })));
    await admin`insert into note select 'n' || n, 'someone' from generate_series(1, 400000) as n`;
    const { tables } = await engine.checkRows();
    const outcome = tables.then(
      (found) => found.find((table) => table.name === 'note')?.rows,
      () => 'not computed',
    );
    await engine.apply(batch(command(2, 'empty', {})));
    expect([400_001, 'not computed']).toContain(await outcome);
    expect((await (await engine.checkRows()).tables).map(({ name, rows }) => [name, rows])).toEqual([
      ['craft.sequences', 0],
      ['kv', 0],
      ['note', 0],
      ['person', 2],
    ]);
  });
});
