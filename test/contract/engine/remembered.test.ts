/**
 * What the Postgres engine remembers of its state (versions of keys, ids in the window) is true of that state only. Whatever else may have
 * moved the state makes it forget, and read again. Each test changes rows by hand, which the engine cannot notice otherwise.
 */
import { Readable } from 'node:stream';
import postgres, { type Sql } from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import { type EngineSnapshot, FencedError, PositionError, ReplacedError } from '../../../shared/engine/port.js';
import { eventually, startTestPostgres, type TestPostgres } from '../../harness/index.js';
import { command, WINDOW_MS } from './commands.js';
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

/** The position in the database, as it was when this was called, is put back: a crash has taken back what came later. */
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
    await admin.unsafe('drop schema craft cascade; drop table kv');
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
