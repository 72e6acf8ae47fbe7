/**
 * A user's own state machine on a real Postgres: handlers in savepoints, rejections that are
 * recorded, faults that are not answers.
 */
import { eq, sql } from 'drizzle-orm';
import { bigint, pgTable, text } from 'drizzle-orm/pg-core';
import postgres, { type Sql } from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { PostgresTransaction } from '../../../services/applier/postgres/drizzle.js';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import type { Applied } from '../../../shared/engine/port.js';
import { Reject, type StateMachine } from '../../../shared/engine/state-machine.js';
import { eventually, startTestPostgres, type TestPostgres } from '../../harness/index.js';
import { batches, command, WINDOW_MS } from './commands.js';

const accounts = pgTable('accounts', {
  name: text('name').primaryKey(),
  balance: bigint('balance', { mode: 'number' }).notNull(),
});

const account = z.strictObject({ name: z.string(), balance: z.number().int() });
const transfer = z.strictObject({ from: z.string(), to: z.string(), amount: z.number().int() });
let beforeWrite: (() => Promise<unknown>) | undefined;

const machine: StateMachine<PostgresTransaction> = {
  name: 'bank',
  commands: {
    open: {
      input: account,
      handle: async (tx, input: z.output<typeof account>, { random, index }) => {
        await tx.insert(accounts).values(input);
        await beforeWrite?.();
        return { index, luck: random() };
      },
    },
    // Takes the money before it looks: only the savepoint gives it back.
    transfer: {
      input: transfer,
      handle: async (tx, { from, to, amount }: z.output<typeof transfer>) => {
        const change = (name: string, by: number) =>
          tx
            .update(accounts)
            .set({ balance: sql`${accounts.balance} + ${by}` })
            .where(eq(accounts.name, name))
            .returning();
        const [payer] = await change(from, -amount);
        const [payee] = await change(to, amount);
        if (payer === undefined || payee === undefined) throw new Reject('no such account');
        if (payer.balance < 0) throw new Reject(`${from} has not enough`);
        return { balance: payer.balance };
      },
    },
    // Catches the error of its statement and claims success.
    careless: {
      input: account,
      handle: async (tx, input: z.output<typeof account>) => {
        await tx
          .insert(accounts)
          .values(input)
          .catch(() => undefined);
        return 'all well';
      },
    },
    // Undoes a part of itself and goes on.
    nested: {
      input: account,
      handle: async (tx, input: z.output<typeof account>) => {
        const inner = await tx
          .transaction((inner) => inner.insert(accounts).values(input))
          .then(
            () => 'new',
            () => 'known',
          );
        return { inner };
      },
    },
  },
  queries: {
    total: {
      input: z.strictObject({}),
      handle: async (tx) => {
        const rows = await tx.select().from(accounts);
        return rows.reduce((sum, row) => sum + row.balance, 0);
      },
    },
    vandal: { input: z.strictObject({}), handle: (tx) => tx.delete(accounts) },
    refused: {
      input: z.strictObject({}),
      handle: () => {
        throw new Reject('not for you');
      },
    },
    division: { input: z.strictObject({}), handle: (tx) => tx.execute(sql`select 1 / 0`) },
  },
};

let server: TestPostgres;
let admin: Sql;
let url = '';
let databases = 0;
const opened: PostgresEngine[] = [];

beforeAll(async () => {
  server = await startTestPostgres();
});
beforeEach(async () => {
  beforeWrite = undefined;
  const name = `handlers_${databases++}`;
  await server.createDatabases([name]);
  url = server.url(name);
  admin = postgres(url, { max: 1, onnotice: () => undefined });
  await admin`create table accounts (name text primary key, balance bigint not null check (balance < 1000),
    partner text references accounts deferrable initially deferred)`;
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((engine) => engine.close().catch(() => undefined)));
  await admin.end();
});
afterAll(() => server?.stop());

async function openEngine(of: StateMachine<PostgresTransaction> = machine): Promise<PostgresEngine> {
  const engine = new PostgresEngine({ databaseUrl: url, server: 's1', resultWindowMs: WINDOW_MS, machine: of });
  opened.push(engine);
  await engine.open();
  return engine;
}

const create = (at: number, name: string, balance: number, id = '') => command(at, 'open', { name, balance }, { id });

