/** A state machine whose handlers fail in every way, with one that works. */
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import type { PostgresTransaction } from '../../../services/applier/postgres/drizzle.js';
import { Reject, type StateMachine } from '../../../shared/engine/state-machine.js';
import { failingCommands } from '../../harness/failing-handlers.js';

const nothing = z.strictObject({});

const machine: StateMachine<PostgresTransaction> = {
  name: 'failing',
  commands: {
    ...failingCommands,
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
    // What it leaves behind fails when the command is long done.
    stray: {
      input: nothing,
      handle: async () => {
        void Promise.reject(new Error('left behind'));
        setTimeout(() => {
          throw new Error('left behind, and thrown');
        }, 1);
        return 'done';
      },
    },
    reject: { input: nothing, handle: () => Promise.reject(new Reject('not for you')) },
  },
  queries: {},
};

export default machine;
