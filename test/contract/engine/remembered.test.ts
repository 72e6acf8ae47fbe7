/**
 * What the Postgres engine remembers of its state (versions of keys, ids in the window) is true of
 * that state only. Whatever else may have moved the state makes it forget, and read again. Each
 * test changes rows by hand, which the engine cannot notice otherwise.
 */
import { Readable } from 'node:stream';
import postgres, { type Sql } from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import { type EngineSnapshot, FencedError, PositionError, ReplacedError } from '../../../shared/engine/port.js';
import { eventually, startTestPostgres, type TestPostgres } from '../../harness/index.js';
import { command, WINDOW_MS } from './commands.js';
import { removalOf } from './databases.js';
import { TcpProxy } from './tcp-proxy.js';

let server: TestPostgres;
let proxy: TcpProxy;
let admin: Sql;
let databaseUrl = '';
let databases = 0;
let engine: PostgresEngine;
const opened: PostgresEngine[] = [];

beforeAll(async () => {
  server = await startTestPostgres();
  proxy = await TcpProxy.start(server.port);
});
beforeEach(async () => {
  const name = `remembered_${databases++}`;
  await server.createDatabases([name]);
  admin = postgres(server.url(name), { max: 1, onnotice: () => undefined });
  databaseUrl = server.url(name).replace(`:${server.port}/`, `:${proxy.port}/`);
  engine = await open();
  await put(1);
  await put(2);
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((engine) => engine.close()));
  await admin.end();
});
afterAll(async () => {
  await proxy?.close();
  await server?.stop();
});

async function open(url = databaseUrl): Promise<PostgresEngine> {
  const engine = new PostgresEngine({ databaseUrl: url, server: 's1', resultWindowMs: WINDOW_MS });
  opened.push(engine);
  await engine.open();
  return engine;
}

const batch = (at: number, key = 'a') => ({
  commands: [command(at, 'kv.put', { key, value: `the secret of ${at}` })],
  checksum: at.toString(16).padStart(16, '0'),
});

/** Puts with an id: whether each was a duplicate, and of which merged index. */
async function putAs(id: string, at: number, of = engine): Promise<unknown> {
  const { commands, checksum } = batch(at);
  const { applied } = await of.apply({ commands: commands.map((one) => ({ ...one, id })), checksum });
  return applied.map(({ duplicate, mergedIndex }) => (duplicate ? `as ${mergedIndex}` : 'new'))[0];
}

/** The outcome of a put at this merged index. */
async function put(at: number, of = engine): Promise<unknown> {
  const { applied } = await of.apply(batch(at));
  const [outcome] = applied.map((one) => one.outcome);
  return outcome?.ok === true ? (JSON.parse(outcome.json) as unknown) : outcome;
}

/** Only an engine that reads the row again finds this version. */
const change = (version = 40) => admin`update kv set version = ${version} where key = 'a'`;

async function kept(snapshot: EngineSnapshot): Promise<() => EngineSnapshot> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of snapshot.data) chunks.push(chunk);
  return () => ({ ...snapshot, data: Readable.from(chunks) });
}

/**
 * The position in the database, as it was when this was called, is put back: a crash has taken back
 * what came later.
 */
async function takeBack(): Promise<() => Promise<void>> {
  await admin`create table kept as table craft.position`;
  return async () => {
    await admin`update craft.position as now set merged_index = kept.merged_index, checksum = kept.checksum,
      results_checksum = kept.results_checksum, "timestamp" = kept."timestamp", positions = kept.positions,
      terms = kept.terms, timestamps = kept.timestamps from kept`;
  };
}

