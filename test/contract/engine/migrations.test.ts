/**
 * A machine's migrations on a real Postgres: what runs is what the journal says, in its order, and
 * nothing differs in silence.
 */
import postgres, { type Sql } from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { PostgresTransaction } from '../../../services/applier/postgres/drizzle.js';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import { readMigrations } from '../../../shared/engine/migrations.js';
import type { StateMachine } from '../../../shared/engine/state-machine.js';
import { startTestPostgres, type TemporaryFolder, type TestPostgres, temporaryFolder } from '../../harness/index.js';
import { WINDOW_MS } from './commands.js';
import { type GivenMigration, writeMigrations } from './migration-folder.js';

const BREAKPOINT = '\n--> statement-breakpoint\n';
const ACCOUNTS: GivenMigration = {
  tag: '0000_accounts',
  when: 100,
  sql: 'create table account (name text primary key)',
};
const BALANCE: GivenMigration = {
  tag: '0001_balance',
  when: 200,
  sql: `alter table account add column balance bigint${BREAKPOINT}create table fee (name text primary key)`,
};
const OWNER: GivenMigration = { tag: '0002_owner', when: 300, sql: 'alter table account add column owner text' };

let server: TestPostgres;
let admin: Sql;
let folder: TemporaryFolder;
let url = '';
let databases = 0;

beforeAll(async () => {
  server = await startTestPostgres();
});
beforeEach(async () => {
  const name = `migrations_${databases++}`;
  await server.createDatabases([name]);
  url = server.url(name);
  admin = postgres(url, { max: 1, onnotice: () => undefined });
  folder = await temporaryFolder('migrations');
});
afterEach(async () => {
  await admin.end();
  await folder.remove();
});
afterAll(() => server?.stop());

/** Opens the state with these migrations, and closes it again. */
async function open(...given: readonly GivenMigration[]): Promise<void> {
  await writeMigrations(folder.path, given);
  const machine: StateMachine<PostgresTransaction> = {
    name: 'bank',
    migrations: folder.path,
    commands: {},
    queries: {},
  };
  const engine = new PostgresEngine({ databaseUrl: url, server: 's1', resultWindowMs: WINDOW_MS, machine });
  try {
    await engine.open();
  } finally {
    await engine.close();
  }
}

/** Columns of the machine's tables, and what has run. */
async function layout(): Promise<{ columns: string[]; ran: number[] }> {
  const columns = await admin`select table_name || '.' || column_name as name from information_schema.columns
    where table_schema = 'public' and table_name <> 'kv' order by table_name, ordinal_position`;
  const [table] = await admin`select to_regclass('craft.machine_migrations') is not null as there`;
  const ran = table?.['there'] === true ? await admin`select created_at from craft.machine_migrations order by id` : [];
  return { columns: columns.map(({ name }) => String(name)), ran: ran.map((one) => Number(one['created_at'])) };
}

const ALL = ['account.name', 'account.balance', 'account.owner', 'fee.name'];

it('run in the order of the journal, each once, also those that come later', async () => {
  await open(ACCOUNTS, BALANCE);
  expect(await layout()).toEqual({ columns: ALL.filter((name) => name !== 'account.owner'), ran: [100, 200] });
  await open(ACCOUNTS, BALANCE, OWNER);
  await open(ACCOUNTS, BALANCE, OWNER);
  expect(await layout()).toEqual({ columns: ALL, ran: [100, 200, 300] });
});

it.each([
  ['with a smaller "when"', 50],
  ['with the same "when"', 200],
])('are refused before anything runs when a later one comes %s', async (_, when) => {
  const refusal = { code: 'MIGRATION_JOURNAL', message: expect.stringContaining('0002_owner') as unknown };
  await expect(open(ACCOUNTS, BALANCE, { ...OWNER, when })).rejects.toMatchObject(refusal);
  expect((await layout()).ran).toEqual([]);
  await open(ACCOUNTS, BALANCE);
  const before = await layout();
  await expect(open(ACCOUNTS, BALANCE, { ...OWNER, when })).rejects.toMatchObject(refusal);
  expect(await layout()).toEqual(before);
  await open(ACCOUNTS, BALANCE, OWNER);
  expect(await layout()).toEqual({ columns: ALL, ran: [100, 200, 300] });
});

