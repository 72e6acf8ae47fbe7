/** What a handler gets to read and write rows with. */
import type { PostgresJsTransaction } from 'drizzle-orm/postgres-js';

type NoSchema = Record<string, never>;

/**
 * A Drizzle transaction: `select`, `insert`, `update`, `delete`, `execute`, and `transaction` for
 * savepoints.
 */
export type Transaction = PostgresJsTransaction<NoSchema, NoSchema>;
