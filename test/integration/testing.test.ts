/** `craft/testing` on a real database. */
import { randomUUID } from 'node:crypto';
import { type SQL, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from 'vitest';
import { z } from 'zod';
import { checkDeterminism, openMachine, type TestCommand, type TestMachine } from '../../services/applier/testing.js';
import { InternalError, InvalidArgumentError, RejectedError, UnknownCommandError } from '../../shared/client/index.js';
import { type CommandContext, defineMachine, Reject, type Transaction } from '../../shared/engine/index.js';
import { startTestPostgres, type TestPostgres } from '../harness/index.js';
import bank1 from './cluster/bank-1.js';
import bank2 from './cluster/bank-2.js';
import bank3 from './cluster/bank-3.js';

const nothing = z.strictObject({});
const machine = defineMachine({
  name: 'notes',
  commands: {
    setup: {
      input: nothing,
      handle: async (tx) => void (await tx.execute(sql`create table notes (note text primary key, at bigint)`)),
    },
    add: {
      input: z.strictObject({ note: z.string() }),
      handle: async (tx, { note }, { timestamp }) => {
        await tx.execute(sql`insert into notes values (${note}, ${timestamp})`);
        if (note === 'never') throw new Reject('not this one');
        if (note === 'broken') throw new Error('a defect');
        return { note, at: new Date(timestamp / 1_000) };
      },
    },
  },
  queries: {
    all: {
      input: nothing,
      handle: async (tx) => [...(await tx.execute<{ note: string; at: string }>(sql`select * from notes order by at`))],
    },
  },
});

let database: TestPostgres;
let notes: TestMachine<typeof machine>;
beforeAll(async () => {
  database = await startTestPostgres(['notes']);
  notes = await openMachine(machine, { databaseUrl: database.url('notes') });
  await notes.command('setup', {});
});
afterAll(async () => {
  await notes?.close();
  await database?.stop();
});

it('gives results and errors as a client gets them', async () => {
  const added = await notes.command('add', { note: 'a' }, { id: 'i', timestamp: 1_900_000_000_000_000 });
  expectTypeOf(added).toEqualTypeOf<{ note: string; at: string }>();
  const a = { note: 'a', at: '2030-03-17T17:46:40.000Z' };
  expect(added).toEqual(a);
  // Once, however often it is sent; a row that is there already is no.
  expect(await notes.command('add', { note: 'a' }, { id: 'i' })).toEqual(a);
  await expect(notes.command('add', { note: 'a' })).rejects.toThrow(RejectedError);
  await expect(notes.command('add', { note: 'never' })).rejects.toThrow(new RejectedError('not this one'));
  await expect(notes.command('add', { note: 'broken' })).rejects.toMatchObject({
    constructor: InternalError,
    cause: expect.objectContaining({ message: 'a defect' }),
  });
  // @ts-expect-error: a field of another type
  await expect(notes.command('add', { note: 1 })).rejects.toThrow(InvalidArgumentError);
  // @ts-expect-error: no such command
  await expect(notes.command('remove', {})).rejects.toThrow(UnknownCommandError);
  // @ts-expect-error: no such query
  await expect(notes.query('none', {})).rejects.toThrow(UnknownCommandError);
  await expect(notes.command('add', { note: 'late' }, { timestamp: 1 })).rejects.toThrow(RangeError);
  expect(await notes.query('all', {})).toEqual([{ note: 'a', at: '1900000000000000' }]);
});

it('runs commands in the order in which they are given, and goes on where an earlier test ended', async () => {
  const order = ['x', 'y', 'z'];
  await Promise.all(order.map((note) => notes.command('add', { note })));
  await notes.close();
  notes = await openMachine(machine, { databaseUrl: database.url('notes') });
  await notes.command('add', { note: 'last' });
  expect((await notes.query('all', {})).map(({ note }) => note)).toEqual(['a', ...order, 'last']);
});

it('rejects when there is no database', async () => {
  await expect(openMachine(machine, { databaseUrl: 'postgres://craft@127.0.0.1:1/none' })).rejects.toThrow(
    /ECONNREFUSED|lost/i,
  );
});

it('switches a database to a later version, with its migrations, and back to no earlier one', async () => {
  await database.createDatabases(['versions', 'versions_1', 'versions_2']);
  const databaseUrl = database.url('versions');
  const openedAndClosed = async (version: Parameters<typeof openMachine>[0]): Promise<void> =>
    (await openMachine(version, { databaseUrl })).close();
  const first = await openMachine(bank1, { databaseUrl });
  await first.command('open', { name: 'ann', balance: 5 });
  await first.close();
  const second = await openMachine(bank2, { databaseUrl });
  // A column and a command that version 2 has.
  expect(await second.command('charge', { name: 'ann', fee: 7 })).toEqual({ version: 2 });
  expect(await second.query('total', {})).toBe(-2);
  await second.close();
  await expect(openedAndClosed(bank1)).rejects.toThrow(/^the database has version 2 of bank in force: test version 1/);
  await expect(openedAndClosed(bank3)).rejects.toThrow(/^version 2 stays in force: migration 0002_rich/);
  await openedAndClosed(bank2);

  // A new database begins with version 1, like a cluster.
  const databaseUrls = [database.url('versions_1'), database.url('versions_2')] as const;
  const open: TestCommand<typeof bank2> = ['open', { name: 'ann', balance: 5 }];
  await checkDeterminism(bank2, { databaseUrls, commands: [open, ['charge', { name: 'ann', fee: 1 }]] });
  await checkDeterminism(bank2, { databaseUrls, commands: [['charge', { name: 'ann', fee: 1 }]] });
  await expect(checkDeterminism(bank3, { databaseUrls, commands: [open] })).rejects.toThrow(
    /^craft\.machine failed: .*0002_rich/,
  );
});

describe('two servers', () => {
  type Handle = (tx: Transaction, context: CommandContext) => Promise<unknown>;
  const write = (tx: Transaction, at: unknown): Promise<unknown> =>
    tx.execute(sql`insert into seen (at) values (${at})`);

  /**
   * Has one handler run for three commands, over the table seen (id serial, at text) or what
   * `columns` says.
   */
  async function checked(handle: Handle, columns: SQL = sql`id serial primary key, at text`): Promise<void> {
    const names = ['one', 'other'].map((name) => `${name}_${randomUUID()}`) as [string, string];
    await database.createDatabases(names);
    const input = z.strictObject({});
    const tested = defineMachine({
      name: 'tested',
      commands: {
        'seen.setup': { input, handle: async (tx) => void (await tx.execute(sql`create table seen (${columns})`)) },
        'seen.add': { input, handle: (tx, _, context) => handle(tx, context) },
      },
      queries: {},
    });
    await checkDeterminism(tested, {
      databaseUrls: [database.url(names[0]), database.url(names[1])],
      commands: [
        ['seen.setup', {}],
        ['seen.add', {}],
        ['seen.add', {}, { id: 'second' }],
        ['seen.add', {}],
        ['seen.add', {}, { id: 'second' }],
      ],
    });
  }

  const differ = (message: RegExp) => ({ code: 'NONDETERMINISM', message: expect.stringMatching(message) as unknown });

  it('come to the same, with sequences, rejections, random numbers of the context, and rows in a stated order', async () => {
    const { Date: date } = globalThis;
    const [random, zone, env] = [Math.random, process.env['TZ'], process.env];
    await checked(async (tx, { random: number, timestamp, index }) => {
      await write(tx, `${number()} ${timestamp} ${new Date(timestamp / 1_000).toISOString()}`);
      if (index === 3) throw new Reject('not the third');
      return [...(await tx.execute(sql`select at from seen order by id`))];
    });
    expect([globalThis.Date, Math.random, process.env['TZ'], process.env]).toEqual([date, random, zone, env]);
  });

  it.each<[string, Handle, RegExp]>([
    ['a clock', (tx) => write(tx, Date.now()), /^seen\.add wrote different rows: seen\.at; use context\.timestamp$/],
    ['a date', (tx) => write(tx, new Date().getFullYear()), /^seen\.add wrote different rows: seen\.at; /],
    ['a time zone', (tx) => write(tx, new Date(0).getHours()), /seen\.at; a handler may depend on/],
    ['random numbers', (tx) => write(tx, Math.random() < 0.5), /seen\.at; a handler may depend on/],
    ['random ids', (tx) => write(tx, randomUUID()), /seen\.at/],
    ['the environment', (tx) => write(tx, process.env['CRAFT_BONUS'] ?? 'none'), /seen\.at/],
    ['a default of the environment', (tx) => write(tx, process.env['PATH'] ?? 'none'), /seen\.at/],
    [
      'rows in any order',
      async (tx) => {
        const [first] = await tx.execute<{ id: number }>(sql`select id from seen limit 1`);
        return write(tx, first?.id ?? 0);
      },
      /seen\.at/,
    ],
    [
      'a result of its own',
      async () => ({ id: randomUUID() }),
      /^seen\.add gave different results: .*"id".* and .*"id"/,
    ],
    [
      'a number of rows',
      async (tx) => {
        if (Math.random() < 0.5) await write(tx, 1);
      },
      /^seen\.add wrote different rows: \d in seen of one server, 0 of the other; /,
    ],
  ])('do not, with %s', async (_, handle, message) => {
    await expect(checked(handle)).rejects.toMatchObject(differ(message));
  });

  it('do not, with something that a handler keeps in memory, since a batch may be tried again', async () => {
    let calls = 0;
    await expect(checked((tx) => write(tx, calls++))).rejects.toMatchObject(differ(/seen\.at/));
  });

  it('do not, with columns of types that tell what to use', async () => {
    const at = sql`at timestamptz`;
    const now: Handle = (tx) => write(tx, new Date().toISOString());
    await expect(checked(now, at)).rejects.toMatchObject(differ(/seen\.at; use context\.timestamp$/));
    await expect(checked((tx) => write(tx, randomUUID()), sql`at uuid`)).rejects.toMatchObject(
      differ(/seen\.at; use context\.random or an id in the input$/),
    );
    const byDefault = sql`at text, made timestamptz default now()`;
    await expect(checked((tx) => write(tx, ''), byDefault)).rejects.toMatchObject(
      differ(/seen\.made; use context\.timestamp$/),
    );
  });

  it('are not compared when a handler has a defect, or when the databases are not equal at the beginning', async () => {
    const broken: Handle = async () => {
      throw new Error('a defect');
    };
    await expect(checked(broken)).rejects.toThrow('seen.add failed: a defect');
    const databaseUrls = [database.url('notes'), database.url('notes_again')] as const;
    await database.createDatabases(['notes_again']);
    await expect(checkDeterminism(machine, { databaseUrls, commands: [['add', { note: 'b' }]] })).rejects.toThrow(
      'different rows in notes before the first command',
    );
    await expect(checkDeterminism(machine, { databaseUrls, commands: [] })).rejects.toThrow(RangeError);
  });
});
