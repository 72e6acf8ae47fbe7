/**
 * Versions of a machine on a real Postgres (T12). Whose state a database has, and how one version
 * gives way to the next at one place in the log, with its migrations.
 */
import { sql } from 'drizzle-orm';
import postgres, { type Sql } from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { PostgresTransaction } from '../../../services/applier/postgres/drizzle.js';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import { applyRestoring } from '../../../services/applier/restoring.js';
import { type EngineSnapshot, type MergedCommand, versionAt } from '../../../shared/engine/port.js';
import { rowsChecksumOf } from '../../../shared/engine/rows-checksum.js';
import { Reject, type StateMachine } from '../../../shared/engine/state-machine.js';
import { MACHINE_COMMAND, type MachineInput } from '../../../shared/wire/machine.js';
import { RESTORE_COMMAND } from '../../../shared/wire/restore.js';
import { startTestPostgres, type TemporaryFolder, type TestPostgres, temporaryFolder } from '../../harness/index.js';
import { batches, command, WINDOW_MS } from './commands.js';
import { type GivenMigration, writeMigrations } from './migration-folder.js';

type Version = StateMachine<PostgresTransaction>;

const BREAKPOINT = '\n--> statement-breakpoint\n';
const ACCOUNTS: GivenMigration = {
  tag: '0000_accounts',
  when: 100,
  sql:
    "create type state as enum ('open', 'closed')" +
    BREAKPOINT +
    'create table account (number serial primary key, name text unique, balance bigint not null, state state not null)',
};
const LIMITS: GivenMigration = {
  tag: '0001_limits',
  when: 200,
  sql: [
    'alter table account add column credit bigint not null default 0',
    'update account set credit = 10 where balance > 50',
    'create table fee (name text primary key)',
    "insert into fee values ('first')",
  ].join(BREAKPOINT),
};
const account = z.strictObject({ name: z.string(), balance: z.number().int() });

let server: TestPostgres;
let folder: TemporaryFolder;
let admin: Sql;
let name = '';
let databases = 0;
let one: Version;
let two: Version;
const opened: PostgresEngine[] = [];

function open(tx: PostgresTransaction, { name: who, balance }: z.output<typeof account>) {
  return tx.execute(sql`insert into account (name, balance, state) values (${who}, ${balance}, 'open')`);
}

beforeAll(async () => {
  server = await startTestPostgres();
});
beforeEach(async () => {
  folder = await temporaryFolder('machine');
  await writeMigrations(folder.path, [ACCOUNTS, LIMITS]);
  name = await createDatabase();
  admin = postgres(server.url(name), { max: 1, onnotice: () => undefined });
  one = {
    name: 'bank',
    version: 1,
    migrations: folder.path,
    lastMigration: ACCOUNTS.tag,
    commands: { open: { input: account, handle: async (tx, input) => void (await open(tx, input)) } },
    queries: { version: { input: z.strictObject({}), handle: () => Promise.resolve(1) } },
  };
  two = {
    name: 'bank',
    version: 2,
    migrations: folder.path,
    commands: {
      // Another rule, and another command.
      open: {
        input: account,
        handle: async (tx, input: z.output<typeof account>) => {
          if (input.balance < 10) throw new Reject('at least 10');
          await open(tx, input);
          return 'by version 2';
        },
      },
      charge: {
        input: z.strictObject({}),
        handle: async (tx) => void (await tx.execute(sql`update account set balance = balance - 1`)),
      },
    },
    queries: { version: { input: z.strictObject({}), handle: () => Promise.resolve(2) } },
  };
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((engine) => engine.close()));
  await admin.end();
  await folder.remove();
});
afterAll(() => server?.stop());

async function createDatabase(): Promise<string> {
  const made = `machine_${databases++}`;
  await server.createDatabases([made]);
  return made;
}

async function engineOf(
  versions: readonly Version[] | undefined,
  database = name,
  more: { cluster?: string } = {},
): Promise<PostgresEngine> {
  const machine = versions?.[versions.length - 1];
  const given = versions === undefined || machine === undefined ? {} : { machine, earlier: versions.slice(0, -1) };
  const options = { databaseUrl: server.url(database), server: 's1', resultWindowMs: WINDOW_MS };
  const engine = new PostgresEngine({ ...options, ...given, ...more });
  opened.push(engine);
  await engine.open();
  return engine;
}

