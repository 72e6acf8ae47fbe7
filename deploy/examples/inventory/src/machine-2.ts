/**
 * An inventory, version 2: it knows what to order more of. Commands of version 1 go on as they are.
 */
import { defineMachine, Reject } from 'craft/machine';
import { and, eq, lt, sql } from 'drizzle-orm';
import { z } from 'zod';
import one from './machine-1.ts';
import { stock } from './schema-2.ts';

const name = z.string().min(1).max(100);

export default defineMachine({
  ...one,
  version: 2,
  lastMigration: '0001_reorder',
  commands: {
    ...one.commands,
    'stock.watch': {
      input: z.strictObject({ warehouse: name, item: name, reorderBelow: z.int().min(0).max(1_000_000) }),
      handle: async (tx, { warehouse, item, reorderBelow }) => {
        const at = and(eq(stock.warehouse, warehouse), eq(stock.item, item));
        const found = await tx.update(stock).set({ reorderBelow }).where(at).returning();
        if (found.length === 0) throw new Reject(`${warehouse} has never had ${item}`);
        return { reorderBelow };
      },
    },
  },
  queries: {
    ...one.queries,
    'stock.low': {
      input: z.strictObject({ warehouse: name }),
      handle: (tx, { warehouse }) =>
        tx
          .select({ item: stock.item, missing: sql<number>`${stock.reorderBelow} - ${stock.onHand}` })
          .from(stock)
          .where(and(eq(stock.warehouse, warehouse), lt(stock.onHand, stock.reorderBelow)))
          .orderBy(sql`${stock.item} collate "C"`)
          .limit(1_000),
    },
  },
});

/** For what is before the switch in the log. */
export const earlier = [one];
