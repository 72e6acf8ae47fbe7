/**
 * Which tables and sequences are the state of a machine, as the database itself says, and a digest
 * of their layout.
 */
import { createHash } from 'node:crypto';
import { FRAMING } from '../../../shared/engine/snapshot-frames.js';
import { LIST_SEQUENCES } from '../../../shared/postgres/sequence-names.js';
import type { Transaction } from './transaction.js';

/**
 * The tables besides the results by id: `kv`, or, for a user's machine, all tables of the schemas
 * in the search path. That is public, unless the operator has set another one. Never the position:
 * it has the fence.
 */
export type Scope = 'built-in' | 'search-path';

export interface StateTable {
  readonly oid: number;
  /** Qualified and quoted, as SQL has it. */
  readonly name: string;
  /** As it is; with its schema where that is not the first in the search path. */
  readonly plainName: string;
  /** Quoted, comma-separated; without generated ones, which no COPY may give. */
  readonly columns: string;
  /**
   * Whether every type is Postgres's own. A type of the user's has another number in every
   * database, and the binary form of its arrays and records has that number in it. Therefore such a
   * table is copied as text.
   */
  readonly isBinary: boolean;
}

export interface Catalog {
  /** A table after those that its foreign keys refer to, where there is such an order. */
  readonly tables: readonly StateTable[];
  /** Qualified and quoted. */
  readonly sequences: readonly string[];
  /**
   * Engine, framing and layout: what a snapshot must have in common with the database that takes it
   * over.
   */
  readonly format: string;
}

/**
 * The first number of an object that is not Postgres's own (FirstNormalObjectId, access/transam.h).
 */
const FIRST_USER_OID = 16_384;

const OWN = `not exists (
  select from pg_depend where classid = 'pg_class'::regclass and objid = c.oid and deptype = 'e')`;

const DEFAULT_SCHEMA = "coalesce((current_schemas(false))[1], 'public')";

const COLUMNS = (condition: string) => `
  select c.oid::bigint::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname), quote_ident(a.attname),
    format_type(a.atttypid, a.atttypmod), a.atttypid < ${FIRST_USER_OID},
    case when n.nspname = ${DEFAULT_SCHEMA} then '' else n.nspname || '.' end || c.relname
  from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
  where c.relkind = 'r' and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and (${condition}) and ${OWN}
  order by n.nspname collate "C", c.relname collate "C", a.attnum`;

/** Results by id: not the same rows on every server. */
export const RESULT_TABLES: readonly string[] = ['craft.result_batches', 'craft.results'];
const OIDS = RESULT_TABLES.map((name) => `to_regclass('${name}')`).join(', ');

const TABLES: Readonly<Record<Scope, string>> = {
  'built-in': COLUMNS(`c.oid in (to_regclass('kv'), ${OIDS})`),
  'search-path': COLUMNS(`n.nspname = any(current_schemas(false)) or c.oid in (${OIDS})`),
};

const REFERENCES = `select conrelid::bigint::text, confrelid::bigint::text from pg_constraint where contype = 'f'`;

/** In a transaction with PLAIN_SETTINGS. */
export async function readCatalog(transaction: Transaction, scope: Scope): Promise<Catalog> {
  const columns = await transaction.run(TABLES[scope], []);
  const tables = new Map<string, { oid: number; plainName: string; columns: string[]; isBinary: boolean }>();
  const hash = createHash('sha256');
  for (const [oid, table, column, type, isBuiltIn, plainName] of columns) {
    const name = String(table);
    const known = tables.get(name) ?? {
      oid: Number(oid),
      plainName: String(plainName),
      columns: [],
      isBinary: true,
    };
    known.columns.push(String(column));
    if (isBuiltIn !== true) known.isBinary = false;
    tables.set(name, known);
    hash.update(JSON.stringify([name, column, type]));
  }
  const sequences =
    scope === 'search-path' ? (await transaction.run(LIST_SEQUENCES, [])).map(([name]) => String(name)) : [];
  hash.update(JSON.stringify(sequences));
  const listed = [...tables].map(([name, { oid, plainName, columns, isBinary }]) => ({
    oid,
    name,
    plainName,
    columns: columns.join(','),
    isBinary,
  }));
  const references = (await transaction.run(REFERENCES, [])).map(([from, to]) => [Number(from), Number(to)] as const);
  return {
    tables: inOrder(listed, references),
    sequences,
    format: `postgres/${FRAMING}/${hash.digest('hex').slice(0, 32)}`,
  };
}

/** Referred tables first. In a circle one of them is first all the same. */
function inOrder(tables: readonly StateTable[], references: readonly (readonly [number, number])[]): StateTable[] {
  const byOid = new Map(tables.map((table) => [table.oid, table]));
  const ordered = new Set<StateTable>();
  const visited = new Set<StateTable>();
  const visit = (table: StateTable): void => {
    if (visited.has(table)) return;
    visited.add(table);
    for (const [from, to] of references) {
      const referred = byOid.get(to);
      if (from === table.oid && referred !== undefined) visit(referred);
    }
    ordered.add(table);
  };
  for (const table of tables) visit(table);
  return [...ordered];
}

/**
 * A table was emptied or written anew since the transaction began: it does not show the rows of
 * then any more. Begin again.
 */
class TableReplacedError extends Error {
  readonly code = 'TABLE_REPLACED';
  constructor(table: string) {
    super(`the table ${table} has been emptied or written anew meanwhile`);
    this.name = 'TableReplacedError';
  }
}

/** Once it is locked. */
const IS_SAME_FILE = 'select relfilenode = pg_relation_filenode(oid) from pg_class where oid = $1::oid';

/**
 * Locks a table for readers, in a transaction that sees one state of all tables, until
 * `unlockTable`.
 * @throws TableReplacedError for one that was emptied or written anew since the transaction began
 */
export async function lockTable(transaction: Transaction, { oid, name }: StateTable): Promise<void> {
  await transaction.execute(`savepoint craft_table; lock table ${name} in access share mode`);
  const [file] = await transaction.run(IS_SAME_FILE, [String(oid)]);
  if (file?.[0] !== true) throw new TableReplacedError(name);
}

/** A savepoint that is undone keeps no locks. */
export async function unlockTable(transaction: Transaction): Promise<void> {
  await transaction.execute('rollback to savepoint craft_table; release savepoint craft_table');
}
