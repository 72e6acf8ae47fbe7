/**
 * Handlers that fail, on a real Postgres: the failure is the command's recorded outcome, its writes
 * are undone, the next command runs. Only faults of the environment are tried again.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { integer, pgTable, text } from 'drizzle-orm/pg-core';
import postgres, { type Sql } from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { PostgresTransaction } from '../../../services/applier/postgres/drizzle.js';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import type { CommandOutcome, StateMachine } from '../../../shared/engine/state-machine.js';
import { FAILURES, failingCommands } from '../../harness/failing-handlers.js';
import { eventually, startTestPostgres, type TestPostgres, temporaryFolder } from '../../harness/index.js';
import { batches, command, WINDOW_MS } from './commands.js';

const items = pgTable('items', { id: text('id').primaryKey(), a: integer('a'), b: integer('b') });
const nothing = z.strictObject({});
const CANCEL = sql.raw("do $$ begin raise 'cancelled' using errcode = '57014'; end $$");

/** What a second copy of this package would throw. */
class OtherReject extends Error {
  constructor(message: string) {
    super(message);
    Object.assign(this, { [Symbol.for('craft.reject')]: true });
  }
}

let tries = 0;
const machine: StateMachine<PostgresTransaction> = {
  name: 'failing',
  commands: {
    ...failingCommands,
    put: {
      input: z.strictObject({ id: z.string() }),
      handle: async (tx, input: { id: string }) => {
        await tx.insert(items).values(input);
        return 'put';
      },
    },
    reject: { input: nothing, handle: () => Promise.reject(new OtherReject('not for you')) },
    wrapped: { input: nothing, handle: () => Promise.reject(new Error('outer', { cause: new OtherReject('within') })) },
    // Fails in the same way for ever on a session that may not write, and for a while with the
    // others.
    cancelled: {
      input: nothing,
      handle: async (tx) => {
        tries += 1;
        if (tries < 3) await tx.execute(CANCEL);
        return tries;
      },
    },
  },
  queries: { broken: { input: nothing, handle: () => Promise.reject(new TypeError('a defect')) } },
};

let server: TestPostgres;
let admin: Sql;
let url = '';
let databases = 0;
let engine: PostgresEngine;
let failures: { name: string; mergedIndex: number; error: unknown }[] = [];

beforeAll(async () => {
  server = await startTestPostgres();
});
beforeEach(async () => {
  tries = 0;
  failures = [];
  const name = `failures_${databases++}`;
  await server.createDatabases([name]);
  url = server.url(name);
  admin = postgres(url, { max: 1, onnotice: () => undefined });
  await admin`create table items (id text primary key, a integer, b integer)`;
  engine = await open(machine);
});
afterEach(async () => {
  await engine.close();
  await admin.end();
});
afterAll(() => server?.stop());

async function open(of: StateMachine<PostgresTransaction>): Promise<PostgresEngine> {
  const opened = new PostgresEngine({
    databaseUrl: url,
    server: 's1',
    resultWindowMs: WINDOW_MS,
    machine: of,
    onFailure: ({ name, mergedIndex }, error) => failures.push({ name, mergedIndex, error }),
  });
  await opened.open();
  return opened;
}

const put = (at: number) => command(at, 'put', { id: `p${at}` });
const rows = async () => (await admin`select id from items order by id`).map(({ id }) => String(id));