async function applyAll(engine: PostgresEngine, run: ReturnType<typeof command>[], size = run.length) {
  const all: Applied[] = [];
  for (const batch of batches(run, [size])) all.push(...(await engine.apply(batch)).applied);
  return all.map(({ outcome, duplicate }) => ({
    ...(outcome.ok ? { result: JSON.parse(outcome.json) as unknown } : { rejected: outcome.message }),
    duplicate,
  }));
}

describe('handlers', () => {
  it('say no with Reject, and leave nothing behind', async () => {
    const engine = await openEngine();
    const run = [
      create(1, 'a', 10),
      create(2, 'b', 0),
      command(3, 'transfer', { from: 'a', to: 'b', amount: 4 }),
      command(4, 'transfer', { from: 'a', to: 'b', amount: 40 }),
      command(5, 'transfer', { from: 'a', to: 'nobody', amount: 1 }),
      command(6, 'transfer', { from: 'a' }),
      command(7, 'unheard of', {}),
    ];
    const done = await applyAll(engine, run);
    expect(done.slice(2, 5)).toEqual([
      { result: { balance: 6 }, duplicate: false },
      { rejected: 'a has not enough', duplicate: false },
      { rejected: 'no such account', duplicate: false },
    ]);
    // Not what zod says: every server records the same text, whichever version it has.
    expect(done[5]).toMatchObject({ rejected: 'the input is not one of "transfer"' });
    expect(done[6]).toMatchObject({ rejected: expect.stringContaining('unheard of') as unknown });
    const rows = await admin`select name, balance::int from accounts order by name`;
    expect([...rows]).toEqual([
      { name: 'a', balance: 6 },
      { name: 'b', balance: 4 },
    ]);
  });

  it('have what the data refuses recorded as a rejection, also when they look away', async () => {
    const engine = await openEngine();
    const done = await applyAll(engine, [
      create(1, 'a', 1),
      create(2, 'a', 2),
      create(3, 'rich', 1_000),
      command(4, 'careless', { name: 'a', balance: 1 }),
      command(5, 'nested', { name: 'a', balance: 1 }),
      command(6, 'nested', { name: 'b', balance: 5 }),
      create(7, 'nul\0', 1),
    ]);
    expect(done.map((one) => ('rejected' in one ? one.rejected : 'done'))).toEqual([
      'done',
      'integrity constraint violation, SQLSTATE 23505 (constraint accounts_pkey)',
      'integrity constraint violation, SQLSTATE 23514 (constraint accounts_balance_check)',
      'integrity constraint violation, SQLSTATE 23505 (constraint accounts_pkey)',
      'done',
      'done',
      'the payload is not acceptable JSON',
    ]);
    expect(done[4]).toMatchObject({ result: { inner: 'known' } });
    expect(done[5]).toMatchObject({ result: { inner: 'new' } });
    expect(await engine.query('total', {})).toBe(6);
  });

  it('have constraints that are deferred checked by the command that breaks them, not at commit', async () => {
    const partners: StateMachine<PostgresTransaction> = {
      ...machine,
      commands: {
        ...machine.commands,
        pair: {
          input: z.strictObject({}),
          handle: (tx) => tx.execute(sql`insert into accounts values ('lonely', 1, 'nobody')`),
        },
      },
    };
    const engine = await openEngine(partners);
    const done = await applyAll(engine, [command(1, 'pair', {}), create(2, 'a', 3)]);
    expect(done[0]).toMatchObject({ rejected: expect.stringContaining('23503') as unknown });
    expect(await engine.query('total', {})).toBe(3);
  });

  it('run once an id, with the same luck on every server', async () => {
    const engine = await openEngine();
    const run = [create(1, 'a', 1, 'x'), create(2, 'a', 2, 'x'), create(3, 'a', 3, 'y'), create(4, 'a', 3, 'y')];
    const here = await applyAll(engine, run, 3);
    expect(here.map((one) => one.duplicate)).toEqual([false, true, false, true]);
    expect(here[1]).toEqual({ ...here[0], duplicate: true });
    expect(here[3]).toEqual({ ...here[2], duplicate: true });
    await engine.close();
    await admin`drop schema craft cascade`;
    await admin`drop table kv`;
    await admin`truncate accounts`;
    expect(await applyAll(await openEngine(), run, 1)).toEqual(here);
  });

  it('never turn a lost connection into an answer: the batch is undone and succeeds later', async () => {
    const engine = await openEngine();
    const killer = postgres(url, { max: 1, onnotice: () => undefined });
    let cuts = 0;
    beforeWrite = async () => {
      beforeWrite = undefined;
      cuts += 1;
      await killer`select pg_terminate_backend(pid) from pg_stat_activity
        where application_name like 'craft applier%' and datname = current_database()`;
      // What the handler does with this error does not matter: it is not the data's.
    };
    const [batch] = batches([create(1, 'a', 1), create(2, 'b', 2), create(3, 'a', 3)], [3]);
    if (batch === undefined) throw new Error('no batch');
    await expect(engine.apply(batch)).rejects.toThrow();
    expect([...(await admin`select * from accounts`)]).toEqual([]);
    const { applied } = await eventually('the batch to be applied', () => engine.apply(batch));
    expect(applied.map(({ outcome }) => outcome.ok)).toEqual([true, true, false]);
    expect(cuts).toBe(1);
    await killer.end();
  });

  it('write nothing outside their transaction when its connection is cut between two statements', async () => {
    const processes = () => admin`select pid from pg_stat_activity
      where application_name like 'craft applier%' and datname = current_database()`;
    const patient: StateMachine<PostgresTransaction> = {
      ...machine,
      commands: {
        ...machine.commands,
        two: {
          input: z.strictObject({}),
          handle: async (tx) => {
            await tx.insert(accounts).values({ name: 'first', balance: 1 });
            await beforeWrite?.();
            await tx.insert(accounts).values({ name: 'second', balance: 2 });
          },
        },
      },
    };
    const engine = await openEngine(patient);
    beforeWrite = async () => {
      beforeWrite = undefined;
      const cut = await processes();
      for (const { pid } of cut) await admin`select pg_terminate_backend(${pid as number})`;
      await eventually('the end of the connection', async () => (await processes()).length === 0);
      // The engine hears of it when its socket does, which is nobody else's to see.
      const connection = Reflect.get(engine, 'connection') as object;
      await eventually('the engine to hear of it', () => Reflect.get(connection, 'client') === undefined);
    };
    const [batch] = batches([command(1, 'two', {})], [1]);
    if (batch === undefined) throw new Error('no batch');
    await expect(engine.apply(batch)).rejects.toThrow();
    expect([...(await admin`select * from accounts`)]).toEqual([]);
    await eventually('the batch to be applied', () => engine.apply(batch));
    expect([...(await admin`select name from accounts order by name`)]).toHaveLength(2);
  });

  it('may take a whole run at once', async () => {
    const seen: number[] = [];
    const setBased: StateMachine<PostgresTransaction> = {
      ...machine,
      applyBatch: async (tx, commands) => {
        seen.push(commands.length);
        await tx.insert(accounts).values(commands.map(({ input }) => input as z.output<typeof account>));
        return commands.map(({ context }) => ({ ok: true as const, json: String(context.index) }));
      },
    };
    const engine = await openEngine(setBased);
    const done = await applyAll(engine, [
      create(1, 'a', 1, 'x'),
      create(2, 'other', 1, 'x'),
      command(3, 'open', { name: 1 }),
      create(4, 'b', 2),
    ]);
    expect(seen).toEqual([2]);
    expect(done.map((one) => ('result' in one ? one.result : 'no'))).toEqual([1, 1, 'no', 4]);
  });

  it('read in a transaction that cannot write', async () => {
    const engine = await openEngine();
    await applyAll(engine, [create(1, 'a', 7)]);
    await expect(engine.query('vandal', {})).rejects.toMatchObject({ code: 'INTERNAL' });
    await expect(engine.query('division', {})).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(engine.query('refused', {})).rejects.toMatchObject({ code: 'REJECTED', message: 'not for you' });
    expect(await engine.query('total', {})).toBe(7);
    await expect(engine.query('constructor', {})).rejects.toMatchObject({ code: 'UNKNOWN_COMMAND' });
    await expect(engine.query('total', { x: 1 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});

describe('opening', () => {
  it('works for many at once on an empty database; the last one holds the fence', async () => {
    const engines = await Promise.all(Array.from({ length: 4 }, () => openEngine()));
    const [batch] = batches([create(1, 'a', 1)], [1]);
    if (batch === undefined) throw new Error('no batch');
    const tries = await Promise.allSettled(engines.map((engine) => engine.apply(batch)));
    expect(tries.filter((one) => one.status === 'fulfilled')).toHaveLength(1);
    const [row] = await admin`select epoch::int, merged_index::int from craft.position`;
    expect(row).toEqual({ epoch: 4, merged_index: 1 });
  });
});
