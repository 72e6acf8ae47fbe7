/**
 * Facts of the database of a server, in transactions that only read. What cannot be read leaves the
 * rest known.
 */
import postgres, { type Sql } from 'postgres';
import { ENGINE_MIGRATIONS, migrationsFolder } from '../../../../shared/engine/engine-migrations.js';
import { missingMigrations, readMigrations } from '../../../../shared/engine/migrations.js';
import { type DatabasePlace, databaseAddress, databasePlace } from '../../../../shared/postgres/address.js';
import { type CatalogReader, type Nondeterminism, nondeterminism } from '../../../../shared/postgres/determinism.js';
import type { ConnectionsFacts, DatabaseFacts, DatabaseSetting, Fact, MissingRight, StateFacts } from '../facts.js';
import { isLocalHost } from './nats.js';
import { LookError, within } from './within.js';

const CONNECT_SECONDS_MAX = 3;
/** After connecting: for each look at the catalogue, and for that at the state (milliseconds). */
const CATALOGUE_MS_MAX = 1_000;
const STATE_MS_MAX = 2_500;
/** For a lock that an applier holds (milliseconds). */
const LOCK_MS_MAX = 1_000;
/** Findings of one kind that are told. */
const PLACES_MAX = 20;
const BUILT_IN = 'kv';

const ADDRESS_REMEDY = 'correct CRAFT_DATABASE_URL (--database); in a password, write @ / ? # % as %40 %2F %3F %23 %25';

export async function databaseFact(url: string | undefined): Promise<Fact<DatabaseFacts>> {
  if (!url) {
    const why = 'not looked at: its address is not given';
    return { is: 'not given', why, remedy: 'set CRAFT_DATABASE_URL (--database)' };
  }
  let place: DatabasePlace;
  let sql: Sql;
  try {
    place = databasePlace(url);
    sql = open(url);
  } catch (error) {
    const isNoUrl = error instanceof TypeError || error instanceof URIError;
    const why = isNoUrl ? 'its address is not a URL' : (error as Error).message;
    return { is: 'failed', why, remedy: ADDRESS_REMEDY };
  }
  const remedy = `check that Postgres runs at ${place.name}, and that this role may log in`;
  try {
    const basics = await within(() => lookAtServer(sql, place, remedy), remedy);
    return basics.is === 'known' ? { is: 'known', value: { ...basics.value, ...(await lookInside(sql)) } } : basics;
  } finally {
    // At once: what it still waits for is not wanted any more.
    void sql.end({ timeout: 0 }).catch(() => undefined);
  }
}

function open(url: string): Sql {
  const { url: address, ssl } = databaseAddress(url);
  return postgres(address, {
    ...(ssl !== undefined && { ssl }),
    ...{ max: 1, fetch_types: false, connect_timeout: CONNECT_SECONDS_MAX, onnotice: () => undefined },
    connection: { application_name: 'craft doctor' },
  });
}

const SETTINGS = `select name, setting, source from pg_settings where name = any(array[
  'fsync', 'full_page_writes', 'statement_timeout', 'idle_session_timeout', 'default_transaction_read_only'])`;

const SERVER = `select current_setting('server_version_num')::int, current_setting('server_version'), current_user,
  quote_ident(current_user), quote_ident(current_database()),
  (select rolsuper from pg_roles where rolname = current_user), current_setting('server_encoding'),
  current_setting('default_transaction_read_only') = 'on', pg_is_in_recovery(),
  coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false)`;

/** What every role may read. Rejects when there is no connection. */
async function lookAtServer(
  sql: Sql,
  place: DatabasePlace,
  remedy: string,
): Promise<Omit<DatabaseFacts, 'missingRights' | 'connections' | 'state'>> {
  const rows = rowsOf(sql);
  // The settings as sessions get them: before this one changes any.
  const settings = (
    await rows(SETTINGS).catch((error: Error) => {
      throw new LookError(reasonOf(error), remedy, { cause: error });
    })
  ).map(
    ([name, value, source]): DatabaseSetting => ({ name: String(name), value: String(value), source: String(source) }),
  );
  const [server = []] = await rows(SERVER);
  const [versionNumber, version, role, quotedRole, database, isSuperuser, encoding, isReadOnly, isStandby, hasTls] =
    server;
  return {
    ...{ place: place.name, settings, versionNumber: Number(versionNumber), version: String(version) },
    ...{ role: String(role), quoted: { role: String(quotedRole), database: String(database) } },
    ...{ isSuperuser: isSuperuser === true, encoding: String(encoding) },
    ...{ isReadOnly: isReadOnly === true, isStandby: isStandby === true },
    ...{ isTls: isTlsHere(sql, hasTls === true), isLocal: place.hosts.every(isLocalHost) },
  };
}

