/**
 * What a table does by itself must be the same on every server. No default, check, trigger or rule
 * may know the time, a random number, or which server it is on. The catalogue is read when the
 * engine opens. An expression names the functions that it calls by their numbers (its tree, as
 * pg_node_tree has it; pg_depend leaves out Postgres's own). The body of a function is text, which
 * is searched for their names.
 */
import { NondeterministicSchemaError } from '../engine/port.js';
import { integerArray, textArray } from './array.js';
import { LIST_SEQUENCES } from './sequence-names.js';

/** Clocks, random numbers, and what is another thing in every session, transaction or server. */
const FUNCTIONS = new Set(
  `now transaction_timestamp statement_timestamp clock_timestamp timeofday
  random random_normal gen_random_uuid uuidv4 uuidv7 setseed
  pg_backend_pid txid_current txid_current_if_assigned txid_current_snapshot pg_current_xact_id pg_current_xact_id_if_assigned
  pg_current_snapshot pg_current_wal_lsn pg_current_wal_insert_lsn pg_postmaster_start_time pg_conf_load_time pg_is_in_recovery
  current_database current_query current_setting getpgusername
  inet_client_addr inet_client_port inet_server_addr inet_server_port
  moddatetime insert_username`.split(/\s+/),
);
/** The same without parentheses, where it is neither a field nor quoted. */
const KEYWORDS =
  /(?<![\w$".])(?:current_(?:date|time|timestamp|user|role|catalog|schema)|session_user|system_user|localtime|localtimestamp|user)(?![\w$"])/i;
/** In an expression's tree. */
const KEYWORD_NODE = /\{SQLVALUEFUNCTION /;
const FUNCTION_NUMBER = /:(?:funcid|opfuncid|aggfnoid|winfnoid) (\d+)/g;
const CALL = /([a-z_][\w$]*)"?\s*\(/gi;
const COMMENTS = /--[^\n]*|\/\*[\s\S]*?\*\//g;
const STRINGS = /'(?:[^']|'')*'/g;

/** How deep functions that call others are followed. */
const DEPTH_MAX = 16;
const FIRST_USER_OID = 16_384;

/** Runs one statement, which only reads, and gives its rows as arrays of columns. */
export interface CatalogReader {
  run(text: string, parameters: readonly string[]): Promise<readonly (readonly unknown[])[]>;
}

/**
 * Whose tables are looked at: the one of the built-in machine, or all of the schemas in the search
 * path.
 */
export type DeterminismScope = 'built-in' | 'search-path';

const CONDITIONS: Readonly<Record<DeterminismScope, string>> = {
  'built-in': "c.oid = to_regclass('kv')",
  'search-path': "n.nspname = any(current_schemas(false)) and n.nspname <> 'craft'",
};

const ownRelations = (scope: DeterminismScope) => `relation as (
    select c.oid, c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v') and ${CONDITIONS[scope]} and not exists (
      select from pg_depend where classid = 'pg_class'::regclass and objid = c.oid and deptype = 'e')
  ), field as (
    select r.name, a.attname, a.attrelid, a.attnum, a.atttypid, a.atthasdef, a.attgenerated
    from relation r join pg_attribute a on a.attrelid = r.oid where a.attnum > 0 and not a.attisdropped
  )`;

