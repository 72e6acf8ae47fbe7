/**
 * A commit whose answer is lost: the batch has happened, and nobody knows. Given again it must come
 * to the same answers, from the same one execution (T8), or the clients of commands without an id
 * would never hear of them.
 */
import { Readable } from 'node:stream';
import { sql } from 'drizzle-orm';
import postgres, { type Sql } from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { z } from 'zod';
import type { PostgresTransaction } from '../../../services/applier/postgres/drizzle.js';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import { PositionError } from '../../../shared/engine/port.js';
import type { StateMachine } from '../../../shared/engine/state-machine.js';
import { eventually, startTestPostgres, type TestPostgres } from '../../harness/index.js';
import { batches, command, WINDOW_MS } from './commands.js';
import { TcpProxy } from './tcp-proxy.js';

const counter: StateMachine<PostgresTransaction> = {
  name: 'counter',
  commands: {
    add: {
      input: z.strictObject({ by: z.number().int() }),
      handle: async (tx, { by }: { by: number }) => {
        const [row] = await tx.execute<{ n: number }>(sql`update counter set n = n + ${by} returning n::int`);
        return { n: row?.n };
      },
    },
  },
  queries: {},
};

let server: TestPostgres;
let proxy: TcpProxy;
let admin: Sql;
let databaseUrl = '';
let databases = 0;

beforeAll(async () => {
  server = await startTestPostgres();
  proxy = await TcpProxy.start(server.port);
});
beforeEach(async () => {
  const name = `lost_${databases++}`;
  await server.createDatabases([name]);
  admin = postgres(server.url(name), { max: 1, onnotice: () => undefined });
  databaseUrl = server.url(name).replace(`:${server.port}/`, `:${proxy.port}/`);
});
afterEach(() => admin.end());
afterAll(async () => {
  await proxy?.close();
  await server?.stop();
});

async function mergedIndex(): Promise<number> {
  const [row] = await admin`select merged_index::int as at from craft.position`;
  return Number(row?.['at']);
}

async function loseAnswer(engine: PostgresEngine, run: ReturnType<typeof command>[], secret: string) {
  const [first, second, third] = batches(run, [1]);
  if (first === undefined || second === undefined || third === undefined) throw new Error('three batches');
  await engine.apply(first);
  proxy.secret = secret;
  const lost = engine.apply(second).then(
    () => 'answered',
    () => 'lost',
  );
  await eventually('the commit', async () => (await mergedIndex()) === 2);
  proxy.cut();
  expect(await lost).toBe('lost');
  const again = await eventually('the second try', () => engine.apply(second).catch(notLost));
  const next = await engine.apply(third);
  return [...again.applied, ...next.applied].map(({ outcome, duplicate }) => [outcome, duplicate]);
}

/** Only a connection that is lost once more is a reason to try again. */
function notLost(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'CONNECTION_LOST') return undefined;
  throw new Error(`the second try failed: ${String(error)}`, { cause: error });
}

it('is given once more by the built-in machine', async () => {
  const engine = new PostgresEngine({ databaseUrl, server: 's1', resultWindowMs: WINDOW_MS });
  await engine.open();
  const run = [1, 2, 3].map((at) => command(at, 'kv.put', { key: 'a', value: `the secret of ${at}` }));
  expect(await loseAnswer(engine, run, 'the secret of 2')).toEqual([
    [{ ok: true, json: '{"version":2}' }, false],
    [{ ok: true, json: '{"version":3}' }, false],
  ]);
  await engine.close();
});

it("is given once more by a user's machine", async () => {
  await admin`create table counter as select 0 as n`;
  const engine = new PostgresEngine({ databaseUrl, server: 's1', resultWindowMs: WINDOW_MS, machine: counter });
  await engine.open();
  const run = [1, 2, 3].map((at) => command(at, 'add', { by: 10 }));
  expect(await loseAnswer(engine, run, 'commit\0')).toEqual([
    [{ ok: true, json: '{"n":20}' }, false],
    [{ ok: true, json: '{"n":30}' }, false],
  ]);
  await engine.close();
});

it('is found out by who takes over a snapshot', async () => {
  const options = { databaseUrl, server: 's1', resultWindowMs: WINDOW_MS };
  const engine = new PostgresEngine(options);
  await engine.open();
  const [batch, next] = batches(
    [1, 2].map((at) => command(at, 'kv.put', { key: 'a', value: at })),
    [1],
  );
  if (batch === undefined || next === undefined) throw new Error('two batches');
  await engine.apply(batch);
  const { position, format, data } = await engine.snapshot();
  const chunks: Uint8Array[] = [];
  for await (const chunk of data) chunks.push(chunk);
  await engine.apply(next);
  proxy.secret = 'commit\0';
  const restored = engine.restore({
    position,
    format,
    data: (async function* () {
      yield* chunks;
    })(),
  });
  await eventually('the commit', async () => (await mergedIndex()) === 1);
  proxy.cut();
  expect(await restored).toEqual(position);
  expect((await engine.apply(next)).applied.map(({ outcome }) => outcome)).toEqual([
    { ok: true, json: '{"version":2}' },
  ]);
  await engine.close();
});

it('is found out by who takes over a snapshot as that of another position', async () => {
  const engine = new PostgresEngine({ databaseUrl, server: 's1', resultWindowMs: WINDOW_MS });
  await engine.open();
  const [first, restoring, next] = batches(
    [1, 2, 3].map((at) => command(at, 'kv.put', { key: 'a', value: at })),
    [1],
  );
  if (first === undefined || restoring === undefined || next === undefined) throw new Error('three batches');
  await engine.apply(first);
  const { position: before, format, data } = await engine.snapshot();
  const chunks: Uint8Array[] = [];
  for await (const chunk of data) chunks.push(chunk);
  const restore = () => {
    const snapshot = { position: before, format, data: Readable.from(chunks) };
    return engine.restore(snapshot, (found) => {
      if (found.mergedIndex !== 1) throw new PositionError('elsewhere', found);
      return { ...before, mergedIndex: 2, checksum: restoring.checksum };
    });
  };
  proxy.secret = 'commit\0';
  const restored = restore();
  await eventually('the commit', async () => (await mergedIndex()) === 2);
  proxy.cut();
  expect(await restored).toMatchObject({ mergedIndex: 2, checksum: restoring.checksum });
  // Not once more: a caller that asks again hears where the state is, and goes on from there.
  await expect(restore()).rejects.toMatchObject({ code: 'POSITION', position: { mergedIndex: 2 } });
  expect((await engine.apply(next)).applied.map(({ outcome }) => outcome)).toEqual([
    { ok: true, json: '{"version":2}' },
  ]);
  await engine.close();
});
