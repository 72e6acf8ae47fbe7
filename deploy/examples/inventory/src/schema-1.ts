/**
 * The tables of version 1. This file must not change any more once version 1 runs: it counts for
 * its fingerprint.
 */
import { sql } from 'drizzle-orm';
import { bigint, check, index, integer, pgTable, primaryKey, text } from 'drizzle-orm/pg-core';

/** What lies where. */
export const stock = pgTable(
  'stock',
  {
    warehouse: text().notNull(),
    item: text().notNull(),
    onHand: integer('on_hand').notNull(),
    /** The part of `onHand` that orders have reserved. */
    reserved: integer().notNull().default(0),
  },
  (table) => [
    primaryKey({ columns: [table.warehouse, table.item] }),
    check('reserved_is_on_hand', sql`reserved between 0 and on_hand`),
  ],
);

/** One row for each line of an order that waits to be shipped. */
export const reservations = pgTable(
  'reservations',
  {
    order: text('order_id').notNull(),
    warehouse: text().notNull(),
    item: text().notNull(),
    quantity: integer().notNull(),
    /** Microseconds since the Unix epoch, as the timestamps of the log. */
    expiresAt: bigint('expires_at', { mode: 'number' }).notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.order, table.warehouse, table.item] }),
    index('reservations_expires_at').on(table.expiresAt),
  ],
);