/** Where it is, how it reads, its tree. */
const expressions = (scope: DeterminismScope) => `with recursive ${ownRelations(scope)}, domain as (
    select f.name, f.attname, f.atthasdef, f.atttypid as id, true as is_outer from field f
    union all
    select d.name, d.attname, d.atthasdef, t.typbasetype, false from domain d join pg_type t on t.oid = d.id where t.typtype = 'd'
  )
  select case when f.attgenerated = '' then 'the default' else 'the generated value' end || format(' of column %I of table %I', f.attname, f.name),
    pg_get_expr(d.adbin, d.adrelid), d.adbin::text
  from field f join pg_attrdef d on d.adrelid = f.attrelid and d.adnum = f.attnum
  union all
  select format('the default of domain %I, that of column %I of table %I', t.typname, d.attname, d.name), t.typdefault, t.typdefaultbin::text
  from domain d join pg_type t on t.oid = d.id where d.is_outer and not d.atthasdef and t.typdefaultbin is not null
  union all
  select format('the constraint %I of table %I', k.conname, r.name), pg_get_constraintdef(k.oid), k.conbin::text
  from relation r join pg_constraint k on k.conrelid = r.oid where k.conbin is not null
  union all
  select format('the constraint %I of domain %I, that of column %I of table %I', k.conname, t.typname, d.attname, d.name),
    pg_get_constraintdef(k.oid), k.conbin::text
  from domain d join pg_type t on t.oid = d.id join pg_constraint k on k.contypid = t.oid where k.conbin is not null
  union all
  select format('the condition of trigger %I of table %I', g.tgname, r.name), pg_get_triggerdef(g.oid), g.tgqual::text
  from relation r join pg_trigger g on g.tgrelid = r.oid where g.tgqual is not null and g.tgenabled <> 'D'
  union all
  select format('the rule %I of table %I', w.rulename, r.name), pg_get_ruledef(w.oid), w.ev_action::text || coalesce(w.ev_qual::text, '')
  from relation r join pg_rewrite w on w.ev_class = r.oid where w.ev_type <> '1' and w.ev_enabled <> 'D'`;

/** Where it is, the function's number. */
const triggers = (scope: DeterminismScope) => `with ${ownRelations(scope)}
  select format('the trigger %I of table %I', g.tgname, r.name), g.tgfoid::bigint::text
  from relation r join pg_trigger g on g.tgrelid = r.oid where not g.tgisinternal and g.tgenabled <> 'D'`;

const COLUMNS = `p.oid::bigint::text, p.proname, p.pronargs::text, p.provolatile = 'v', l.lanname in ('c', 'internal'), p.prosrc,
  coalesce(to_jsonb(p) ->> 'prosqlbody', '')`;
const FUNCTIONS_BY_NUMBER = `select ${COLUMNS} from pg_proc p join pg_language l on l.oid = p.prolang
  where p.oid = any($1::bigint[]::oid[])`;
const FUNCTIONS_BY_NAME = `select ${COLUMNS} from pg_proc p join pg_language l on l.oid = p.prolang
  where p.proname = any($1::text[]) and p.oid >= ${FIRST_USER_OID}`;

const CACHES = `select listed.name, s.seqcache::text from (${LIST_SEQUENCES}) as listed (name)
  join pg_sequence s on s.seqrelid = listed.name::regclass where s.seqcache > 1`;

interface Code {
  /** Of a body, text; of an expression, its tree. */
  readonly text: string;
  readonly tree: string;
}

interface Procedure extends Code {
  readonly name: string;
  readonly oid: number;
  readonly arguments: number;
  readonly isVolatile: boolean;
  /** Neither body nor tree says what it does. */
  readonly isNative: boolean;
}

/** Something in the schema that is not the same on every server. */
export interface Nondeterminism {
  /** For example `the default of column created of table accounts`. */
  readonly where: string;
  readonly why: string;
  /** What to do. */
  readonly remedy: string;
}

/**
 * Looks at the machine's tables, and gives one after the other what is not the same on every
 * server.
 */
export async function* nondeterminism(reader: CatalogReader, scope: DeterminismScope): AsyncGenerator<Nondeterminism> {
  if (scope === 'search-path') {
    for (const [name, cache] of await reader.run(CACHES, [])) {
      const why = `has CACHE ${cache}: its numbers would depend on sessions`;
      yield { where: `the sequence ${name}`, why, remedy: 'set it to CACHE 1' };
    }
  }
  // One that has found something does not look into the same functions again.
  let search = new Search(reader);
  for (const [where, reads, tree] of await reader.run(expressions(scope), [])) {
    const found = await search.in({ text: '', tree: String(tree) });
    if (found === undefined) continue;
    yield use(String(where), found, String(reads));
    search = new Search(reader);
  }
  for (const [where, oid] of await reader.run(triggers(scope), [])) {
    const [procedure] = await search.byNumber([Number(oid)]);
    // One of Postgres's own, or an extension's, is volatile by habit: what it does is known by its
    // name.
    const found =
      procedure === undefined ? undefined : FUNCTIONS.has(procedure.name) ? procedure.name : await search.in(procedure);
    if (found === undefined) continue;
    yield use(String(where), found, `function ${procedure?.name}`);
    search = new Search(reader);
  }
}

