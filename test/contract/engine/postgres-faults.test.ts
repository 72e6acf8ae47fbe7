/**
 * What only a real database can go through: lost connections in the middle, a second engine, a
 * restart (T8).
 */
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import { type EngineBatch, FencedError, PositionError } from '../../../shared/engine/port.js';
import { eventually, startTestPostgres, type TestPostgres } from '../../harness/index.js';
import { batches, command, WINDOW_MS } from './commands.js';

let server: TestPostgres;
let databases = 0;
const opened: PostgresEngine[] = [];
beforeAll(async () => {
  server = await startTestPostgres();
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((engine) => engine.close().catch(() => undefined)));
});
afterAll(() => server?.stop());

async function freshUrl(): Promise<string> {
  const name = `faults_${databases++}`;
  await server.createDatabases([name]);
  return server.url(name);
}

async function open(databaseUrl: string): Promise<PostgresEngine> {
  const engine = new PostgresEngine({ databaseUrl, server: 's1', resultWindowMs: WINDOW_MS });
  opened.push(engine);
  await engine.open();
  return engine;
}

/** Counts how often it has been executed: version of the key. */
const run = Array.from({ length: 400 }, (_, i) => command(i + 1, 'kv.put', { key: 'n', value: i + 1 }));

async function until<T>(attempt: () => Promise<T>): Promise<T> {
  return eventually(
    'an attempt that succeeds',
    async () => {
      try {
        return { value: await attempt() };
      } catch (error) {
        if (error instanceof FencedError) throw error;
        return undefined;
      }
    },
    { timeoutMs: 30_000 },
  ).then(({ value }) => value);
}

describe('the Postgres engine', () => {
  it('applies every command once while its connections are cut again and again', async () => {
    const url = await freshUrl();
    const engine = await open(url);
    const killer = postgres(url, { max: 1, fetch_types: false, onnotice: () => undefined });
    let cuts = 0;
    const cut = async () => {
      const ended = await killer`
        select pg_terminate_backend(pid) from pg_stat_activity
        where application_name like 'craft applier%' and datname = current_database()`;
      cuts += ended.length;
    };
    for (const [i, batch] of batches(run, [1, 7, 3]).entries()) {
      // Somewhere between its first statement and its commit; the next try is left alone.
      const cutting = i % 2 === 0 ? cut() : undefined;
      await until(() => engine.apply(batch));
      await cutting;
    }
    const [row] = await killer`select version::int as version, value from kv where key = 'n'`;
    await killer.end();
    expect(cuts).toBeGreaterThan(5);
    expect(row).toEqual({ version: run.length, value: run.length });
  }, 120_000);

  it('goes on from where its caller has found the state, after a crash that has taken back what was committed last', async () => {
    const url = await freshUrl();
    const engine = await open(url);
    const [first, second] = batches(run.slice(0, 20), [10]);
    if (first === undefined || second === undefined) throw new Error('no batches');
    const admin = postgres(url, { max: 1, fetch_types: false, onnotice: () => undefined });
    await engine.apply(first);
    await admin`create table kept_position as table craft.position`;
    await admin`create table kept_rows as table kv`;
    await engine.apply(second);
    await admin.begin(async (sql) => {
      await sql`truncate kv`;
      await sql`insert into kv select * from kept_rows`;
      await sql`delete from craft.position`;
      await sql`insert into craft.position select * from kept_position`;
    });
    expect(await engine.locate([])).toMatchObject({ mergedIndex: 10 });
    await engine.apply(second);
    const [row] = await admin`select version::int as version from kv where key = 'n'`;
    expect(row).toEqual({ version: 20 });
    // And the other way round: a batch that the state has already gone past.
    await expect(engine.apply(second)).rejects.toMatchObject({ position: { mergedIndex: 20 } });
    await admin.end();
  });

  it('goes on after Postgres was killed and started again', async () => {
    const url = await freshUrl();
    const engine = await open(url);
    const all = batches(run, [20]);
    for (const [i, batch] of all.entries()) {
      if (i === 5) {
        await server.kill('SIGKILL');
        await server.restart();
      }
      // With asynchronous commits the crash may have taken back the last batches: the engine says
      // where it is.
      const { position } = await attempt(engine, batch);
      for (const again of all.slice(0, i + 1)) {
        const last = again.commands[again.commands.length - 1];
        if (position !== undefined && last !== undefined && last.mergedIndex > position)
          await until(() => engine.apply(again));
      }
    }
    expect(await engine.query('kv.get', { key: 'n' })).toEqual({ value: run.length, version: run.length });
  }, 120_000);

  it('does not show a state that a crash has taken back, and applies it again (T6, T8)', async () => {
    const url = await freshUrl();
    const engine = await open(url);
    const [one, two] = batches(run.slice(0, 2), [1]);
    if (one === undefined || two === undefined) throw new Error('two batches');
    await engine.apply(one);
    const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => undefined });
    // What asynchronous commits may lose: the last transactions, rows and position alike.
    const [before] = await sql`select merged_index, checksum, results_checksum, "timestamp", positions::text,
        terms::text, timestamps::text from craft.position`;
    await engine.apply(two);
    await sql`update kv set value = '1', version = 1, merged_index = 1`;
    await sql`update craft.position set merged_index = ${before?.['merged_index']}, checksum = ${before?.['checksum']},
      results_checksum = ${before?.['results_checksum']}, "timestamp" = ${before?.['timestamp']},
      positions = ${before?.['positions']}::bigint[], terms = ${before?.['terms']}::bigint[],
      timestamps = ${before?.['timestamps']}::bigint[]`;
    await sql.end();
    await expect(engine.query('kv.get', { key: 'n' }, [2])).rejects.toBeInstanceOf(PositionError);
    await expect(engine.locate([2])).rejects.toBeInstanceOf(PositionError);
    await engine.apply(two);
    expect(await engine.query('kv.get', { key: 'n' }, [2])).toEqual({ value: 2, version: 2 });
    expect(await engine.locate([2])).toMatchObject({ mergedIndex: 2, positions: [{ index: 2 }] });
  });

  it('pitfall: advisory locks behind a pooler: is fenced off by another engine, whatever sessions either has', async () => {
    const url = await freshUrl();
    const first = await open(url);
    const [one, two, three] = batches(run.slice(0, 3), [1]);
    if (one === undefined || two === undefined || three === undefined) throw new Error('three batches');
    await first.apply(one);
    const second = await open(url);
    // As behind a pooler, both go on with sessions that have never been theirs: what a session held
    // is gone with it.
    const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => undefined });
    await sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'craft %' and datname = current_database()`;
    const held = await sql`select 1 from pg_locks where locktype = 'advisory'`;
    await sql.end();
    expect(held).toHaveLength(0);
    // A try may be told only that its connection was cut; then there is another.
    await until(() => expect(first.apply(two)).rejects.toBeInstanceOf(FencedError));
    await until(() => second.apply(two));
    await expect(first.apply(two)).rejects.toBeInstanceOf(FencedError);
    await second.apply(three);
    expect(await second.query('kv.get', { key: 'n' })).toEqual({ value: 3, version: 3 });
  });
});

/** Applies, or says at which merged index the engine stands instead. */
async function attempt(engine: PostgresEngine, batch: EngineBatch): Promise<{ position: number | undefined }> {
  return until(async () => {
    try {
      await engine.apply(batch);
      return { position: undefined };
    } catch (error) {
      if (error instanceof PositionError) return { position: error.position.mergedIndex };
      throw error;
    }
  });
}