describe('a command whose handler fails', () => {
  it.each(Object.entries(FAILURES))('with %s has failed, and the next one runs', async (name, [, says]) => {
    const run = [put(1), command(2, name, {}, { id: 'once' }), put(3), command(4, name, {}, { id: 'once' })];
    const [batch] = batches(run, [4]);
    if (batch === undefined) throw new Error('no batch');
    const { applied } = await engine.apply(batch);
    const failed = { ok: false, failed: true, message: expect.stringMatching(says) as unknown };
    expect(applied.map(({ outcome }) => outcome)).toEqual([
      { ok: true, json: '"put"' },
      failed,
      expect.anything(),
      failed,
    ]);
    expect(applied[3]?.duplicate).toBe(true);
    expect(await rows()).toEqual(['p1', 'p3']);
    expect(failures).toMatchObject([{ name, mergedIndex: 2 }]);
    // The session is as good as before, and the stored result is the same.
    const [next] = batches([...run, put(5), command(6, name, {}, { id: 'once' })], [4, 2]).slice(1);
    if (next === undefined) throw new Error('no batch');
    expect((await engine.apply(next)).applied[1]).toMatchObject({ outcome: failed, duplicate: true });
  });

  it('is no defect when it says no with the Reject of another copy of the package', async () => {
    const [batch] = batches([command(1, 'reject', {}), command(2, 'wrapped', {})], [2]);
    if (batch === undefined) throw new Error('no batch');
    const { applied } = await engine.apply(batch);
    expect(applied.map(({ outcome }) => outcome)).toEqual([
      { ok: false, message: 'not for you' },
      { ok: false, message: 'within' },
    ]);
    expect(failures).toEqual([]);
  });

  it('has no outcome while the environment is at fault: the batch is tried again', async () => {
    const [batch] = batches([put(1), command(2, 'cancelled', {})], [2]);
    if (batch === undefined) throw new Error('no batch');
    await expect(engine.apply(batch)).rejects.toMatchObject({ code: '57014' });
    await expect(engine.apply(batch)).rejects.toMatchObject({ code: '57014' });
    expect(await rows()).toEqual([]);
    const { applied } = await engine.apply(batch);
    expect(applied.map(({ outcome }) => outcome.ok)).toEqual([true, true]);
    expect(await rows()).toEqual(['p1']);
  });

  it('has the same outcome whatever role and database preset', async () => {
    const name = url.slice(url.lastIndexOf('/') + 1);
    const presets = [
      'statement_timeout = 20',
      'lock_timeout = 20',
      'transaction_timeout = 20',
      "timezone = 'Asia/Tokyo'",
      "datestyle = 'German'",
      "intervalstyle = 'sql_standard'",
      'extra_float_digits = 0',
      "default_transaction_isolation = 'serializable'",
    ];
    for (const preset of presets) await admin.unsafe(`alter database ${name} set ${preset}`);
    await engine.close();
    engine = await open({
      ...machine,
      commands: {
        told: {
          input: nothing,
          handle: async (tx) => {
            const rows = await tx.execute(sql`select '2026-01-02 03:04:05Z'::timestamptz::text as at,
              interval '1 day 2 hours'::text as took, (0.1::float8 + 0.2)::text as sum, date '2026-01-02'::text as day,
              current_setting('transaction_isolation') as isolation, pg_sleep(0.1)::text as slept`);
            return rows[0];
          },
        },
      },
    });
    const [batch] = batches([command(1, 'told', {})], [1]);
    if (batch === undefined) throw new Error('no batch');
    const [done] = (await engine.apply(batch)).applied;
    expect(done?.outcome.ok === true && JSON.parse(done.outcome.json)).toEqual({
      at: '2026-01-02 03:04:05+00',
      took: '1 day 02:00:00',
      sum: '0.30000000000000004',
      day: '2026-01-02',
      isolation: 'read committed',
      slept: '',
    });
  });

  it('does not meet settings that a migration has left behind', async () => {
    const folder = await temporaryFolder('migrations');
    await mkdir(join(folder.path, 'meta'));
    const entry = { idx: 0, version: '7', when: 1, tag: '0000_set', breakpoints: true };
    await writeFile(
      join(folder.path, 'meta', '_journal.json'),
      JSON.stringify({ version: '7', dialect: 'postgresql', entries: [entry] }),
    );
    await writeFile(join(folder.path, '0000_set.sql'), "set search_path = 'pg_catalog'; set statement_timeout = 250");
    await engine.close();
    engine = await open({ ...machine, migrations: folder.path });
    const [batch] = batches([put(1)], [1]);
    if (batch === undefined) throw new Error('no batch');
    expect((await engine.apply(batch)).applied.map(({ outcome }) => outcome.ok)).toEqual([true]);
    expect(await rows()).toEqual(['p1']);
    await folder.remove();
  });

  it('does not keep a session that may only read', async () => {
    const name = url.slice(url.lastIndexOf('/') + 1);
    await admin.unsafe(`alter database ${name} set default_transaction_read_only = on`);
    await admin`select pg_terminate_backend(pid) from pg_stat_activity
      where application_name like 'craft applier%' and datname = current_database()`;
    const [batch] = batches([put(1)], [1]);
    if (batch === undefined) throw new Error('no batch');
    await eventually('a session that may only read', () =>
      engine.apply(batch).then(
        () => false,
        (error: unknown) => (error as { code?: string }).code === '25006',
      ),
    );
    await admin.unsafe(`alter database ${name} reset default_transaction_read_only`);
    // The session that was told to only read would go on refusing.
    expect((await engine.apply(batch)).applied).toHaveLength(1);
  });

  it.each([
    ['throws', () => Promise.reject(new Error('a defect'))],
    ['gives fewer outcomes', async () => [{ ok: true, json: '1' } as const]],
    ['gives outcomes with a hole', async (count: number) => new Array<CommandOutcome>(count)],
  ])('executes one by one what a set-based machine that %s cannot do at once', async (_, outcomesOf) => {
    await engine.close();
    engine = await open({
      ...machine,
      applyBatch: async (tx, commands) => {
        await tx.insert(items).values(commands.map((_, at) => ({ id: `set${at}` })));
        return outcomesOf(commands.length);
      },
    });
    const [batch] = batches([put(1), command(2, 'a TypeError', {}), put(3)], [3]);
    if (batch === undefined) throw new Error('no batch');
    const { applied } = await engine.apply(batch);
    expect(applied.map(({ outcome }) => outcome.ok)).toEqual([true, false, true]);
    expect(await rows()).toEqual(['p1', 'p3']);
  });

  it('a query that fails says that it is a defect, not that the database is away', async () => {
    const message = expect.stringContaining('the query failed: TypeError: a defect') as unknown;
    await expect(engine.query('broken', {})).rejects.toMatchObject({ code: 'INTERNAL', message });
  });
});
