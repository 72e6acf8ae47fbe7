/**
 * What only a real database can go through with snapshots: slow readers, lost connections, a second
 * engine, a user's own tables.
 */
import { sql } from 'drizzle-orm';
import type { Sql } from 'postgres';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { PostgresTransaction } from '../../../services/applier/postgres/drizzle.js';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import { abandon, type EngineSnapshot, FencedError, SnapshotFormatError } from '../../../shared/engine/port.js';
import type { StateMachine } from '../../../shared/engine/state-machine.js';
import { eventually } from '../../harness/index.js';
import { batches, command, WINDOW_MS } from './commands.js';
import { testDatabases } from './databases.js';

const databases = testDatabases('snapshots');

interface Database {
  readonly url: string;
  readonly admin: Sql;
}

async function database(): Promise<Database> {
  const url = await databases.create();
  return { url, admin: databases.admin(url) };
}

async function open(databaseUrl: string, machine?: StateMachine<PostgresTransaction>): Promise<PostgresEngine> {
  const options = { databaseUrl, server: 's1', resultWindowMs: WINDOW_MS };
  const engine = databases.keep(new PostgresEngine(machine === undefined ? options : { ...options, machine }));
  await engine.open();
  return engine;
}

async function apply(engine: PostgresEngine, run: ReturnType<typeof command>[], size = run.length): Promise<void> {
  for (const batch of batches(run, [size])) {
    await engine.apply({ ...batch, checksum: (batch.commands[0]?.mergedIndex ?? 0).toString(16).padStart(16, '0') });
  }
}

async function chunksOf({ data }: EngineSnapshot): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of data) chunks.push(chunk);
  return chunks;
}

async function* listed(chunks: readonly Uint8Array[]) {
  yield* chunks;
}

const puts = (from: number, to: number, value: unknown) =>
  Array.from({ length: to - from + 1 }, (_, i) => command(from + i, 'kv.put', { key: `k${from + i}`, value }));

/** Processes of the server that work for the connections of that name. */
async function processes({ admin }: Database, name: string): Promise<{ pid: number; waits: string | null }[]> {
  const rows = await admin`select pid, wait_event as waits from pg_stat_activity
    where application_name like ${`craft ${name}%`} and datname = current_database()`;
  return rows.map((row) => ({ pid: Number(row['pid']), waits: row['waits'] as string | null }));
}

describe('a snapshot of Postgres', () => {
  it('is sent as fast as it is read, and ends in the middle when it is given up', async () => {
    const one = await database();
    const engine = await open(one.url);
    // Forty megabytes: more than the buffers between two processes.
    await apply(engine, puts(1, 400, 'x'.repeat(1_000)));
    await one.admin`update kv set value = to_jsonb((select string_agg(md5(random()::text), '') from generate_series(1, 3200)))`;
    const snapshot = await engine.snapshot();
    const reader = snapshot.data[Symbol.asyncIterator]();
    // Into the second table, the large one.
    for (let at = 0; at < 8; at++) expect((await reader.next()).done).toBe(false);
    await eventually('the server to wait for its reader', async () =>
      (await processes(one, 'snapshot')).some(({ waits }) => waits === 'ClientWrite'),
    );
    await abandon(snapshot);
    await eventually('the end of its process', async () => (await processes(one, 'snapshot')).length === 0);
    expect((await chunksOf(await engine.snapshot())).length).toBeGreaterThan(100);
    await apply(engine, puts(401, 402, 1));
  });

  it('fails when its connection is cut, and can be taken again', async () => {
    const one = await database();
    const engine = await open(one.url);
    await apply(engine, puts(1, 10, 1));
    const snapshot = await engine.snapshot();
    const [process] = await processes(one, 'snapshot');
    await one.admin`select pg_terminate_backend(${process?.pid ?? 0})`;
    await eventually('its end', async () => (await processes(one, 'snapshot')).length === 0);
    await expect(chunksOf(snapshot)).rejects.toThrow();
    expect(await chunksOf(await engine.snapshot())).not.toHaveLength(0);
  });

  it('is freed when the engine closes', async () => {
    const one = await database();
    const engine = await open(one.url);
    const snapshot = await engine.snapshot();
    await engine.close();
    await eventually('its end', async () => (await processes(one, 'snapshot')).length === 0);
    await expect(chunksOf(snapshot)).rejects.toThrow();
  });
});

describe('taking over a snapshot in Postgres', () => {
  it('is refused to an engine that another one has replaced', async () => {
    const [one, two] = [await database(), await database()];
    const engine = await open(one.url);
    await apply(engine, puts(1, 5, 1));
    const snapshot = await engine.snapshot();
    const chunks = await chunksOf(snapshot);
    const first = await open(two.url);
    await apply(first, puts(1, 2, 2));
    const second = await open(two.url);
    await expect(first.restore({ ...snapshot, data: listed(chunks) })).rejects.toBeInstanceOf(FencedError);
    expect(await second.query('kv.list', {})).toHaveLength(2);
    await second.restore({ ...snapshot, data: listed(chunks) });
    expect(await second.query('kv.list', {})).toHaveLength(5);
    await expect(first.apply({ commands: puts(3, 3, 1), checksum: '0'.repeat(16) })).rejects.toBeInstanceOf(
      FencedError,
    );
  });

  it('changes nothing when its connection is cut anywhere, and can be tried again', async () => {
    const [one, two] = [await database(), await database()];
    const engine = await open(one.url);
    await apply(engine, puts(1, 200, 'x'.repeat(5_000)));
    const snapshot = await engine.snapshot();
    const chunks = await chunksOf(snapshot);
    const other = await open(two.url);
    await apply(other, puts(1, 3, 'before'));
    const before = await other.query('kv.list', {});
    for (const cutAt of [0, 1, 2, chunks.length >> 1, chunks.length - 1]) {
      async function* cutting() {
        for (const [at, chunk] of chunks.entries()) {
          if (at === cutAt) {
            const [process] = await processes(two, 'restore');
            await two.admin`select pg_terminate_backend(${process?.pid ?? 0})`;
            await eventually('its end', async () => (await processes(two, 'restore')).length === 0);
          }
          yield chunk;
        }
      }
      await expect(other.restore({ ...snapshot, data: cutting() })).rejects.toThrow();
      expect(await other.query('kv.list', {})).toEqual(before);
    }
    await other.restore({ ...snapshot, data: listed(chunks) });
    const [row] = await two.admin`select count(*)::int as count from kv`;
    expect(row?.['count']).toBe(200);
    await apply(other, puts(201, 202, 1));
  });
});