const account1 = (at: number, who: string, balance = 100) => command(at, 'open', { name: who, balance });
const switchTo = (at: number, version: number, more: Partial<MachineInput> = {}, id = '') =>
  command(at, MACHINE_COMMAND, { name: 'bank', version, ...more }, { id });

/** Applies the commands one by one, as a switch is a batch of its own. */
async function apply(engine: PostgresEngine, run: readonly MergedCommand[]) {
  const outcomes: unknown[] = [];
  for (const one of run) {
    const checksum = one.mergedIndex.toString(16).padStart(16, '0');
    outcomes.push(...(await engine.apply({ commands: [one], checksum })).applied.map(({ outcome }) => outcome));
  }
  return outcomes;
}

async function kept({ data, ...about }: EngineSnapshot): Promise<() => EngineSnapshot> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of data) chunks.push(chunk);
  async function* again() {
    yield* chunks;
  }
  return () => ({ ...about, data: again() });
}

async function rowsOf(engine: PostgresEngine): Promise<string> {
  return rowsChecksumOf(await (await engine.checkRows()).tables);
}

const HISTORY = (at = 1) => [
  account1(at, 'ann'),
  account1(at + 1, 'bob', 5),
  switchTo(at + 2, 2),
  account1(at + 3, 'cy', 5),
  account1(at + 4, 'dora', 50),
];
const OUTCOMES = [
  { ok: true, json: 'null' },
  { ok: true, json: 'null' },
  { ok: true, json: '{"name":"bank","version":2}' },
  { ok: false, message: 'at least 10' },
  { ok: true, json: '"by version 2"' },
];

describe('the state', () => {
  it('has a name, and begins with version 1, also of the built-in machine', async () => {
    expect((await engineOf([one, two])).machine).toEqual({ name: 'bank', version: 1 });
    expect((await engineOf(undefined, await createDatabase())).machine).toEqual({ name: 'kv', version: 1 });
  });

  it('is refused to another machine, which changes nothing', async () => {
    await apply(await engineOf([one]), [account1(1, 'ann')]);
    const refusal = { code: 'OTHER_MACHINE', message: expect.stringMatching(/"bank".*"shop"/) as unknown };
    await expect(engineOf([{ ...one, name: 'shop' }])).rejects.toMatchObject(refusal);
    await expect(engineOf(undefined)).rejects.toMatchObject({ code: 'OTHER_MACHINE' });
    expect((await engineOf([one])).machine).toEqual({ name: 'bank', version: 1 });
  });

  it('is refused to another cluster, whose applier goes on; names that differ only in case are two', async () => {
    const own = await engineOf([one], name, { cluster: 'orders' });
    for (const cluster of ['shop', 'Orders']) {
      const refusal = { code: 'OTHER_CLUSTER', message: expect.stringMatching(`"orders".*"${cluster}"`) as unknown };
      await expect(engineOf([one], name, { cluster })).rejects.toMatchObject(refusal);
    }
    expect(await apply(own, [account1(1, 'ann')])).toEqual([{ ok: true, json: 'null' }]);
    await admin.unsafe("update craft.position set cluster = 'shop'");
    expect((await engineOf([one], name, { cluster: 'shop' })).machine).toEqual({ name: 'bank', version: 1 });
  });

  it('may become that of another machine while nothing is applied to it', async () => {
    await engineOf([{ ...one, name: 'bnak' }]);
    expect((await engineOf([one])).machine).toEqual({ name: 'bank', version: 1 });
  });
});

