/**
 * Which tables the state must have, so that one that was dropped by hand is damage of this server
 * and no command's outcome; and how they are made anew. The list lies in craft.position: it is
 * written when migrations have run, and by a batch in which a handler changes tables.
 */

import { type MigrationSource, migrationsOf } from '../../../shared/engine/migrations.js';
import { DamagedError } from '../../../shared/engine/port.js';
import { textArray } from '../../../shared/postgres/array.js';
import { readCatalog, type Scope } from './catalog.js';
import { CREATE_POSITION } from './position.js';
import { isEnvironment } from './sqlstate.js';
import { mayChangeTables } from './statement.js';
import type { Transaction } from './transaction.js';

const LIST_TABLES = 'update craft.position set tables = $1::text[] where id = 1';
const IS_LISTED = 'select tables is not null from craft.position where id = 1';
const MISSING_TABLES = `select name from craft.position, unnest(tables) as name
  where id = 1 and to_regclass(name) is null order by name collate "C"`;

export type Run = Pick<Transaction, 'run'>;

const KV_TABLE = "select name from craft.position, unnest(tables) as name where id = 1 and name like '%.kv' limit 1";

/** The names, as SQL has them, of those that should be there and are not. */
export async function missingTables(transaction: Run): Promise<string[]> {
  return (await transaction.run(MISSING_TABLES, [])).map(([name]) => String(name));
}

/** @throws DamagedError when a table is missing. */
export async function requireTables(transaction: Run): Promise<void> {
  if ((await missingTables(transaction)).length === 0) return;
  // Postgres looks for the tables later than for the list: a handler may have dropped one in
  // between, and have listed it no more.
  const missing = await missingTables(transaction);
  if (missing.length === 0) return;
  throw new DamagedError(
    `the state of this server is damaged: ${missing.join(', ')} is missing. A snapshot restores it; otherwise give this server an empty database`,
  );
}

/** Where the table kv lies: its name, qualified. */
export async function kvTableOf(transaction: Run): Promise<string> {
  const [row] = await transaction.run(KV_TABLE, []);
  return row === undefined ? 'kv' : String(row[0]);
}

/** Lists what is there now: tables and sequences. */
export async function listTables(transaction: Transaction, scope: Scope): Promise<void> {
  const { tables, sequences } = await readCatalog(transaction, scope);
  await transaction.run(LIST_TABLES, [textArray([...tables.map(({ name }) => name), ...sequences, 'craft.sequences'])]);
}

/** Lists what is there unless there is a list. */
export async function listTablesOnce(transaction: Transaction, scope: Scope): Promise<void> {
  const [row] = await transaction.run(IS_LISTED, []);
  if (row?.[0] === false) await listTables(transaction, scope);
}

/**
 * Makes sure that there is a position, in a transaction that excludes others that do the same. One
 * that is gone, while there are rows, leaves an unknown state, which counts as diverged.
 */
export async function ensurePosition(
  transaction: Transaction,
  scope: Scope,
  sources: readonly MigrationSource[],
): Promise<void> {
  const [found] = await transaction.run("select to_regclass('craft.position') is not null", []);
  if (found?.[0] !== true) await createTables(transaction, ['craft.position'], sources);
  const [row] = await transaction.run('select exists (select from craft.position where id = 1)', []);
  if (row?.[0] === true) return;
  const { tables } = await readCatalog(transaction, scope);
  const [rows] = await transaction.run(
    `select ${tables.map(({ name }) => `exists (select from ${name})`).join(' or ') || 'false'}`,
    [],
  );
  await transaction.run(CREATE_POSITION, []);
  if (rows?.[0] !== true) return;
  await transaction.execute(
    "update craft.position set divergence = 'the position in craft.position was gone, while there were rows' where id = 1",
  );
}

const BARE_NAMES = 'select (parse_ident(name))[cardinality(parse_ident(name))] from unnest($1::text[]) as name';

/**
 * Runs again what the migrations of `sources` have about tables of these names; what cannot be done
 * is left out. In a transaction with PLAIN_SETTINGS, which sees afterwards what is still missing.
 */
export async function createTables(
  transaction: Transaction,
  missing: readonly string[],
  sources: readonly MigrationSource[],
): Promise<void> {
  const names = (await transaction.run(BARE_NAMES, [textArray(missing)])).map(([name]) => wordOf(String(name)));
  for (const source of sources) {
    for (const { statements } of migrationsOf(source)) {
      for (const statement of statements) {
        if (!mayChangeTables(statement) || !names.some((name) => name.test(statement))) continue;
        try {
          await transaction.savepoint(() => transaction.execute(statement));
        } catch (error) {
          if (isEnvironment(error)) throw error;
        }
      }
    }
  }
}

/** Finds the name as a word of its own. */
function wordOf(name: string): RegExp {
  return new RegExp(`(?<![\\w$])${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}(?![\\w$])`, 'i');
}