const order = z.strictObject({ customer: z.string(), size: z.enum(['small', 'large']) });

/** Numbers come from sequences, sums from a trigger, and one table refers to the other. */
const shop: StateMachine<PostgresTransaction> = {
  name: 'shop',
  commands: {
    order: {
      input: order,
      handle: async (tx, { customer, size }: z.output<typeof order>) => {
        await tx.execute(sql`insert into customer (name) values (${customer}) on conflict do nothing`);
        const [row] = await tx.execute<{ id: number }>(
          sql`insert into an_order (customer, sizes) values (${customer}, array[${size}]::size[]) returning id`,
        );
        return { id: row?.id };
      },
    },
  },
  queries: {
    orders: {
      input: z.strictObject({}),
      handle: (tx) =>
        tx.execute(sql`select o.id, o.customer, o.sizes::text, o.label, o."ordered", c.orders from an_order o
          join customer c on c.name = o.customer order by o.id`),
    },
  },
};

// The referring table comes first in the alphabet; an array of a type that has another number in
// every database.
const SHOP = `
  create type size as enum ('small', 'large');
  create table customer (name text primary key, orders int not null default 0);
  create table an_order (id serial primary key, customer text not null references customer, sizes size[] not null,
    label text generated always as ('for ' || customer) stored, "ordered" timestamptz not null default 'epoch',
    before int references an_order deferrable initially deferred);
  create function count_order() returns trigger language plpgsql as
    'begin update customer set orders = orders + 1 where name = new.customer; return new; end';
  create trigger counting after insert on an_order for each row execute function count_order();
  create table unused (nothing int);
  alter table unused drop column nothing;`;

const orders = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => {
    const [at, size] = [from + i, i % 2 === 0 ? 'small' : 'large'];
    return command(at, 'order', { customer: `"${at % 3}\\\t`, size }, { id: `order ${at}` });
  });

describe.each(['superuser', 'owner'])("a user's machine, opened by a %s", (role) => {
  async function shopDatabase(): Promise<Database> {
    const made = await database();
    if (role === 'superuser') {
      await made.admin.unsafe(SHOP);
      return made;
    }
    const name = new URL(made.url).pathname.slice(1);
    await made.admin.unsafe(`do $$ begin create role owner login password 'owner'; exception when duplicate_object then end $$;
      alter database ${name} owner to owner; set role owner; ${SHOP}; reset role`);
    const url = new URL(made.url);
    url.username = 'owner';
    url.password = 'owner';
    return { ...made, url: url.href };
  }

  it('has all its tables, in any order of their keys, and its sequences', async () => {
    const [one, two] = [await shopDatabase(), await shopDatabase()];
    // Another number for the type.
    await two.admin`create type other as enum ()`;
    const engine = await open(one.url, shop);
    await apply(engine, orders(1, 10));
    const snapshot = await engine.snapshot();
    const chunks = await chunksOf(snapshot);
    const other = await open(two.url, shop);
    await apply(other, orders(1, 4));
    const four = await other.query('orders', {});
    await expect(other.restore({ ...snapshot, data: listed(chunks.slice(0, -1)) })).rejects.toBeInstanceOf(
      SnapshotFormatError,
    );
    expect(await other.query('orders', {})).toEqual(four);
    const seen: unknown[] = [];
    let isOver = false;
    const asking = (async () => {
      while (!isOver) seen.push(await other.query('orders', {}));
    })();
    await other.restore({ ...snapshot, data: listed(chunks) });
    isOver = true;
    await asking;
    const ten = await engine.query('orders', {});
    expect(await other.query('orders', {})).toEqual(ten);
    // Never one half of it.
    for (const orders of seen) expect([four, ten]).toContainEqual(orders);
    const next = { commands: [...orders(8, 8), ...orders(11, 13)], checksum: '1'.repeat(16) };
    const renumbered = { ...next, commands: next.commands.map((one, at) => ({ ...one, mergedIndex: 11 + at })) };
    const here = await engine.apply(renumbered);
    expect(here.applied.map(({ duplicate }) => duplicate)).toEqual([true, false, false, false]);
    expect((await other.apply(renumbered)).applied).toEqual(here.applied);
    expect(await other.query('orders', {})).toEqual(await engine.query('orders', {}));
    expect((await other.locate([])).resultsChecksum).toBe((await engine.locate([])).resultsChecksum);
  });

  it('is refused by a database with other tables', async () => {
    const [one, two] = [await shopDatabase(), await shopDatabase()];
    await two.admin.unsafe('alter table customer add column phone text');
    const snapshot = await (await open(one.url, shop)).snapshot();
    const other = await open(two.url, shop);
    await expect(other.restore(snapshot)).rejects.toBeInstanceOf(SnapshotFormatError);
    // What was not read has been given up.
    await eventually('its end', async () => (await processes(one, 'snapshot')).length === 0);
  });
});
