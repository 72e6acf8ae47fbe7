/**
 * A bank, version 2: an account may be overdrawn by its credit (a new column, a changed rule), and
 * a new command charges a fee.
 */
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import type { PostgresTransaction } from '../../../services/applier/postgres/drizzle.js';
import { Reject, type StateMachine } from '../../../shared/engine/state-machine.js';
import one from './bank-1.js';

const transfer = z.strictObject({ from: z.string(), to: z.string(), amount: z.number().int().positive() });
const charge = z.strictObject({ name: z.string(), fee: z.number().int().positive() });

const machine: StateMachine<PostgresTransaction> = {
  ...one,
  version: 2,
  lastMigration: '0001_credit',
  commands: {
    ...one.commands,
    transfer: {
      input: transfer,
      handle: async (tx, { from, to, amount }: z.output<typeof transfer>) => {
        const taken = await tx.execute(sql`update account set balance = balance - ${amount}
          where name = ${from} and balance + credit >= ${amount} returning name`);
        if (taken.length === 0) throw new Reject(`${from} has not enough`);
        const given = await tx.execute(sql`update account set balance = balance + ${amount}
          where name = ${to} returning name`);
        if (given.length === 0) throw new Reject(`there is no account ${to}`);
        return { version: 2 };
      },
    },
    charge: {
      input: charge,
      handle: async (tx, { name, fee }: z.output<typeof charge>) => {
        await tx.execute(sql`update account set balance = balance - ${fee} where name = ${name}`);
        return { version: 2 };
      },
    },
  },
};

export default machine;
/** For what is before the switch in the log. */
export const earlier = [one];
