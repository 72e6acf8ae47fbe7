/**
 * A bank, version 1: accounts and transfers. Each version has a file of its own, so that its
 * fingerprint stays what it was.
 */
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { projectRoot } from '../../../deploy/local/project.js';
import type { PostgresTransaction } from '../../../services/applier/postgres/drizzle.js';
import { Reject, type StateMachine } from '../../../shared/engine/state-machine.js';

const open = z.strictObject({ name: z.string(), balance: z.number().int().nonnegative() });
const transfer = z.strictObject({ from: z.string(), to: z.string(), amount: z.number().int().positive() });

const machine: StateMachine<PostgresTransaction> = {
  name: 'bank',
  version: 1,
  migrations: join(projectRoot(), 'test/integration/cluster/bank-migrations'),
  lastMigration: '0000_accounts',
  commands: {
    open: {
      input: open,
      handle: async (tx, { name, balance }: z.output<typeof open>) => {
        await tx.execute(sql`insert into account (name, balance) values (${name}, ${balance})`);
        return { version: 1 };
      },
    },
    transfer: {
      input: transfer,
      handle: async (tx, { from, to, amount }: z.output<typeof transfer>) => {
        const taken = await tx.execute(sql`update account set balance = balance - ${amount}
          where name = ${from} and balance >= ${amount} returning name`);
        if (taken.length === 0) throw new Reject(`${from} has not enough`);
        const given = await tx.execute(sql`update account set balance = balance + ${amount}
          where name = ${to} returning name`);
        if (given.length === 0) throw new Reject(`there is no account ${to}`);
        return { version: 1 };
      },
    },
  },
  queries: {
    total: {
      input: z.strictObject({}),
      handle: async (tx) => {
        const [row] = await tx.execute(sql`select coalesce(sum(balance), 0)::int as total from account`);
        return Number(row?.['total']);
      },
    },
  },
};

export default machine;
