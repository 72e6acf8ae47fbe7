/**
 * What a role or a database may have preset: time-outs, which would undo the same again and again,
 * where names are found, and how values are written. Nothing that is the same on every server may
 * depend on it. For the beginning of a transaction, whose sessions may be a pooler's.
 */

/** None of these is a look at anything: in a transaction that sees one state, a lock may follow. */
export const NO_TIMEOUTS =
  'set local statement_timeout = 0; set local lock_timeout = 0; set local idle_in_transaction_session_timeout = 0';

/** Postgres has it since version 17. */
export const NO_TRANSACTION_TIMEOUT = `select set_config('transaction_timeout', '0', true)
  where current_setting('transaction_timeout', true) is not null`;

/**
 * The beginning of what waits for a batch, and of what is read from more than one table at once.
 */
export const BEGIN_PLAIN = `begin isolation level read committed; ${NO_TIMEOUTS}; ${NO_TRANSACTION_TIMEOUT}`;

const FORMS = {
  datestyle: 'ISO, YMD',
  intervalstyle: 'postgres',
  extra_float_digits: '1',
  timezone: 'UTC',
  bytea_output: 'hex',
  lc_monetary: 'C',
  lc_numeric: 'C',
  lc_time: 'C',
  xmlbinary: 'base64',
  xmloption: 'content',
  quote_all_identifiers: 'off',
  array_nulls: 'on',
  transform_null_equals: 'off',
  standard_conforming_strings: 'on',
  default_text_search_config: 'pg_catalog.english',
};
/** How values are written and read, what handlers may meet, and how the catalogue quotes. */
export const PLAIN_FORMS = `select ${Object.entries(FORMS)
  .map(([name, value]) => `set_config('${name}', '${value}', true)`)
  .join(', ')}`;

/**
 * Schemas that are none of the state's. A role that is called craft has the engine's own first in
 * its search path.
 */
const OTHERS = "('craft', 'pg_catalog', 'information_schema')";

function setSchemas(schemas: string): string {
  return `select set_config('search_path', coalesce((
      select string_agg(quote_ident(name), ', ' order by at) from (
        select name, min(at) as at from unnest(${schemas}) with ordinality as given (name, at) where name not in ${OTHERS} group by name
      ) as one
    ), 'public'), true)`;
}

/** Those that role and database preset, before there is a position. */
export const PRESET_SCHEMAS = setSchemas('current_schemas(false)::text[]');
/** Those of the state, and then those. */
export const STATE_SCHEMAS = setSchemas(
  '(select schemas from craft.position where id = 1) || current_schemas(false)::text[]',
);

/** All that comes after NO_TIMEOUTS and locks, where there is a position. */
export const PLAIN_SETTINGS = `${NO_TRANSACTION_TIMEOUT}; ${PLAIN_FORMS}; ${STATE_SCHEMAS}`;

/** Keeps the schemas of now as those of the state. With PLAIN_SETTINGS. */
export const KEEP_SCHEMAS = `update craft.position set schemas = current_schemas(false)::text[] where id = 1
  returning current_setting('search_path')`;

/** The state's schemas, once they are known. */
export function inSchemas(path: string): string {
  return `set local search_path = ${path}`;
}
