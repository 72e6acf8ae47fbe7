/** A state machine with a table and migrations of its own. */
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { projectRoot } from '../../../deploy/local/project.js';
import type { PostgresTransaction } from '../../../services/applier/postgres/drizzle.js';
import type { StateMachine } from '../../../shared/engine/state-machine.js';

const machine: StateMachine<PostgresTransaction> = {
  name: 'ledger',
  migrations: join(projectRoot(), 'test/integration/cluster/ledger-migrations'),
  commands: {
    add: {
      input: z.strictObject({ id: z.string() }),
      handle: async (tx, { id }: { id: string }, { index }) => {
        await tx.execute(sql`insert into ledger (id, at) values (${id}, ${index})`);
        return 'added';
      },
    },
  },
  queries: {},
};

export default machine;
