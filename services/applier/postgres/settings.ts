/** What a role or a database may have preset, and nothing that is the same on every server may depend on. For the beginning of a transaction. */

/**
 * The schema craft is the engine's own, and none of the state; but a role of that name has it first in its search path, and its tables would
 * be made there.
 */
export const OWN_SCHEMAS = `select set_config('search_path', coalesce((
    select string_agg(quote_ident(name), ', ' order by at)
    from unnest(current_schemas(false)) with ordinality as given (name, at) where name <> 'craft'
  ), 'public'), true) where 'craft' = any(current_schemas(false))`;

/** What names, and the text forms of values, depend on. */
export const PLAIN_SETTINGS = `set local datestyle = 'ISO, YMD'; set local intervalstyle = 'postgres'; set local extra_float_digits = 1;
  set local timezone = 'UTC'; set local bytea_output = 'hex'; set local lc_monetary = 'C'; set local xmlbinary = 'base64'; ${OWN_SCHEMAS}`;