it('are refused when one was put before others that have run', async () => {
  await open(ACCOUNTS, OWNER);
  const before = await layout();
  await expect(open(ACCOUNTS, BALANCE, OWNER)).rejects.toMatchObject({
    code: 'MIGRATION_JOURNAL',
    message: expect.stringMatching(/0001_balance has not run, but 0002_owner/) as unknown,
  });
  expect(await layout()).toEqual(before);
  await open(ACCOUNTS, OWNER, { ...BALANCE, when: 400 });
  expect((await layout()).ran).toEqual([100, 300, 400]);
});

it('are refused when one was changed after it ran', async () => {
  await open(ACCOUNTS, BALANCE);
  const before = await layout();
  const changed = { ...ACCOUNTS, sql: 'create table account (name text primary key, changed text)' };
  await expect(open(changed, BALANCE, OWNER)).rejects.toMatchObject({
    code: 'MIGRATION_CHANGED',
    message: expect.stringContaining('0000_accounts') as unknown,
  });
  expect(await layout()).toEqual(before);
  await open(ACCOUNTS, BALANCE, OWNER);
  expect(await layout()).toEqual({ columns: ALL, ran: [100, 200, 300] });
});

it.each([
  ['is not in the journal any more', [ACCOUNTS], /has run a migration \(its "when" is 200\)/],
  ['has another "when" now', [ACCOUNTS, { ...BALANCE, when: 250 }], /0001_balance ran when its "when" was 200/],
] as const)('are refused when one that ran %s', async (_, given, message) => {
  await open(ACCOUNTS, BALANCE);
  const before = await layout();
  await expect(open(...given)).rejects.toMatchObject({
    code: 'MIGRATION_JOURNAL',
    message: expect.stringMatching(message) as unknown,
  });
  expect(await layout()).toEqual(before);
});

it('are refused when a file is missing, or the journal is none', async () => {
  await expect(open(ACCOUNTS, { ...BALANCE, sql: undefined })).rejects.toMatchObject({
    code: 'MIGRATION_JOURNAL',
    message: expect.stringContaining('0001_balance') as unknown,
  });
  expect(() => readMigrations(`${folder.path}/nowhere`)).toThrow(/_journal.json is no journal/);
  await writeMigrations(folder.path, [{ ...ACCOUNTS, when: Number.NaN }]);
  expect(() => readMigrations(folder.path)).toThrow(/_journal.json is no journal/);
});

it('are refused before anything runs when one would end the transaction that all of them run in', async () => {
  await expect(open(ACCOUNTS, { ...BALANCE, sql: `${BALANCE.sql}; commit` })).rejects.toMatchObject({
    code: 'MIGRATION_TRANSACTION',
    message: expect.stringMatching(/^migration 0001_balance of .* has the statement "commit": take it out/) as unknown,
  });
  expect((await layout()).ran).toEqual([]);
});

it('leave nothing behind when one of them fails', async () => {
  await open(ACCOUNTS);
  const before = await layout();
  const failing = { ...BALANCE, sql: `${BALANCE.sql}${BREAKPOINT}alter table nobody add column x text` };
  await expect(open(ACCOUNTS, failing)).rejects.toMatchObject({
    code: 'FAILED_MIGRATION',
    message: expect.stringContaining('0001_balance failed: relation') as unknown,
  });
  expect(await layout()).toEqual(before);
  // Nothing of it ran: it may be mended.
  await open(ACCOUNTS, BALANCE);
  expect((await layout()).ran).toEqual([100, 200]);
});

it("are known to be in order for the engine's own", () => {
  const own = readMigrations('migrations');
  expect(own.length).toBeGreaterThan(4);
  expect(own.map(({ tag }) => tag)).toEqual([...own.map(({ tag }) => tag)].sort());
});
