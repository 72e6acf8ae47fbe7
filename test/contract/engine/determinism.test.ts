/**
 * Tables that would give other values on every server by themselves are refused when the engine
 * opens, and no others.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Sql } from 'postgres';
import { beforeEach, describe, expect, it } from 'vitest';
import type { PostgresTransaction } from '../../../services/applier/postgres/drizzle.js';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import type { StateMachine } from '../../../shared/engine/state-machine.js';
import { temporaryFolder } from '../../harness/index.js';
import { WINDOW_MS } from './commands.js';
import { testDatabases } from './databases.js';

const machine: StateMachine<PostgresTransaction> = { name: 'tables', commands: {}, queries: {} };

const databases = testDatabases('determinism');
let admin: Sql;
let url = '';

beforeEach(async () => {
  url = await databases.create();
  admin = databases.admin(url);
});

function open(of = machine) {
  const engine = databases.keep(
    new PostgresEngine({ databaseUrl: url, server: 's1', resultWindowMs: WINDOW_MS, machine: of }),
  );
  return engine.open();
}

const AT = /column at of table note/;
const column = (type: string, expression: string) => `create table public.note (at ${type} default ${expression})`;
const body = (text: string, language = 'plpgsql') =>
  `create function stamp() returns trigger language ${language} as $$ ${text} $$`;
const trigger = (text: string) => `create table public.note (at timestamptz, "user" text, x int);
  ${body(text)}; create trigger stamping before insert on note for each row execute function stamp()`;

const REFUSED: Readonly<Record<string, readonly [string, RegExp]>> = {
  ...Object.fromEntries(
    (
      [
        ['timestamptz', 'now()'],
        ['timestamptz', 'current_timestamp'],
        ['timestamp', 'localtimestamp'],
        ['date', 'current_date'],
        ['timestamptz', 'clock_timestamp()'],
        ['timestamptz', 'statement_timestamp()'],
        ['timestamptz', "now() + interval '1 day'"],
        ['bigint', 'extract(epoch from now())::bigint * 1000'],
        ['float8', 'random()'],
        ['int', "case when random() < 0.5 then 1 else nextval('numbers')::int end"],
        ['uuid', 'gen_random_uuid()'],
        ['text', 'gen_random_uuid()::text'],
        ['text', 'md5(random()::text || clock_timestamp()::text)'],
        ['bigint', 'txid_current()'],
        ['int', 'pg_backend_pid()'],
        ['text', 'current_user'],
        ['text', 'session_user'],
        ['text', 'current_database()'],
        ['text', "current_setting('server_version')"],
        ['inet', 'inet_client_addr()'],
        ['interval', "age(timestamptz '2020-01-01')"],
      ] as const
    ).map(([type, expression]) => [expression, [`create sequence numbers; ${column(type, expression)}`, AT]] as const),
  ),
  'a function that reads the clock': [
    `create function today() returns date language sql as 'select current_date'; ${column('date', 'today()')}`,
    /column at of table note.*current_date in function today/,
  ],
  'a function that says that it is immutable': [
    `create function moment() returns timestamptz language plpgsql immutable as 'begin return clock_timestamp(); end';
     ${column('timestamptz', 'moment()')}`,
    /clock_timestamp\(\) in function moment/,
  ],
  'a function with a body that is parsed': [
    `create function moment() returns timestamptz language sql begin atomic select now(); end; ${column('timestamptz', 'moment()')}`,
    /now\(\) in function moment/,
  ],
  'a function that calls another one': [
    `create function inner_one() returns float8 language plpgsql as 'begin return random(); end';
     create function outer_one() returns float8 language plpgsql as 'begin return public.inner_one(); end'; ${column('float8', 'outer_one()')}`,
    /random\(\) in function inner_one in function outer_one/,
  ],
  'a function that executes a string': [
    `create function moment() returns timestamptz language plpgsql as
       $$ declare at timestamptz; begin execute 'select now()' into at; return at; end $$; ${column('timestamptz', 'moment()')}`,
    /now\(\) in function moment/,
  ],
  'the function of an extension': [
    `create extension pgcrypto; ${column('bytea', 'gen_random_bytes(8)')}`,
    /gen_random_bytes/,
  ],
  'a domain': [
    `create domain stamp as timestamptz default now(); create table note (at stamp)`,
    /domain stamp.*column at of table note/,
  ],
  'a check': [
    'create table note (at timestamptz, constraint past check (at <= now()))',
    /constraint past of table note/,
  ],
  'the check of a domain': [
    'create domain past as timestamptz constraint gone check (value <= now()); create domain older as past; create table note (at older)',
    /constraint gone of domain past.*column at/,
  ],
  'a trigger': [trigger('begin new.at = now(); return new; end'), /trigger stamping of table note.*now/],
  'a trigger with a keyword': [
    trigger('begin new.x = 1; new.at := CURRENT_TIMESTAMP; return new; end'),
    /CURRENT_TIMESTAMP/,
  ],
  'a trigger that tells users': [trigger('begin new."user" = user; return new; end'), /uses user/],
  "a trigger's condition": [
    `create table note (at timestamptz); ${body('begin return new; end')};
     create trigger stamping before insert on note for each row when (new.at < now()) execute function stamp()`,
    /condition of trigger stamping/,
  ],
  'a rule': [
    `create table note (x int); create table log (at timestamptz);
     create rule logging as on insert to note do also insert into log values (now())`,
    /rule logging of table note/,
  ],
  'a partitioned table': ['create table note (at timestamptz default now(), x int) partition by list (x)', AT],
  'a view': [
    'create table note (at timestamptz); create view seen as select at from note; alter view seen alter at set default now()',
    /table seen/,
  ],
  'a sequence with a cache': [
    'create sequence numbers cache 10; create table note (x int)',
    /public\.numbers has CACHE 10/,
  ],
};

const ALLOWED: Readonly<Record<string, string>> = {
  'numbers and constants': `create sequence numbers; create type mood as enum ('well');
    create table note (id serial, other int generated always as identity, n bigint default nextval('numbers'), at timestamptz default 'epoch',
      m mood default 'well', label text generated always as ('n' || x) stored, x int default 1 + 2, day text default (date '2020-01-01')::text,
      list int[] default '{}', tag text default upper('a'), took interval default age(timestamp '2020-01-02', timestamp '2020-01-01'),
      check (x > 0 and at > timestamptz '1970-01-01'))`,
  'a trigger that counts': trigger(`
    -- It does not read now() or the current_user.
    begin /* random() */ new.x = coalesce(new.x, 0) + 1; new."user" = new.user || 'says current_date, now()';
    perform setval('note_numbers', 1) where false; return new; end`),
  'a trigger that is off': `${trigger('begin new.at = now(); return new; end')}; alter table note disable trigger stamping`,
  'a volatile function that only computes': `create function double(x int) returns int language plpgsql as 'begin return 2 * x; end'; ${column('int', 'double(2)')}`,
  'functions that call each other': `create function a(x int) returns int language plpgsql as 'begin return case when x = 0 then 0 else b(x - 1) end; end';
    create function b(x int) returns int language plpgsql as 'begin return a(x); end'; ${column('int', 'a(3)')}`,
  'a view that reads the clock':
    'create table note (at timestamptz); create view fresh as select * from note where at > now()',
  "another schema's tables":
    'create schema other; create table other.note (at timestamptz default now()); create table note (x int)',
  'a domain whose default is not used': `create domain stamp as timestamptz default now(); create table note (at stamp default 'epoch')`,
};

describe('a table is refused', () => {
  it.each(Object.entries(REFUSED))('with %s', async (_, [ddl, says]) => {
    await admin.unsafe(ddl);
    await expect(open()).rejects.toMatchObject({
      code: 'NONDETERMINISTIC_SCHEMA',
      message: expect.stringMatching(says) as unknown,
    });
    if (/CACHE/.test(says.source)) return;
    await expect(open()).rejects.toThrow('context.timestamp');
  });

  it('with uuidv7() where Postgres has it', async () => {
    const [version] = await admin`select current_setting('server_version_num')::int as n`;
    if (Number(version?.['n']) < 180_000) return;
    await admin.unsafe(column('uuid', 'uuidv7()'));
    await expect(open()).rejects.toThrow(AT);
  });

  it('by its migration, which then leaves nothing behind', async () => {
    const folder = await temporaryFolder('migrations');
    await mkdir(join(folder.path, 'meta'));
    const entry = { idx: 0, version: '7', when: 1, tag: '0000_note', breakpoints: true };
    const journal = { version: '7', dialect: 'postgresql', entries: [entry] };
    await writeFile(join(folder.path, 'meta', '_journal.json'), JSON.stringify(journal));
    const write = (text: string) => writeFile(join(folder.path, '0000_note.sql'), text);
    const migrating = { ...machine, migrations: folder.path };
    await write(column('timestamptz', 'now()'));
    await expect(open(migrating)).rejects.toMatchObject({ code: 'NONDETERMINISTIC_SCHEMA' });
    await write('create table note (at timestamptz not null)');
    expect(await open(migrating)).toMatchObject({ mergedIndex: 0 });
    await folder.remove();
  });
});

describe('a table is taken', () => {
  it.each(Object.entries(ALLOWED))('with %s', async (_, ddl) => {
    await admin.unsafe(ddl);
    expect(await open()).toMatchObject({ mergedIndex: 0 });
  });
});