describe('a switch', () => {
  it('is between what the version before executes and what the new one does, and stays over restarts', async () => {
    const engine = await engineOf([one, two]);
    expect(await apply(engine, HISTORY())).toEqual(OUTCOMES);
    expect(engine.machine).toEqual({ name: 'bank', version: 2 });
    expect(await engine.query('version', {})).toBe(2);
    expect([...(await admin`select name, balance::int, credit::int from account order by number`)]).toEqual([
      { name: 'ann', balance: 100, credit: 10 },
      { name: 'bob', balance: 5, credit: 0 },
      { name: 'dora', balance: 50, credit: 0 },
    ]);
    const again = await engineOf([one, two]);
    expect(again.machine.version).toBe(2);
    expect(await apply(again, [account1(6, 'eve', 1)])).toEqual([{ ok: false, message: 'at least 10' }]);
    // The version before is not needed any more.
    expect(await apply(await engineOf([two]), [command(7, 'charge', {})])).toEqual([{ ok: true, json: 'null' }]);
  });

  it('comes to the same from the log, whatever the batches, and from a snapshot of any place', async () => {
    const engine = await engineOf([one, two]);
    await apply(engine, HISTORY().slice(0, 2));
    const older = await kept(await engine.snapshot());
    await apply(engine, HISTORY().slice(2));
    const newer = await kept(await engine.snapshot());
    const expected = [await rowsOf(engine), (await engine.locate([])).resultsChecksum];
    const other = await engineOf([one, two], await createDatabase());
    const run = HISTORY();
    for (const [from, to] of [
      [0, 2],
      [2, 3],
      [3, 5],
    ] as const) {
      await other.apply({ commands: run.slice(from, to), checksum: to.toString(16).padStart(16, '0') });
    }
    expect([await rowsOf(other), (await other.locate([])).resultsChecksum]).toEqual(expected);
    // An empty database, with code of the new version only.
    const late = await engineOf([two], await createDatabase());
    expect(versionAt(await late.restore(newer()))).toBe(2);
    expect([await rowsOf(late), (await late.locate([])).resultsChecksum]).toEqual(expected);
    // Back to before the switch, from a state of after it, and on again.
    expect(versionAt(await other.restore(older()))).toBe(1);
    expect(other.machine.version).toBe(1);
    expect(await other.query('version', {})).toBe(1);
    expect(await apply(other, HISTORY().slice(2))).toEqual(OUTCOMES.slice(2));
    expect([await rowsOf(other), (await other.locate([])).resultsChecksum]).toEqual(expected);
    // Forward by a snapshot.
    await other.restore(older());
    expect(versionAt(await other.restore(newer()))).toBe(2);
    expect([await rowsOf(other), (await other.locate([])).resultsChecksum]).toEqual(expected);
    expect(await apply(other, [account1(6, 'eve')])).toEqual([{ ok: true, json: '"by version 2"' }]);
  });

  it('fails as a whole with its migration: the version before goes on, and the outcome names migration and statement', async () => {
    await writeMigrations(folder.path, [
      ACCOUNTS,
      { ...LIMITS, sql: `${LIMITS.sql}${BREAKPOINT}alter table account add constraint rich check (balance > 50)` },
    ]);
    const engine = await engineOf([one, two]);
    expect(await apply(engine, [account1(1, 'ann'), account1(2, 'bob', 5), switchTo(3, 2, {}, 'try')])).toEqual([
      ...OUTCOMES.slice(0, 2),
      {
        ok: false,
        failed: true,
        message: expect.stringMatching(
          /^version 1 stays in force: migration 0001_limits failed: .*\(SQLSTATE 23514\); its statement: alter table account add constraint rich/,
        ) as unknown,
      },
    ]);
    expect(engine.machine.version).toBe(1);
    expect(await apply(engine, [account1(4, 'cy', 5)])).toEqual([{ ok: true, json: 'null' }]);
    const columns =
      await admin`select column_name from information_schema.columns where table_name in ('account', 'fee')`;
    expect(columns.map((row) => row['column_name'])).not.toContain('credit');
    expect([...(await admin`select number from account order by number`)].map((row) => row['number'])).toEqual([
      1, 2, 3,
    ]);
    // The id is remembered (T8): a repetition is no second try.
    expect(await apply(engine, [switchTo(5, 2, {}, 'try')])).toMatchObject([{ ok: false, failed: true }]);
    await writeMigrations(folder.path, [ACCOUNTS, LIMITS]);
    expect(await apply(engine, [switchTo(6, 2, {}, 'again')])).toEqual([OUTCOMES[2]]);
  });

  it('is refused alike everywhere: another name, backwards, nonsense; and is nothing when it is in force already', async () => {
    const engine = await engineOf([one, two]);
    const run = [
      switchTo(1, 1),
      switchTo(2, 2, { name: 'shop' }),
      command(3, MACHINE_COMMAND, { name: 'bank', version: 0 }),
      switchTo(4, 2, { initial: true }),
      switchTo(5, 2),
      switchTo(6, 2),
      switchTo(7, 1),
    ];
    expect(await apply(engine, run)).toEqual([
      { ok: true, json: '{"name":"bank","version":1}' },
      { ok: false, message: 'the state machine is "bank", not "shop"' },
      { ok: false, message: 'the input is not one of "craft.machine"' },
      { ok: false, message: 'the log has begun already' },
      { ok: true, json: '{"name":"bank","version":2}' },
      { ok: true, json: '{"name":"bank","version":2}' },
      { ok: false, message: 'version 2 is in force, and there is no way back to version 1' },
    ]);
    const builtIn = await engineOf(undefined, await createDatabase());
    const given = [command(1, MACHINE_COMMAND, { name: 'kv', version: 1 }), switchTo(2, 2)];
    expect(await apply(builtIn, given)).toEqual([
      { ok: true, json: '{"name":"kv","version":1}' },
      { ok: false, message: 'the state machine is "kv", not "bank"' },
    ]);
  });

  it('and everything after it is not applied where the version is missing', async () => {
    const missing = { code: 'VERSION_MISSING', message: expect.stringContaining('version 2') as unknown };
    const old = await engineOf([one]);
    await apply(old, HISTORY().slice(0, 2));
    await expect(apply(old, [switchTo(3, 2)])).rejects.toMatchObject(missing);
    expect(await old.locate([])).toMatchObject({ mergedIndex: 2 });
    await apply(await engineOf([one, two]), HISTORY().slice(2));
    const late = await engineOf([one]);
    expect(late.machine.version).toBe(2);
    await expect(apply(late, [account1(6, 'eve')])).rejects.toMatchObject(missing);
    await expect(late.query('version', {})).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    // What needs no machine's code is done.
    expect(await apply(late, [command(6, 'craft.verify', {})])).toEqual([{ ok: true, json: 'null' }]);
  });
});

