/** Which sequences are the state of a machine, as the database itself says. */

/** The machine's sequences as they are, or were, in order of their names. */
export const LIST_SEQUENCES = `select quote_ident(n.nspname) || '.' || quote_ident(c.relname)
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'S' and n.nspname = any(current_schemas(false)) and n.nspname <> 'craft' and not exists (
    select from pg_depend where classid = 'pg_class'::regclass and objid = c.oid and deptype = 'e')
  order by n.nspname collate "C", c.relname collate "C"`;