/**
 * Postgres knows its own connection alone, which is a pooler's where there is one. The driver
 * connects with TLS or not at all, but for `prefer`: then only Postgres tells.
 */
function isTlsHere({ options: { ssl } }: Sql, hasTls: boolean): boolean {
  return ssl === 'prefer' ? hasTls : Boolean(ssl);
}

/** A part that is refused, or takes too long, leaves the others. */
async function lookInside(sql: Sql): Promise<Pick<DatabaseFacts, 'missingRights' | 'connections' | 'state'>> {
  const rows = rowsOf(sql);
  const reader: CatalogReader = { run: (text, parameters) => sql.unsafe(text, [...parameters]).values() };
  const reading = <T>(look: () => Promise<T>, msMax: number, remedy: string): Promise<Fact<T>> =>
    within(
      async () => {
        await rows('begin read only');
        try {
          await rows(`set local statement_timeout = ${msMax}`);
          await rows(`set local lock_timeout = ${LOCK_MS_MAX}`);
          return await look();
        } finally {
          await rows('rollback');
        }
      },
      remedy,
      msMax,
    );
  const busy = 'check whether Postgres is busy: select * from pg_stat_activity';
  const state =
    "look as the applier's own role, and check whether a statement locks its tables: select * from pg_locks";
  return {
    missingRights: await reading(() => missingRights(rows), CATALOGUE_MS_MAX, busy),
    connections: await reading(() => connections(rows), CATALOGUE_MS_MAX, busy),
    state: await reading(() => stateFacts(rows, reader), STATE_MS_MAX, state),
  };
}

const rowsOf =
  (sql: Sql): Rows =>
  (text) =>
    sql.unsafe(text).values();

type Rows = (text: string) => Promise<readonly (readonly unknown[])[]>;

function reasonOf(error: Error): string {
  const { code, errors } = error as Error & { code?: string; errors?: readonly Error[] };
  const [first] = errors ?? [];
  if (code === 'CONNECT_TIMEOUT') return `no answer within ${CONNECT_SECONDS_MAX} s`;
  const message = error.message || first?.message || error.name;
  return code === undefined || message.includes(code) ? message : `${message} (${code})`;
}

/**
 * The rights of deploy/README.md, "Postgres"; a role that owns what is there already needs none for
 * that.
 */
const RIGHTS = `select right_name, granting from (values
    (1, 'connect', 'grant connect on database %I to %I', has_database_privilege(current_database(), 'connect')),
    (2, 'create schemas', 'grant create on database %I to %I',
      has_database_privilege(current_database(), 'create') or to_regnamespace('craft') is not null),
    (3, 'use temporary tables', 'grant temporary on database %I to %I', has_database_privilege(current_database(), 'temporary'))
  ) as listed (at, right_name, template, has)
  cross join lateral format(template, current_database(), current_user) as granting
  where not has
  union all
  select 'use and create tables in schema ' || nspname, format('grant usage, create on schema %I to %I', nspname, current_user)
  from pg_namespace where nspname = any(array['public', 'craft'])
    and (nspname = 'craft' or nspname = any(current_schemas(false)) or current_schemas(false) = '{}')
    and not (has_schema_privilege(oid, 'usage') and has_schema_privilege(oid, 'create'))
  union all
  select 'change tables that it does not own: ' || string_agg(c.oid::regclass::text, ', ' order by n.nspname, c.relname),
    format('for each of them: alter table NAME owner to %I', current_user)
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'r' and (n.nspname = 'craft' or (n.nspname = 'public' and c.relname = 'kv')) and not pg_has_role(c.relowner, 'usage')
  having count(*) > 0`;

async function missingRights(rows: Rows): Promise<MissingRight[]> {
  const found = await rows(RIGHTS);
  return found.slice(0, PLACES_MAX).map(([right, grant]) => ({ right: String(right), grant: String(grant) }));
}