/** @throws NondeterministicSchemaError, which names the first such place and the way out. */
export async function requireDeterminism(reader: CatalogReader): Promise<void> {
  for await (const { where, why, remedy } of nondeterminism(reader, 'search-path')) {
    throw new NondeterministicSchemaError(`${where} ${why}: ${remedy}`);
  }
}

function use(where: string, found: string, reads: string): Nondeterminism {
  return {
    where,
    why: `uses ${found} (${reads}), which is not the same on every server`,
    remedy: 'give the value in the handler, from context.timestamp or context.random',
  };
}

class Search {
  /** Those whose code has been searched already, or is being searched. */
  private readonly seen = new Set<number>();

  constructor(private readonly reader: CatalogReader) {}

  /**
   * What in it is not the same on every server, in it or in a function that it calls; undefined
   * when nothing is.
   */
  async in(code: Code, depth = 0): Promise<string | undefined> {
    if (KEYWORD_NODE.test(code.tree)) return 'the clock or the session';
    const plain = code.text.replace(COMMENTS, ' ');
    // A statement in a string counts where strings are executed.
    const text = /\bexecute\b/i.test(plain) ? plain : plain.replace(STRINGS, "''");
    const keyword = KEYWORDS.exec(text)?.[0];
    if (keyword !== undefined) return keyword;
    const names = [...new Set([...text.matchAll(CALL)].map(([, name = '']) => name.toLowerCase()))];
    const named = names.find((name) => FUNCTIONS.has(name));
    if (named !== undefined) return `${named}()`;
    const numbers = [...new Set([...code.tree.matchAll(FUNCTION_NUMBER)].map(([, oid]) => Number(oid)))];
    const called = [...(await this.byNumber(numbers)), ...(await this.byName(names))];
    for (const procedure of called) {
      const found = isBad(procedure) ? `${procedure.name}()` : await this.inProcedure(procedure, depth);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  async byNumber(oids: readonly number[]): Promise<Procedure[]> {
    if (oids.length === 0) return [];
    return (await this.reader.run(FUNCTIONS_BY_NUMBER, [integerArray(oids)])).map(procedureOf);
  }

  private async byName(names: readonly string[]): Promise<Procedure[]> {
    if (names.length === 0) return [];
    return (await this.reader.run(FUNCTIONS_BY_NAME, [textArray(names)])).map(procedureOf);
  }

  private async inProcedure(procedure: Procedure, depth: number): Promise<string | undefined> {
    const { oid, name } = procedure;
    if (procedure.isNative || oid < FIRST_USER_OID || depth === DEPTH_MAX || this.seen.has(oid)) return undefined;
    this.seen.add(oid);
    const found = await this.in(procedure, depth + 1);
    return found === undefined ? undefined : `${found} in function ${name}`;
  }
}

/** Whether it is itself one of those. Of an extension's only its volatility is known. */
function isBad({ oid, name, arguments: count, isVolatile, isNative }: Procedure): boolean {
  if (oid >= FIRST_USER_OID) return isNative && isVolatile;
  // age(x) takes the present day for the other one.
  return FUNCTIONS.has(name) || (name === 'age' && count === 1);
}

function procedureOf(row: readonly unknown[]): Procedure {
  const [oid, name, count, isVolatile, isNative, body, tree] = row;
  return {
    oid: Number(oid),
    name: String(name),
    arguments: Number(count),
    isVolatile: isVolatile === true,
    isNative: isNative === true,
    text: isNative === true ? '' : String(body),
    tree: String(tree),
  };
}
