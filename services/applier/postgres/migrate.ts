/**
 * Brings the database to the newest schema. Migrations are drizzle-kit's; they run in one
 * transaction, which holds a lock on the table of migrations done, so that appliers that start at
 * once do not meet. The lock is the transaction's, not the session's: it works behind a connection
 * pooler.
 */
import postgres from 'postgres';
import { ENGINE_MIGRATIONS } from '../../../shared/engine/engine-migrations.js';
import {
  type DoneMigration,
  type Migration,
  type MigrationSource,
  migrationsOf,
  missingMigrations,
} from '../../../shared/engine/migrations.js';
import { requireDeterminism } from '../../../shared/postgres/determinism.js';
import type { Connection } from './connection.js';
import { CREATE_POSITION } from './position.js';
import { recordSequences, SET_SEQUENCES } from './sequences.js';
import { NO_TIMEOUTS, NO_TRANSACTION_TIMEOUT, PRESET_SCHEMAS, STATE_SCHEMAS } from './settings.js';
import { isEnvironment } from './sqlstate.js';
import type { Transaction } from './transaction.js';

/** Of a user's machine; the engine has a list of its own. */
export const MACHINE_MIGRATIONS = 'machine_migrations';

/**
 * Two that create the same thing at once: one of them is told so (even with IF NOT EXISTS), and
 * finds it on the next try.
 */
const CREATED_MEANWHILE = new Set(['23505', '42P06', '42P07', '42710']);
const TRIES = 10;

/**
 * Runs what `source` has and `table` (in schema craft) does not list yet.
 * @throws MigrationJournalError, MigrationChangedError, and what Postgres says of a statement;
 *   nothing has changed then.
 */
export async function migrate(connection: Connection, source: MigrationSource, table: string): Promise<void> {
  const migrations = migrationsOf(source);
  for (let attempt = 1; ; attempt++) {
    try {
      await connection.transaction(
        `begin isolation level read committed; ${NO_TIMEOUTS}; ${NO_TRANSACTION_TIMEOUT}`,
        async (transaction) => {
          await transaction.execute(
            `create schema if not exists craft;
           ${createTable(table)};
           lock table craft.${table} in exclusive mode`,
          );
          await transaction.execute(table === ENGINE_MIGRATIONS ? PRESET_SCHEMAS : STATE_SCHEMAS);
          await runMissing(transaction, migrations, table);
        },
      );
      return;
    } catch (error) {
      const isRace = error instanceof postgres.PostgresError && CREATED_MEANWHILE.has(error.code);
      if (!isRace || attempt === TRIES) throw error;
    }
  }
}

function createTable(table: string): string {
  return `create table if not exists craft.${table} (id serial primary key, hash text not null, created_at bigint)`;
}

/** A migration that failed, with the statement that did. */
export class FailedMigrationError extends Error {
  readonly code = 'FAILED_MIGRATION';
  constructor(
    readonly tag: string,
    readonly statement: string,
    cause: unknown,
  ) {
    super(`migration ${tag} failed: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = 'FailedMigrationError';
  }
}

/**
 * Brings the machine's tables to those of `source` within the transaction of a switch or of a
 * restore (T12, T10), and lists them.
 * @throws FailedMigrationError, MigrationJournalError, MigrationChangedError,
 *   NondeterministicSchemaError
 */
export async function migrateMachine(transaction: Transaction, source: MigrationSource): Promise<void> {
  await transaction.execute(createTable(MACHINE_MIGRATIONS));
  await runMissing(transaction, migrationsOf(source), MACHINE_MIGRATIONS);
}

/** What has run of a machine's migrations, in their order. */
export async function doneMigrations(transaction: Transaction, table: string): Promise<DoneMigration[]> {
  const rows = await transaction.run(`select created_at::text, hash from craft.${table} order by created_at`, []);
  return rows.map(([when, hash]) => ({ when: Number(when), hash: String(hash) }));
}

async function runMissing(transaction: Transaction, migrations: readonly Migration[], table: string): Promise<void> {
  const done = await doneMigrations(transaction, table);
  const isOwn = table === ENGINE_MIGRATIONS;
  const missing = missingMigrations(migrations, done, { isOlder: isOwn });
  if (missing.length === 0) return;
  // A migration may set a sequence: it begins with what the last command left, and what it leaves
  // is recorded.
  if (!isOwn) await transaction.run(SET_SEQUENCES, []);
  for (const migration of missing) {
    for (const statement of migration.statements) {
      await transaction.execute(statement).catch((error: unknown) => {
        throw isEnvironment(error) ? error : new FailedMigrationError(migration.tag, statement, error);
      });
    }
    await transaction.run(`insert into craft.${table} (hash, created_at) values ($1, $2)`, [
      migration.hash,
      String(migration.when),
    ]);
  }
  if (!isOwn) {
    // Here, too, so that migrations that are refused leave nothing behind.
    await requireDeterminism(transaction);
    await recordSequences(transaction);
  }
  // In the same transaction: a position that is missing later was removed, and tables that are
  // missing were not dropped here.
  if (isOwn && done.length === 0) await transaction.run(CREATE_POSITION, []);
  await transaction.execute('update craft.position set tables = null');
}
