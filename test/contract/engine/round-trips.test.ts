/**
 * How often the Postgres engine waits for its database: that is most of what a small batch takes.
 */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { PostgresTransaction } from '../../../services/applier/postgres/drizzle.js';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import type { StateMachine } from '../../../shared/engine/state-machine.js';
import { startTestPostgres, type TestPostgres } from '../../harness/index.js';
import { batches, command, WINDOW_MS } from './commands.js';
import { TcpProxy } from './tcp-proxy.js';

let server: TestPostgres;
let proxy: TcpProxy;
let databases = 0;
let engine: PostgresEngine;

beforeAll(async () => {
  server = await startTestPostgres();
  proxy = await TcpProxy.start(server.port);
});
afterEach(() => engine.close());
afterAll(async () => {
  await proxy?.close();
  await server?.stop();
});

async function open(machine?: StateMachine<PostgresTransaction>): Promise<void> {
  const name = `trips_${databases++}`;
  await server.createDatabases([name]);
  const databaseUrl = server.url(name).replace(`:${server.port}/`, `:${proxy.port}/`);
  const options = { databaseUrl, server: 's1', resultWindowMs: WINDOW_MS };
  engine = new PostgresEngine(machine === undefined ? options : { ...options, machine });
  await engine.open();
}

/** Applies the run, a few commands a batch, and says how many round trips each batch took. */
async function tripsOf(run: ReturnType<typeof command>[], size: number): Promise<number[]> {
  const trips: number[] = [];
  for (const batch of batches(run, [size])) {
    const before = proxy.roundTrips('craft applier');
    await engine.apply({ ...batch, checksum: (batch.commands[0]?.mergedIndex ?? 0).toString(16).padStart(16, '0') });
    trips.push(proxy.roundTrips('craft applier') - before);
  }
  return trips;
}

const put = (at: number, key: string, id = '') => command(at, 'kv.put', { key, value: at }, { id });

it('a batch of the built-in machine is one, when its keys were touched lately', async () => {
  await open();
  // The first of each kind is prepared, and reads the versions of its keys.
  await tripsOf(
    [...Array(6).keys()].map((i) => put(i + 1, `k${i % 3}`)),
    3,
  );
  expect(
    await tripsOf(
      [...Array(9).keys()].map((i) => put(i + 7, `k${i % 3}`)),
      3,
    ),
  ).toEqual([1, 1, 1]);
  // One that nobody has touched: reading it is another one.
  expect((await tripsOf([put(16, 'new'), put(17, 'k1'), put(18, 'k2')], 3))[0]).toBe(2);
  expect(await tripsOf([put(19, 'new'), put(20, 'k1'), put(21, 'k2')], 3)).toEqual([1]);
});
