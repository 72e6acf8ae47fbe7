/**
 * A transaction that is kept open, of a backup or a long report, keeps every version of every row
 * since it began. The position gets a new version with each batch, and results expire: batches
 * must not take longer and longer meanwhile.
 */
import type { Sql } from 'postgres';
import { expect, it } from 'vitest';
import { z } from 'zod';
import type { PostgresTransaction } from '../../../services/applier/postgres/drizzle.js';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import type { StateMachine } from '../../../shared/engine/state-machine.js';
import { eventually } from '../../harness/index.js';
import { batches, command, WINDOW_MS } from './commands.js';
import { testDatabases } from './databases.js';

const BATCHES = 400;
const OWN_TABLES = ['position', 'result_batches'];

const databases = testDatabases('held_open');
const silent: StateMachine<PostgresTransaction> = {
  name: 'silent',
  commands: { noted: { input: z.unknown(), handle: async () => null } },
  queries: {},
};

/** Pages of the engine's tables that were looked at so far. All its sessions have to be over. */
async function pagesRead(admin: Sql): Promise<Record<string, number>> {
  await eventually('sessions of the engine are over', async () => {
    const open = await admin`select pid from pg_stat_activity where application_name like 'craft %'`;
    return open.length === 0;
  });
  const rows = await admin<{ relname: string; pages: number }[]>`
    select relname, (heap_blks_hit + heap_blks_read)::float8 as pages from pg_statio_user_tables
    where schemaname = 'craft' and relname in ${admin(OWN_TABLES)}`;
  return Object.fromEntries(rows.map(({ relname, pages }) => [relname, pages]));
}

it.each([
  ['the built-in machine', undefined, 'kv.put'],
  ['handlers', silent, 'noted'],
] as const)('finds the position and what has expired at once: %s', async (_, machine, name) => {
  const databaseUrl = await databases.create();
  const admin = databases.admin(databaseUrl);
  const holder = databases.admin(databaseUrl);
  /**
   * Opens an engine, has it apply batches of one command, a window's quarter apart, and closes it.
   */
  const applyFrom = async (first: number): Promise<void> => {
    const options = { databaseUrl, server: 's1', resultWindowMs: WINDOW_MS };
    const engine = new PostgresEngine(machine === undefined ? options : { ...options, machine });
    databases.keep(engine);
    await engine.open();
    const run = Array.from({ length: BATCHES }, (_, at) =>
      command(
        first + at,
        name,
        { key: `k${first + at}`, value: 0 },
        {
          id: `id-${first + at}`,
          timestamp: 1_790_000_000_000_000 + ((first + at) * WINDOW_MS * 1_000) / 4,
        },
      ),
    );
    for (const batch of batches(run, [1])) {
      await engine.apply({ ...batch, checksum: String(batch.commands[0]?.mergedIndex).padStart(16, '0') });
    }
    await databases.closeEngines();
  };

  await applyFrom(1);
  // The planner knows a small table then, for which reading all of it is cheap.
  await admin`vacuum analyze craft.position`;
  const pages: Record<string, number>[] = [await pagesRead(admin)];
  await holder.begin('isolation level repeatable read', async (held) => {
    await held`select count(*) from craft.position`;
    for (const part of [1, 2, 3]) {
      await applyFrom(1 + part * BATCHES);
      pages.push(await pagesRead(admin));
    }
  });
  for (const table of OWN_TABLES) {
    const of = pages.map((all) => all[table] ?? 0);
    const during = of.slice(1).map((count, at) => count - (of[at] ?? 0));
    // A look for the last version would meet four times as many in the last part as in the first.
    expect(Math.max(...during), `${table}: ${during.join(', ')}`).toBeLessThan(2 * Math.min(...during));
  }
});
