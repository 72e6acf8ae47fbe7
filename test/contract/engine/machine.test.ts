/** Whose state a database has: the machine's name and version are kept with it. On a real Postgres. */
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { z } from 'zod';
import type { PostgresTransaction } from '../../../services/applier/postgres/drizzle.js';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import type { StateMachine } from '../../../shared/engine/state-machine.js';
import { startTestPostgres, type TestPostgres } from '../../harness/index.js';
import { batches, command, WINDOW_MS } from './commands.js';

const bank: StateMachine<PostgresTransaction> = {
  name: 'bank',
  version: 3,
  commands: { open: { input: z.strictObject({}), handle: () => Promise.resolve('opened') } },
  queries: {},
};

let server: TestPostgres;
let url = '';
let databases = 0;

beforeAll(async () => {
  server = await startTestPostgres();
});
beforeEach(async () => {
  const name = `machine_${databases++}`;
  await server.createDatabases([name]);
  url = server.url(name);
});
afterAll(() => server?.stop());

/** Opens the state, applies so many commands, and closes it again. */
async function use(machine: StateMachine<PostgresTransaction> | undefined, count = 0) {
  const given = machine === undefined ? {} : { machine };
  const engine = new PostgresEngine({ databaseUrl: url, server: 's1', resultWindowMs: WINDOW_MS, ...given });
  try {
    const { mergedIndex } = await engine.open();
    const run = Array.from({ length: count }, (_, at) => command(mergedIndex + at + 1, 'open', {}));
    for (const batch of batches(run, [1])) await engine.apply(batch);
    return engine.machine;
  } finally {
    await engine.close();
  }
}

it('is known once it is open, also of the built-in machine', async () => {
  expect(await use(bank)).toEqual({ name: 'bank', version: 3 });
  expect(await use(bank, 1)).toEqual({ name: 'bank', version: 3 });
});

it('is that of the built-in machine without another one', async () => {
  expect(await use(undefined)).toEqual({ name: 'kv', version: 1 });
});

it('is refused to another machine, which changes nothing', async () => {
  await use(bank, 1);
  const refusal = { code: 'OTHER_MACHINE', message: expect.stringMatching(/"bank".*"shop"/) as unknown };
  await expect(use({ ...bank, name: 'shop' })).rejects.toMatchObject(refusal);
  await expect(use(undefined)).rejects.toMatchObject({ code: 'OTHER_MACHINE' });
  expect(await use(bank, 1)).toEqual({ name: 'bank', version: 3 });
});

it('may become that of another machine while nothing is applied to it', async () => {
  await use({ ...bank, name: 'bnak' });
  expect(await use(bank, 1)).toEqual({ name: 'bank', version: 3 });
});
