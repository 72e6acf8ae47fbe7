/** `craft/testing` on a real database. */
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, expectTypeOf, it } from 'vitest';
import { z } from 'zod';
import { openMachine, type TestMachine } from '../../services/applier/testing.js';
import { InternalError, InvalidArgumentError, RejectedError, UnknownCommandError } from '../../shared/client/index.js';
import { defineMachine, Reject } from '../../shared/engine/index.js';
import { startTestPostgres, type TestPostgres } from '../harness/index.js';

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
