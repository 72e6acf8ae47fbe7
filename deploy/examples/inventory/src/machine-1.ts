/** An inventory, version 1: stock by warehouse and item, and orders that reserve it for a time. */
import { fileURLToPath } from 'node:url';
import { defineMachine, Reject, type Transaction } from 'craft/machine';
import { and, eq, gte, lte, sql } from 'drizzle-orm';
import { z } from 'zod';
import { reservations, stock } from './schema-1.ts';

const name = z.string().min(1).max(100);
const place = z.strictObject({ warehouse: name, item: name });
const line = place.extend({ quantity: z.int().min(1).max(1_000_000) });
const HOLD_MS_MAX = 24 * 3_600_000;

/** In the order of bytes: servers may sort texts by the rules of other languages. */
const byPlace = sql`${stock.warehouse} collate "C", ${stock.item} collate "C"`;
const isAt = ({ warehouse, item }: z.output<typeof place>) => and(eq(stock.warehouse, warehouse), eq(stock.item, item));

/**
 * The timestamp of the log decides, not a clock: every server gives the same back at the same
 * place.
 */
async function releaseExpired(tx: Transaction, timestampUs: number): Promise<number> {
  const expired = await tx.delete(reservations).where(lte(reservations.expiresAt, timestampUs)).returning();
  for (const line of expired) {
    const reserved = sql`${stock.reserved} - ${line.quantity}`;
    await tx.update(stock).set({ reserved }).where(isAt(line));
  }
  return expired.length;
}

export default defineMachine({
  name: 'inventory',
  version: 1,
  migrations: fileURLToPath(new URL('../migrations', import.meta.url)),
  // From the beginning: a line that is added later would change this version's fingerprint.
  lastMigration: '0000_stock',
  commands: {
    'stock.receive': {
      input: line,
      handle: async (tx, { quantity, ...at }) => {
        const [row] = await tx
          .insert(stock)
          .values({ ...at, onHand: quantity })
          .onConflictDoUpdate({
            target: [stock.warehouse, stock.item],
            set: { onHand: sql`${stock.onHand} + ${quantity}` },
          })
          .returning({ onHand: stock.onHand });
        return { onHand: row?.onHand ?? 0 };
      },
    },
    /** All lines or none: a Reject takes back the lines before it, and what has been released. */
    'order.reserve': {
      input: z.strictObject({
        order: name,
        lines: z.array(line).min(1).max(100),
        holdMs: z.int().min(1).max(HOLD_MS_MAX),
      }),
      handle: async (tx, { order, lines, holdMs }, { timestamp }) => {
        await releaseExpired(tx, timestamp);
        const expiresAt = timestamp + holdMs * 1_000;
        for (const { quantity, ...at } of lines) {
          const isFree = and(isAt(at), gte(sql`${stock.onHand} - ${stock.reserved}`, quantity));
          const reserved = sql`${stock.reserved} + ${quantity}`;
          const found = await tx.update(stock).set({ reserved }).where(isFree).returning();
          if (found.length === 0) throw new Reject(`${at.warehouse} has less than ${quantity} free of ${at.item}`);
          // A second line for the same place breaks the primary key, which is REJECTED, too.
          await tx.insert(reservations).values({ order, ...at, quantity, expiresAt });
        }
        return { expiresAt };
      },
    },
    'order.ship': {
      input: z.strictObject({ order: name }),
      handle: async (tx, { order }, { timestamp }) => {
        await releaseExpired(tx, timestamp);
        const lines = await tx.delete(reservations).where(eq(reservations.order, order)).returning();
        if (lines.length === 0) throw new Reject(`${order} has no reservation, or it has expired`);
        for (const line of lines) {
          const [onHand, reserved] = [stock.onHand, stock.reserved].map((column) => sql`${column} - ${line.quantity}`);
          await tx.update(stock).set({ onHand, reserved }).where(isAt(line));
        }
        return { shipped: lines.length };
      },
    },
    /**
     * For a timer of a client: a handler has none. Until a command comes, expired reservations
     * stay.
     */
    'order.expire': {
      input: z.strictObject({}),
      handle: async (tx, _, { timestamp }) => ({ released: await releaseExpired(tx, timestamp) }),
    },
  },
  queries: {
    /** `after` is the last place of the page before. */
    'stock.list': {
      input: z.strictObject({ after: place.optional(), limit: z.int().min(1).max(1_000).default(100) }),
      handle: (tx, { after, limit }) => {
        const rest = after && sql`(${byPlace}) > (${after.warehouse}, ${after.item})`;
        return tx.select().from(stock).where(rest).orderBy(byPlace).limit(limit);
      },
    },
  },
});
