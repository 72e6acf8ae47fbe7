/** The tables. `npx drizzle-kit generate` writes the next migration from what is changed here. */
import { sql } from 'drizzle-orm';
import { bigint, check, pgTable, text } from 'drizzle-orm/pg-core';

export const accounts = pgTable(
  'accounts',
  {
    account: text().primaryKey(),
    cents: bigint({ mode: 'number' }).notNull(),
    /**
     * Microseconds since the Unix epoch, as the log has them: a clock would say something else at
     * every server.
     */
    changedAt: bigint('changed_at', { mode: 'number' }).notNull(),
  },
  () => [check('cents_not_negative', sql`cents >= 0`)],
);