describe('a backup', () => {
  const restoring = (at: number, object = 'file') =>
    command(at, RESTORE_COMMAND, { object, digest: 'sum', replace: true });
  const restore = (engine: PostgresEngine, at: number, file: EngineSnapshot) => {
    const batch = batches([restoring(at)], [1])[0];
    if (batch === undefined) throw new Error('no batch');
    const opening = () => Promise.resolve({ ...file, digest: 'sum' });
    return applyRestoring(engine, opening, batch, { object: 'file', digest: 'sum', replace: true });
  };

  it('of the version before is restored with it, and the log goes on from there to the new one', async () => {
    const engine = await engineOf([one, two]);
    await apply(engine, HISTORY().slice(0, 2));
    const file = await kept(await engine.snapshot());
    await apply(engine, HISTORY().slice(2));
    await engine.verify(file());
    // Looking at it has changed nothing.
    expect((await admin`select count(*)::int as n from account`)[0]).toEqual({ n: 3 });
    expect(await restore(engine, 6, file())).toMatchObject({ version: 1 });
    expect(engine.machine.version).toBe(1);
    expect(await apply(engine, [account1(7, 'cy', 5), switchTo(8, 2), account1(9, 'eve', 5)])).toEqual([
      { ok: true, json: 'null' },
      OUTCOMES[2],
      OUTCOMES[3],
    ]);
    expect([...(await admin`select number, name, credit::int from account order by number`)]).toEqual([
      { number: 1, name: 'ann', credit: 10 },
      { number: 2, name: 'bob', credit: 0 },
      { number: 3, name: 'cy', credit: 0 },
    ]);
  });

  it('is refused where its version is not loaded, or of another machine, before anything changes', async () => {
    const engine = await engineOf([one, two]);
    await apply(engine, HISTORY());
    const file = await kept(await engine.snapshot());
    const old = await engineOf([one], await createDatabase());
    await apply(old, HISTORY().slice(0, 2));
    const before = await rowsOf(old);
    await expect(old.verify(file())).rejects.toMatchObject({ code: 'VERSION_MISSING' });
    await expect(old.restore(file())).rejects.toMatchObject({ code: 'VERSION_MISSING' });
    const foreign = { ...file(), machine: 'shop' };
    await expect(engine.verify(foreign)).rejects.toMatchObject({ code: 'SNAPSHOT_FORMAT' });
    expect([await rowsOf(old), old.machine.version]).toEqual([before, 1]);
  });
});
