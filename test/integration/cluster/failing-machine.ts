/** A state machine with one command for each way in which a handler can fail; each writes a row first, which must not stay. */
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import type { PostgresTransaction } from '../../../services/applier/postgres/drizzle.js';
import { type CommandDefinition, Reject, type StateMachine } from '../../../shared/engine/state-machine.js';

type Handle = (tx: PostgresTransaction) => Promise<unknown>;
const nothing = z.strictObject({});

const raise = (body: string) => sql.raw(`do $$ declare x text; begin ${body} end $$`);

export const FAILURES: Readonly<Record<string, Handle>> = {
  'type-error': async () => (undefined as unknown as { x: string }).x,
  'too-many-parameters': (tx) =>
    tx.execute(
      sql`insert into items (id, a, b) values ${sql.join(
        Array.from({ length: 22_000 }, (_, at) => sql`(${`r${at}`}, ${at}, ${at})`),
        sql`, `,
      )}`,
    ),
  'undefined-parameter': (tx) => tx.execute(sql`select ${sql.param(undefined)}::text`),
  'date-parameter': (tx) => tx.execute(sql`select ${new Date(0)}::timestamptz`),
  'own-code': (tx) => tx.execute(raise("raise 'no' using errcode = 'CR001';")),
  'strict-without-row': (tx) => tx.execute(raise('select id into strict x from items where false;')),
  'case-without-else': (tx) => tx.execute(raise('case 1 when 2 then x := 1; end case;')),
  'unknown-table': (tx) => tx.execute(sql`select * from no_such_table`),
  'ends-the-transaction': (tx) => tx.execute(sql`commit`),
  'bigint-result': async () => ({ n: 1n }),
  'function-result': async () => () => 1,
  'circular-result': async () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    return circle;
  },
};

const failing = Object.fromEntries(
  Object.entries(FAILURES).map(([name, fail]): [string, CommandDefinition<PostgresTransaction>] => [
    name,
    {
      input: nothing,
      handle: async (tx) => {
        await tx.execute(sql`insert into items (id) values ('left behind')`);
        return fail(tx);
      },
    },
  ]),
);

const machine: StateMachine<PostgresTransaction> = {
  name: 'failing',
  commands: {
    ...failing,
    setup: {
      input: nothing,
      handle: async (tx) => {
        await tx.execute(sql`create table items (id text primary key, a integer, b integer, at bigint)`);
        return 'ready';
      },
    },
    put: {
      input: z.strictObject({ id: z.string() }),
      handle: async (tx, { id }: { id: string }, { index }) => {
        await tx.execute(sql`insert into items (id, at) values (${id}, ${index})`);
        return { id };
      },
    },
    reject: { input: nothing, handle: () => Promise.reject(new Reject('not for you')) },
  },
  queries: {},
};

export default machine;