describe('the version of a key', () => {
  it('is not read again without a reason', async () => {
    await change();
    expect(await put(3)).toEqual({ version: 3 });
  });

  it('is read again by an engine that is opened again', async () => {
    await change();
    await engine.open();
    expect(await put(3)).toEqual({ version: 41 });
  });

  it('is read again once a snapshot has been taken over, at the same position, too', async () => {
    const other = await open(await freshUrl());
    await put(1, other);
    await other.apply(batch(2, 'b'));
    const snapshot = await kept(await other.snapshot());
    await engine.restore(snapshot());
    expect(await put(3)).toEqual({ version: 2 });
  });

  it('is read again after a snapshot that was refused', async () => {
    const snapshot = await kept(await engine.snapshot());
    await change();
    await expect(engine.restore({ ...snapshot(), format: 'another' })).rejects.toThrow();
    expect(await put(3)).toEqual({ version: 41 });
  });

  it('is read again after a snapshot whose commit nobody has confirmed, though it was committed', async () => {
    const other = await open(await freshUrl());
    await put(1, other);
    await other.apply(batch(2, 'b'));
    const snapshot = await kept(await other.snapshot());
    // The engine cannot look what became of it either.
    proxy.secret = 'commit\0';
    const restored = engine.restore(snapshot()).then(
      () => 'restored',
      () => 'unknown',
    );
    await eventually('the commit', async () => (await admin`select from kv where key = 'b'`).length === 1);
    await proxy.close();
    expect(await restored).toBe('unknown');
    await proxy.open();
    expect(await eventually('the next batch', () => put(3).catch(notLost))).toEqual({ version: 2 });
  }, 120_000);

  it('is read again after a batch that has failed', async () => {
    await change();
    await admin`alter table kv add constraint no_third check (merged_index <> 3)`;
    await expect(put(3)).rejects.toMatchObject({ code: '23514' });
    await admin`alter table kv drop constraint no_third`;
    expect(await put(3)).toEqual({ version: 41 });
  });

  it('is read again after a batch whose commit nobody has confirmed', async () => {
    proxy.secret = 'the secret of 3';
    const lost = put(3).then(
      () => 'answered',
      () => 'lost',
    );
    await eventually('the commit', async () => (await admin`select from kv where version = 3`).length === 1);
    proxy.cut();
    expect(await lost).toBe('lost');
    await change();
    // The same answer as the first time, from the same one execution.
    expect(await eventually('the second try', () => put(3).catch(notLost))).toEqual({ version: 3 });
    expect(await put(4)).toEqual({ version: 41 });
  });

  it.each(['a batch', 'a query', 'a look'])(
    'is read again after %s has found that the state has gone back',
    async (how) => {
      const goBack = await takeBack();
      await put(3);
      await goBack();
      await change();
      const finding = {
        'a batch': () => put(4),
        'a query': () => engine.query('kv.get', { key: 'a' }, [3]),
        'a look': () => engine.locate([3]),
      }[how];
      await expect(finding?.()).rejects.toBeInstanceOf(PositionError);
      expect(await put(3)).toEqual({ version: 41 });
    },
  );

  it('is read again where a batch is given again because the state has gone back', async () => {
    const goBack = await takeBack();
    await put(3);
    await goBack();
    await change();
    expect(await put(3)).toEqual({ version: 41 });
  });

  it('is read again in a database that was replaced', async () => {
    await dropTables();
    await expect(put(3)).rejects.toBeInstanceOf(ReplacedError);
    await engine.open();
    expect(await put(1)).toEqual({ version: 1 });
  });

  it('is read again by an engine that was fenced off, when it is opened again', async () => {
    const other = await open();
    expect(await put(3, other)).toEqual({ version: 3 });
    await expect(put(3)).rejects.toBeInstanceOf(FencedError);
    await change();
    await engine.open();
    expect(await put(4)).toEqual({ version: 41 });
  });
});

