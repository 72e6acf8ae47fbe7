/**
 * One handler for each way in which a handler can fail, by the name of its command, with what its
 * answer says. They expect a table `items (id text primary key, a integer, b integer)`.
 */
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import type { PostgresTransaction } from '../../services/applier/postgres/drizzle.js';
import type { CommandDefinition } from '../../shared/engine/state-machine.js';

type Handle = (tx: PostgresTransaction) => Promise<unknown>;

const raise = (body: string) => sql.raw(`do $$ declare x text; begin ${body} end $$`);

/** More parameters than one statement may have. */
const manyRows = () =>
  sql.join(
    Array.from({ length: 22_000 }, (_, at) => sql`(${`r${at}`}, ${at}, ${at})`),
    sql`, `,
  );

export const FAILURES: Readonly<Record<string, readonly [Handle, RegExp]>> = {
  'type-error': [async () => (undefined as unknown as { x: string }).x, /TypeError/],
  'thrown-string': [() => Promise.reject('odd' as unknown as Error), /odd/],
  'too-many-parameters': [
    (tx) => tx.execute(sql`insert into items (id, a, b) values ${manyRows()}`),
    /66000 parameters/,
  ],
  'undefined-parameter': [(tx) => tx.execute(sql`select ${sql.param(undefined)}::text`), /parameter 1 is undefined/],
  'date-parameter': [(tx) => tx.execute(sql`select ${new Date(0)}::timestamptz`), /parameter 1 is a Date/],
  'object-parameter': [(tx) => tx.execute(sql`select ${sql.param({ n: 1 })}::jsonb`), /parameter 1 is an object/],
  'symbol-parameter': [(tx) => tx.execute(sql`select ${sql.param(Symbol('s'))}::text`), /symbol/i],
  'own-code': [(tx) => tx.execute(raise("raise 'no' using errcode = 'CR001';")), /SQLSTATE CR001/],
  'strict-without-row': [(tx) => tx.execute(raise('select id into strict x from items where false;')), /P0002/],
  'case-without-else': [(tx) => tx.execute(raise('case 1 when 2 then x := 1; end case;')), /SQLSTATE 20000/],
  'unknown-table': [(tx) => tx.execute(sql`select * from no_such_table`), /SQLSTATE 42P01/],
  'syntax-error': [(tx) => tx.execute(sql`selct 1`), /SQLSTATE 42601/],
  'bigint-result': [async () => ({ n: 1n }), /BigInt/],
  'function-result': [async () => () => 1, /function/],
  'symbol-result': [async () => Symbol('s'), /symbol/],
  'circular-result': [
    async () => {
      const circle: Record<string, unknown> = {};
      circle['self'] = circle;
      return circle;
    },
    /circular/,
  ],
  commit: [(tx) => tx.execute(sql`commit`), /must not use commit/],
  'rollback-behind-a-comment': [(tx) => tx.execute(sql`/* so */ ROLLBACK`), /must not use ROLLBACK/],
  'commit-in-a-second-statement': [(tx) => tx.execute(sql.raw('select 1; commit')), /SQLSTATE 42601/],
  copy: [(tx) => tx.execute(sql`copy items to stdout`), /must not use copy/],
  'setting-that-stays': [(tx) => tx.execute(sql`set search_path = pg_catalog`), /must not use set/],
  'not-waited-for': [
    async (tx) => {
      void tx.execute(sql`select * from no_such_table`).catch(() => undefined);
    },
    /SQLSTATE 42P01/,
  ],
};

/** Each writes a row first, which must not stay. */
export const failingCommands: Readonly<Record<string, CommandDefinition<PostgresTransaction>>> = Object.fromEntries(
  Object.entries(FAILURES).map(([name, [fail]]): [string, CommandDefinition<PostgresTransaction>] => [
    name,
    {
      input: z.strictObject({}),
      handle: async (tx) => {
        await tx.execute(sql`insert into items (id) values ('left behind')`);
        return fail(tx);
      },
    },
  ]),
);
