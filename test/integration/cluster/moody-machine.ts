/**
 * A state machine that breaks the rules: what its command answers depends on the server that
 * executes it.
 */
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import type { PostgresTransaction } from '../../../services/applier/postgres/drizzle.js';
import type { StateMachine } from '../../../shared/engine/state-machine.js';

const machine: StateMachine<PostgresTransaction> = {
  name: 'moody',
  commands: {
    greet: {
      input: z.strictObject({ id: z.string() }),
      handle: async (tx, { id }: { id: string }) => {
        await tx.execute(sql`create table if not exists greeted (id text primary key)`);
        await tx.execute(sql`insert into greeted (id) values (${id})`);
        return process.env['MOOD'] ?? 'hello';
      },
    },
  },
  queries: {
    greeted: {
      input: z.strictObject({}),
      handle: async (tx) => tx.execute(sql`select id from greeted order by id`),
    },
  },
};

export default machine;