describe('an id in the window', () => {
  it('is known to an engine that is opened again, whichever has stored it', async () => {
    expect(await putAs('x', 3)).toBe('new');
    const other = await open();
    expect(await putAs('y', 4, other)).toBe('new');
    expect(await putAs('x', 5, other)).toBe('as 3');
    await engine.open();
    expect(await putAs('x', 6)).toBe('as 3');
    expect(await putAs('y', 7)).toBe('as 4');
    expect(await putAs('z', 8)).toBe('new');
  });

  it.each([undefined, 3])('is known once a snapshot has been taken over, as that of %s', async (mergedIndex) => {
    const other = await open(await freshUrl());
    for (const at of [1, 2, 3]) await putAs(`of ${at}`, at, other);
    const snapshot = await kept(await other.snapshot());
    await putAs('before', 3);
    if (mergedIndex === undefined) await engine.restore(snapshot());
    else await engine.restore(snapshot(), (before) => ({ ...before, mergedIndex }));
    expect(await putAs('of 2', 4)).toBe('as 2');
    expect(await putAs('of 3', 5)).toBe('as 3');
    expect(await putAs('before', 6)).toBe('new');
    expect(await putAs('of 1', 7)).toBe('as 1');
    expect(await putAs('before', 8)).toBe('as 6');
  });

  it('is known after a snapshot whose commit nobody has confirmed, though it was committed', async () => {
    const other = await open(await freshUrl());
    await putAs('x', 1, other);
    await other.apply(batch(2, 'b'));
    const snapshot = await kept(await other.snapshot());
    proxy.secret = 'commit\0';
    const restored = engine.restore(snapshot()).then(
      () => 'restored',
      () => 'unknown',
    );
    await eventually('the commit', async () => (await admin`select from kv where key = 'b'`).length === 1);
    await proxy.close();
    expect(await restored).toBe('unknown');
    await proxy.open();
    expect(await eventually('the next batch', () => putAs('x', 3).catch(notLost))).toBe('as 1');
  }, 120_000);

  it('is known where the state is found to be further than it was thought to be', async () => {
    const goBack = await takeBack();
    await putAs('x', 3);
    await admin`create table later as table craft.position`;
    await admin`create table stored as table craft.result_batches`;
    await goBack();
    await admin`truncate craft.result_batches`;
    await engine.open();
    const [{ epoch } = { epoch: 0 }] = await admin`select epoch from craft.position`;
    // The engine has taken the fence anew, and knows nothing of x: now what was taken back is there
    // after all.
    await admin`delete from craft.position`;
    await admin`insert into craft.position select * from later`;
    await admin`update craft.position set epoch = ${epoch}`;
    await admin`insert into craft.result_batches select * from stored`;
    expect(await putAs('x', 4)).toBe('as 3');
  });

  it('is new again when a crash has taken back what it came to', async () => {
    const goBack = await takeBack();
    await putAs('x', 3);
    await goBack();
    await admin`truncate craft.result_batches`;
    expect(await putAs('x', 3)).toBe('new');
    expect(await putAs('x', 4)).toBe('as 3');
  });

  it('is new where its batch has failed', async () => {
    await admin`alter table kv add constraint no_third check (merged_index <> 3)`;
    await expect(putAs('x', 3)).rejects.toMatchObject({ code: '23514' });
    await admin`alter table kv drop constraint no_third`;
    expect(await putAs('x', 3)).toBe('new');
    expect(await putAs('x', 4)).toBe('as 3');
  });

  it('is known after a batch whose commit nobody has confirmed', async () => {
    proxy.secret = 'the secret of 3';
    const lost = putAs('x', 3).then(
      () => 'answered',
      () => 'lost',
    );
    await eventually('the commit', async () => (await admin`select from kv where version = 3`).length === 1);
    proxy.cut();
    expect(await lost).toBe('lost');
    expect(await eventually('the second try', () => putAs('x', 3).catch(notLost))).toBe('new');
    expect(await putAs('x', 4)).toBe('as 3');
  });

  it('is forgotten with a database that was replaced', async () => {
    await putAs('x', 3);
    await dropTables();
    await expect(putAs('x', 4)).rejects.toBeInstanceOf(ReplacedError);
    await engine.open();
    expect(await putAs('x', 1)).toBe('new');
    expect(await putAs('x', 2)).toBe('as 1');
  });
});

/** A removal of expired results locks the same tables, and in another order. */
async function dropTables(): Promise<void> {
  await removalOf(engine);
  await admin.unsafe('drop schema craft cascade; drop table kv');
}

async function freshUrl(): Promise<string> {
  const name = `remembered_${databases++}`;
  await server.createDatabases([name]);
  return server.url(name);
}

/** Only a connection that is lost once more is a reason to try again. */
function notLost(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'CONNECTION_LOST') return undefined;
  throw new Error(`the second try failed: ${String(error)}`, { cause: error });
}
