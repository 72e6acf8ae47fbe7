/** The rows of a machine's tables, as text, and how two copies of them differ. */

import { itemAt } from '../../../shared/raft/lists.js';
import type { Connection } from '../postgres/connection.js';

/** Column -> its value as JSON text has it. */
type Row = Readonly<Record<string, string | null>>;

export interface Table {
  readonly oid: number;
  readonly name: string;
  /** Column -> its type as SQL has it. */
  readonly types: Readonly<Record<string, string>>;
  /** JSON texts of rows, in the order in which a scan finds them. */
  readonly rows: readonly string[];
}

/** By their qualified names. */
export type Tables = ReadonlyMap<string, Table>;

const LIST = `select format('%I.%I', n.nspname, c.relname), c.oid::bigint::text, c.relname, (
    select jsonb_object_agg(a.attname, format_type(a.atttypid, null))::text
    from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'r' and n.nspname = any(current_schemas(false)) and n.nspname <> 'craft' and not exists (
    select from pg_depend where classid = 'pg_class'::regclass and objid = c.oid and deptype = 'e')
  order by 1`;

/** All rows of all tables: for the few rows of a test. */
export async function readTables(connection: Connection): Promise<Tables> {
  const tables = new Map<string, Table>();
  for (const [qualified, oid, name, types] of await connection.run(LIST, [])) {
    const rows = await connection.run(
      `select coalesce((select jsonb_object_agg(key, value)::text from jsonb_each_text(to_jsonb(t))), '{}') from ${qualified} t`,
      [],
    );
    const texts = rows.map(([row]) => String(row));
    tables.set(String(qualified), {
      oid: Number(oid),
      name: String(name),
      types: JSON.parse(String(types ?? '{}')),
      rows: texts,
    });
  }
  return tables;
}

/**
 * Has a scan find the rows of a table the other way round. An update writes a row anew, behind all
 * others; the table's triggers sleep meanwhile.
 */
export async function reverseRows(connection: Connection, { oid }: Table): Promise<void> {
  await connection.run(
    `do $reverse$
      declare
        target regclass := ${oid}::oid::regclass;
        sleeping name[] := array(select tgname from pg_trigger where tgrelid = target and not tgisinternal and tgenabled = 'O');
        own name;
        one name;
        spot tid;
      begin
        select attname into own from pg_attribute
          where attrelid = target and attnum > 0 and not attisdropped and attgenerated = '' and attidentity <> 'a'
          order by attnum desc limit 1;
        if own is null then return; end if;
        foreach one in array sleeping loop execute format('alter table %s disable trigger %I', target, one); end loop;
        for spot in execute format('select ctid from %s order by ctid desc', target) loop
          execute format('update %s set %I = %I where ctid = $1', target, own, own) using spot;
        end loop;
        foreach one in array sleeping loop execute format('alter table %s enable trigger %I', target, one); end loop;
      end
    $reverse$`,
    [],
  );
}

export interface TableDifference {
  readonly table: Table;
  /** Names of the columns; empty when one copy has more rows. */
  readonly columns: readonly string[];
  /** Rows that only the first copy has, and those that only the second has. */
  readonly first: readonly string[];
  readonly second: readonly string[];
}

/** The first table in which two copies differ, in whatever order their rows are found. */
export function differenceOf(first: Tables, second: Tables): TableDifference | undefined {
  for (const qualified of new Set([...first.keys(), ...second.keys()])) {
    const [one, other] = [first.get(qualified), second.get(qualified)];
    const table = one ?? other;
    if (table === undefined) continue;
    const [onlyFirst, onlySecond] = [without(one?.rows, other?.rows), without(other?.rows, one?.rows)];
    if (onlyFirst.length === 0 && onlySecond.length === 0) continue;
    const columns = onlyFirst.length === onlySecond.length ? differingColumns(onlyFirst, onlySecond) : [];
    return { table, columns, first: onlyFirst, second: onlySecond };
  }
  return undefined;
}

/** `rows` without those of `others`, each of which takes away one. */
function without(rows: readonly string[] = [], others: readonly string[] = []): string[] {
  const counts = new Map<string, number>();
  for (const row of others) counts.set(row, (counts.get(row) ?? 0) + 1);
  return rows.filter((row) => {
    const count = counts.get(row) ?? 0;
    counts.set(row, count - 1);
    return count <= 0;
  });
}

/** Each row is held against the one that is most like it. */
function differingColumns(first: readonly string[], second: readonly string[]): string[] {
  const others = second.map(parse);
  const columns = new Set<string>();
  for (const row of first.map(parse)) {
    const differing = others.map((other) => columnsOf(row, other));
    const best = differing.reduce((found, one, at) => (one.length < itemAt(differing, found).length ? at : found), 0);
    for (const column of differing[best] ?? []) columns.add(column);
    others.splice(best, 1);
  }
  return [...columns].sort();
}

function columnsOf(row: Row, other: Row): string[] {
  return Object.keys({ ...row, ...other }).filter((column) => row[column] !== other[column]);
}

function parse(row: string): Row {
  return JSON.parse(row);
}
