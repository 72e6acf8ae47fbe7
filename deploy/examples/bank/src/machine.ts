/**
 * A bank: accounts that never go below zero. Every server runs these handlers on the same commands
 * in the same order.
 */
import { fileURLToPath } from 'node:url';
import { defineMachine, Reject, type Transaction } from 'craft/machine';
import { eq, sql } from 'drizzle-orm';
import { z } from 'zod';
import { accounts } from './schema.ts';

const account = z.string().min(1).max(100);
const cents = z.int().min(1).max(1_000_000_00);

async function centsOf(tx: Transaction, name: string): Promise<number> {
  const [row] = await tx.select({ cents: accounts.cents }).from(accounts).where(eq(accounts.account, name));
  if (row === undefined) throw new Reject(`there is no account ${name}`);
  return row.cents;
}

export default defineMachine({
  name: 'bank',
  migrations: fileURLToPath(new URL('../migrations', import.meta.url)),
  commands: {
    'bank.open': {
      input: z.strictObject({ account, cents }),
      handle: async (tx, input, { timestamp }) => {
        const made = await tx
          .insert(accounts)
          .values({ ...input, changedAt: timestamp })
          .onConflictDoNothing()
          .returning();
        if (made.length === 0) throw new Reject(`there is an account ${input.account} already`);
        return { account: input.account };
      },
    },
    'bank.transfer': {
      input: z.strictObject({ from: account, to: account, cents }),
      handle: async (tx, { from, to, cents }, { timestamp }) => {
        if ((await centsOf(tx, from)) < cents) throw new Reject(`${from} has less than ${cents} cents`);
        await centsOf(tx, to);
        for (const [name, change] of [
          [from, -cents],
          [to, cents],
        ] as const) {
          await tx
            .update(accounts)
            .set({ cents: sql`${accounts.cents} + ${change}`, changedAt: timestamp })
            .where(eq(accounts.account, name));
        }
        return { from: await centsOf(tx, from), to: await centsOf(tx, to) };
      },
    },
  },
  queries: {
    'bank.balance': {
      input: z.strictObject({ account }),
      handle: async (tx, input) => ({ cents: await centsOf(tx, input.account) }),
    },
  },
});
