/**
 * What handlers get: Drizzle over a transaction of ours. Everything they do goes through it, one
 * statement at a time.
 */
import { PgDialect } from 'drizzle-orm/pg-core';
import { PostgresJsSession, PostgresJsTransaction } from 'drizzle-orm/postgres-js';
import type { Sql } from 'postgres';
import type { Transaction as PostgresTransaction } from '../../../shared/engine/transaction.js';
import type { Transaction } from './transaction.js';

type NoSchema = Record<string, never>;

export type { PostgresTransaction };

const dialect = new PgDialect();

/** The part of the driver's interface that Drizzle's session uses. */
interface Driver {
  unsafe(text: string, parameters?: unknown[], options?: object): Pending;
  savepoint<T>(body: (driver: Driver) => Promise<T>): Promise<T>;
}

/** A statement that is sent when its answer is awaited. */
interface Pending extends PromiseLike<unknown> {
  values(): Promise<unknown>;
}

export function drizzleOf(transaction: Transaction): PostgresTransaction {
  const driver: Driver = {
    unsafe: (text, parameters = [], options = {}) => ({
      // biome-ignore lint/suspicious/noThenProperty: the driver's queries are thenable, and Drizzle awaits them
      then: (onDone, onFailed) => transaction.query(text, parameters, options, false).then(onDone, onFailed),
      values: () => transaction.query(text, parameters, options, true),
    }),
    savepoint: (body) => transaction.savepoint(() => body(driver)),
  };
  const session = new PostgresJsSession<Sql, NoSchema, NoSchema>(driver as unknown as Sql, dialect, undefined);
  return new PostgresJsTransaction<NoSchema, NoSchema>(dialect, session as never, undefined);
}
