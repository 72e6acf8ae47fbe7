/** The tables of version 2: those of version 1, and a column. */
import { sql } from 'drizzle-orm';
import { check, integer, pgTable, primaryKey, text } from 'drizzle-orm/pg-core';

export { reservations } from './schema-1.ts';

export const stock = pgTable(
  'stock',
  {
    warehouse: text().notNull(),
    item: text().notNull(),
    onHand: integer('on_hand').notNull(),
    reserved: integer().notNull().default(0),
    /** Order more when fewer than this are on hand. */
    reorderBelow: integer('reorder_below').notNull().default(0),
  },
  (table) => [
    primaryKey({ columns: [table.warehouse, table.item] }),
    check('reserved_is_on_hand', sql`reserved between 0 and on_hand`),
  ],
);