const LIMITS = `select
    (current_setting('max_connections')::int - case when rolsuper then 0 else
      current_setting('superuser_reserved_connections')::int + coalesce(current_setting('reserved_connections', true), '0')::int end)::text,
    (select sum(numbackends) from pg_stat_database)::text,
    datconnlimit::text, (select numbackends from pg_stat_database where datname = current_database())::text,
    rolconnlimit::text, (select count(*) from pg_stat_activity where usename = current_user)::text,
    (select count(*) > 0 from pg_stat_activity where datname = current_database() and application_name like 'craft applier %')
  from pg_roles cross join pg_database where rolname = current_user and datname = current_database()`;

async function connections(rows: Rows): Promise<ConnectionsFacts> {
  const [row = []] = await rows(LIMITS);
  const [serverMax, serverUsed, databaseMax, databaseUsed, roleMax, roleUsed] = row.map(Number);
  // This look has one of them itself.
  const limit = (what: string, max = -1, used = 0) => (max < 0 ? [] : [{ what, max, used: used - 1 }]);
  return {
    limits: [
      ...limit('server', serverMax, serverUsed),
      ...limit('database', databaseMax, databaseUsed),
      ...limit('role', roleMax, roleUsed),
    ],
    hasApplier: row[6] === true,
  };
}

const HAS_STATE = `select to_regclass('craft.position') is not null and to_regclass('craft.${ENGINE_MIGRATIONS}') is not null`;
/** As JSON, since a database that an older release has opened lacks columns. */
const STATE = 'select to_jsonb(position)::text from craft.position where id = 1';
const MIGRATIONS = `select created_at::text, hash from craft.${ENGINE_MIGRATIONS} order by created_at`;
const TRIGGERS = `select quote_ident(tgname) from pg_trigger
  where tgrelid = to_regclass('kv') and not tgisinternal and tgenabled <> 'D' order by tgname`;

async function stateFacts(rows: Rows, reader: CatalogReader): Promise<StateFacts | undefined> {
  const [has] = await rows(HAS_STATE);
  if (has?.[0] !== true) return undefined;
  const [row] = await rows(STATE);
  if (row === undefined) return undefined;
  const state = JSON.parse(String(row[0])) as {
    readonly cluster?: string | null;
    readonly server?: string | null;
    readonly machine?: string | null;
    readonly schemas?: readonly string[] | null;
  };
  if (state.schemas)
    await reader.run(SET_SCHEMAS, [`{${state.schemas.map((name) => JSON.stringify(name)).join(',')}}`]);
  const done = (await rows(MIGRATIONS)).map(([when, hash]) => ({ when: Number(when), hash: String(hash) }));
  const machine = state.machine ?? undefined;
  const isBuiltIn = machine === undefined || machine === BUILT_IN;
  const places: Nondeterminism[] = [];
  for await (const place of nondeterminism(reader, isBuiltIn ? 'built-in' : 'search-path')) {
    if (places.push(place) === PLACES_MAX) break;
  }
  return {
    ...{ cluster: state.cluster ?? undefined, server: state.server ?? '', machine },
    ...migrationFacts(done),
    nondeterminism: places,
    triggers: isBuiltIn ? (await rows(TRIGGERS)).slice(0, PLACES_MAX).map(([name]) => String(name)) : [],
  };
}

/** $1: the schemas of the state. */
const SET_SCHEMAS = `select set_config('search_path', (
  select string_agg(quote_ident(name), ', ' order by at) from unnest($1::text[]) with ordinality as given (name, at)), true)
  where cardinality($1::text[]) > 0`;

type MigrationFacts = Pick<StateFacts, 'missingMigrations' | 'unknownMigrations' | 'migrationProblem'>;

function migrationFacts(done: readonly { readonly when: number; readonly hash: string }[]): MigrationFacts {
  const own = readMigrations(migrationsFolder());
  const known = new Set(own.map(({ when }) => when));
  const unknownMigrations = done.filter(({ when }) => !known.has(when)).length;
  try {
    const missing = missingMigrations(own, done, { isOlder: true });
    return { missingMigrations: missing.map(({ tag }) => tag), unknownMigrations, migrationProblem: undefined };
  } catch (error) {
    return { missingMigrations: [], unknownMigrations, migrationProblem: (error as Error).message };
  }
}
