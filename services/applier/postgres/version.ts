/**
 * Brings the machine's tables to those of the version that a state was taken with (T10, T12),
 * before its rows are filled in. What the version has more than what has run is run; anything else
 * is made anew: all that lies in the state's schemas goes, but what extensions own.
 */
import type { MigrationSource } from '../../../shared/engine/migrations.js';
import { migrationsOf } from '../../../shared/engine/migrations.js';
import { readCatalog } from './catalog.js';
import type { Machine } from './handler-batch.js';
import { doneMigrations, MACHINE_MIGRATIONS, migrateMachine } from './migrate.js';
import { listTables, missingTables } from './state-tables.js';
import type { Transaction } from './transaction.js';

/** Where the migrations of a version are; undefined when it has none. */
export function sourceOf({ migrations, lastMigration }: Machine): MigrationSource | undefined {
  return migrations === undefined ? undefined : { folder: migrations, last: lastMigration };
}

const HAS_MIGRATIONS = `select to_regclass('craft.${MACHINE_MIGRATIONS}') is not null`;

/**
 * Empties the tables when they have to change. In a transaction with PLAIN_SETTINGS that excludes
 * all other sessions.
 */
export async function alignTables(transaction: Transaction, source: MigrationSource): Promise<void> {
  const wanted = migrationsOf(source);
  const [has] = await transaction.run(HAS_MIGRATIONS, []);
  const done = has?.[0] === true ? await doneMigrations(transaction, MACHINE_MIGRATIONS) : [];
  const isBeginning = done.every(({ when, hash }, at) => wanted[at]?.when === when && wanted[at]?.hash === hash);
  if (isBeginning && done.length === wanted.length) return;
  const isWhole = (await missingTables(transaction)).length === 0;
  if (isBeginning && isWhole) {
    const { tables } = await readCatalog(transaction, 'search-path');
    if (tables.length > 0) await transaction.execute(`truncate ${tables.map(({ name }) => name).join(', ')}`);
  } else {
    await dropAll(transaction);
    if (has?.[0] === true) await transaction.execute(`delete from craft.${MACHINE_MIGRATIONS}`);
  }
  await migrateMachine(transaction, source);
  await listTables(transaction, 'search-path');
}

const NO_EXTENSIONS = (catalogue: string, oid: string) => `not exists (
  select from pg_depend d where d.classid = '${catalogue}'::regclass and d.objid = ${oid} and d.deptype = 'e')`;

/** Of a kind of pg_class. The table of the built-in machine is the engine's, in every database. */
const RELATIONS = (what: string, kinds: string) => `
  select 'drop ${what} if exists ' || quote_ident(n.nspname) || '.' || quote_ident(c.relname) || ' cascade'
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = any(current_schemas(false)) and n.nspname <> 'craft' and c.relkind in (${kinds})
    and c.oid is distinct from to_regclass('kv') and ${NO_EXTENSIONS('pg_class', 'c.oid')}`;

/**
 * In this order: what is left of a kind then does not belong to something that was dropped before.
 */
const DROPS: readonly string[] = [
  RELATIONS('view', "'v'"),
  RELATIONS('materialized view', "'m'"),
  RELATIONS('table', "'r', 'p'"),
  RELATIONS('sequence', "'S'"),
  `select 'drop ' || case p.prokind when 'a' then 'aggregate ' when 'p' then 'procedure ' else 'function ' end || 'if exists '
    || quote_ident(n.nspname) || '.' || quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ') cascade'
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where n.nspname = any(current_schemas(false)) and n.nspname <> 'craft' and ${NO_EXTENSIONS('pg_proc', 'p.oid')}`,
  `select 'drop ' || case t.typtype when 'd' then 'domain ' else 'type ' end || 'if exists '
    || quote_ident(n.nspname) || '.' || quote_ident(t.typname) || ' cascade'
  from pg_type t join pg_namespace n on n.oid = t.typnamespace
  where n.nspname = any(current_schemas(false)) and n.nspname <> 'craft' and ${NO_EXTENSIONS('pg_type', 't.oid')}
    and (t.typtype in ('e', 'd', 'r') or (t.typtype = 'c' and exists (select from pg_class c where c.oid = t.typrelid and c.relkind = 'c')))`,
];

async function dropAll(transaction: Transaction): Promise<void> {
  for (const drops of DROPS) {
    for (const [drop] of await transaction.run(drops, [])) await transaction.execute(String(drop));
  }
}
