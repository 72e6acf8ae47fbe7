/**
 * Exactly once in Postgres (T8): where outcomes are stored, that they are found there however many
 * there are, and that they go.
 */
import type { Sql } from 'postgres';
import { beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { PostgresTransaction } from '../../../services/applier/postgres/drizzle.js';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import type { OwnState } from '../../../services/applier/postgres/own-state.js';
import type { Pruner } from '../../../services/applier/postgres/pruner.js';
import { Reject, type StateMachine } from '../../../shared/engine/state-machine.js';
import { eventually } from '../../harness/index.js';
import { batches, command, WINDOW_MS } from './commands.js';
import { removalOf, testDatabases } from './databases.js';

const START_US = 1_790_000_000_000_000;
const WINDOW_US = WINDOW_MS * 1_000;

const databases = testDatabases('results');
let admin: Sql;
let databaseUrl = '';

beforeEach(async () => {
  databaseUrl = await databases.create();
  admin = databases.admin(databaseUrl);
});

interface Options {
  readonly idsMax?: number;
  readonly machine?: StateMachine<PostgresTransaction>;
  readonly resultWindowMs?: number;
}

async function open(options: Options = {}): Promise<PostgresEngine> {
  const engine = databases.keep(
    new PostgresEngine({ databaseUrl, server: 's1', resultWindowMs: WINDOW_MS, ...options }),
  );
  await engine.open();
  return engine;
}

/** Applies; gives for each command the merged index of the one that it repeats, 0 for a new one. */
async function apply(engine: PostgresEngine, run: ReturnType<typeof command>[], size = run.length): Promise<number[]> {
  const all: number[] = [];
  for (const batch of batches(run, [size])) {
    const checksum = (batch.commands[0]?.mergedIndex ?? 0).toString(16).padStart(16, '0');
    const { applied } = await engine.apply({ ...batch, checksum });
    all.push(...applied.map(({ duplicate, mergedIndex }) => (duplicate ? mergedIndex : 0)));
  }
  return all;
}

/** Puts with these ids from merged index `from` on, `stepUs` apart. */
function puts(from: number, ids: readonly string[], stepUs = 1) {
  return ids.map((id, at) => {
    const mergedIndex = from + at;
    const timestamp = START_US + mergedIndex * stepUs;
    return command(mergedIndex, 'kv.put', { key: `k${mergedIndex % 50}`, value: mergedIndex }, { id, timestamp });
  });
}

const idsOf = (from: number, count: number) => Array.from({ length: count }, (_, at) => `id ${from + at}`);

async function countsOf(): Promise<{ batches: number; rows: number }> {
  const [found] = await admin`select (select count(*)::int from craft.result_batches) as batches,
    (select count(*)::int from craft.results) as rows`;
  return { batches: Number(found?.['batches']), rows: Number(found?.['rows']) };
}

const machine: StateMachine<PostgresTransaction> = {
  name: 'odd',
  commands: {
    say: {
      input: z.strictObject({ what: z.enum(['yes', 'no', 'fail']) }),
      handle: async (_, { what }: { what: 'yes' | 'no' | 'fail' }) => {
        if (what === 'no') throw new Reject('no \0 \ud800');
        if (what === 'fail') throw new TypeError('a defect "\\');
        return { said: ['yes', 1.5, null] };
      },
    },
  },
  queries: {},
};

describe('the outcomes of a batch', () => {
  it('are one row, and none without ids', async () => {
    const engine = await open();
    await apply(engine, puts(1, idsOf(1, 300)), 100);
    expect(await countsOf()).toEqual({ batches: 3, rows: 0 });
    await apply(engine, puts(301, Array<string>(10).fill('')));
    expect(await countsOf()).toEqual({ batches: 3, rows: 0 });
    expect(await apply(engine, puts(311, ['id 7', '', 'id 300', 'id 301', 'id 7', 'id 301']))).toEqual([
      7, 0, 300, 0, 7, 314,
    ]);
    // Only what is new.
    const [last] = await admin`select number::int, ids from craft.result_batches order by number desc limit 1`;
    expect(last).toEqual({ number: 4, ids: '["id 301"]' });
  });

  it.each([undefined, 0])("are given again as they were, of a user's machine, with room for %s ids", async (idsMax) => {
    const options = { machine, ...(idsMax === undefined ? {} : { idsMax }) };
    const engine = await open(options);
    const say = (from: number) =>
      (['yes', 'no', 'fail'] as const).map((what, at) =>
        command(from + at, 'say', { what }, { id: `${what} ü"`, timestamp: START_US + from + at }),
      );
    const first = await engine.apply({ commands: say(1), checksum: '1'.repeat(16) });
    const again = await (await open(options)).apply({ commands: say(4), checksum: '4'.repeat(16) });
    expect(again.applied).toEqual(first.applied.map((one) => ({ ...one, duplicate: true })));
    expect(first.applied.map(({ outcome }) => outcome)).toMatchObject([
      { ok: true, json: '{"said":["yes",1.5,null]}' },
      { ok: false, message: 'no \0 \ud800' },
      { ok: false, failed: true },
    ]);
  });
});

it('a batch that fails again and again is remembered once, and written once', async () => {
  const engine = await open();
  await admin`alter table craft.result_batches add constraint full_disk check (false) not valid`;
  // Longer from try to try, as it grows while it waits.
  for (const count of [5, 5, 9]) await expect(apply(engine, puts(1, idsOf(1, count)))).rejects.toThrow(/full_disk/);
  await admin`alter table craft.result_batches drop constraint full_disk`;
  await apply(engine, puts(1, idsOf(1, 9)));
  await apply(engine, puts(10, idsOf(10, 2)));
  expect((Reflect.get(engine, 'state') as OwnState).known.results?.size).toBe(11);
  expect(await admin`select number::int from craft.result_batches order by number`).toMatchObject([
    { number: 1 },
    { number: 2 },
  ]);
  expect(await apply(engine, puts(12, ['id 3', 'id 11']))).toEqual([3, 11]);
});

describe('more ids in the window than are remembered', () => {
  it('are all known: further ones have rows of their own, until there is room again', async () => {
    const engine = await open({ idsMax: 100 });
    await apply(engine, puts(1, idsOf(1, 250)), 20);
    expect(await countsOf()).toEqual({ batches: 5, rows: 150 });
    const some = ['id 1', 'id 100', 'id 101', 'id 250', 'id 999', 'id 55', 'id 155', 'id 999'];
    expect(await apply(engine, puts(251, some))).toEqual([1, 100, 101, 250, 0, 55, 155, 255]);
    expect(await countsOf()).toEqual({ batches: 5, rows: 151 });
    // An engine that loads them, and one with more room.
    for (const [at, idsMax] of [100, 10, 1_000].entries()) {
      const next = 259 + at * some.length;
      expect(await apply(await open({ idsMax }), puts(next, some))).toEqual([1, 100, 101, 250, 255, 55, 155, 255]);
    }
    // Past the window there is room again.
    const last = await open({ idsMax: 100 });
    const later = puts(283, [...idsOf(1_000, 50), 'id 1', 'id 250']).map((one) => ({
      ...one,
      timestamp: one.timestamp + 2 * WINDOW_US,
    }));
    expect(new Set(await apply(last, later))).toEqual(new Set([0]));
    const [newest] = await admin`select ids from craft.result_batches order by number desc limit 1`;
    expect(newest?.['ids']).toContain('id 1049');
  });

  it.each([undefined, 50])(
    'and others are forgotten when the window has passed, with room for %s ids',
    async (idsMax) => {
      const engine = await open(idsMax === undefined ? {} : { idsMax });
      // One result a millisecond: a window holds a thousand of them, the run twenty windows.
      const [total, size, countedEvery] = [20_000, 50, 500];
      let [batches, rows] = [0, 0];
      for (let from = 1; from <= total; from += countedEvery) {
        await apply(engine, puts(from, idsOf(from, countedEvery), WINDOW_MS), size);
        // Batches wait for no removal. So one may take as long as many batches do.
        await removalOf(engine);
        const now = await countsOf();
        batches = Math.max(batches, now.batches);
        rows = Math.max(rows, now.rows);
      }
      // A window's worth, what goes together, and what came in since the removal began.
      expect(batches).toBeLessThan(60 + 64);
      expect(rows).toBeLessThan(idsMax === undefined ? 1 : 8_000);
      const again = puts(total + 1, [`id ${total}`, `id ${total - 900}`, 'id 1'], WINDOW_MS);
      expect(await apply(engine, again)).toEqual([total, total - 900, 0]);
    },
    120_000,
  );
});

it('an engine that is opened knows many ids, and what has expired is removed though nobody has seen it expire', async () => {
  const engine = await open({ resultWindowMs: 1_000_000 });
  await apply(engine, puts(1, idsOf(1, 60_000)), 500);
  await apply(engine, puts(60_001, idsOf(60_001, 3_000)), 1);
  const other = await open({ resultWindowMs: 1_000_000 });
  const some = idsOf(1, 63_000).filter((_, at) => at % 700 === 0);
  expect(await apply(other, puts(63_001, some))).toEqual(some.map((id) => Number(id.slice(3))));
  const short = await open({ resultWindowMs: 1 });
  const [last] = puts(63_001 + some.length, ['id 1']).map((one) => ({ ...one, timestamp: one.timestamp + 1_000 }));
  if (last === undefined) throw new Error('no command');
  expect(await apply(short, [last])).toEqual([0]);
  for (let at = last.mergedIndex + 1; (await countsOf()).batches > 1; at++)
    await apply(short, [{ ...last, mergedIndex: at }]);
}, 120_000);

it('a removal waits for what replaces the tables, and holds none of them meanwhile', async () => {
  const engine = await open();
  for (let at = 1; at <= 64; at++) await apply(engine, puts(at, [`id ${at}`]));
  await removalOf(engine);
  const { known, epoch } = Reflect.get(engine, 'state') as OwnState;
  const { results, position } = known;
  if (results === undefined || position === undefined) throw new Error('not open');
  await admin.begin(async (sql) => {
    // As what restores a snapshot does (EXCLUDE_ALL).
    await sql`lock table craft.position in access exclusive mode`;
    const later = { ...position, timestamp: position.timestamp + 2 * WINDOW_US };
    (Reflect.get(engine, 'pruner') as Pruner).prune(results, later, epoch);
    await eventually('the removal waits', async () => {
      return (await sql`select from pg_locks where not granted`).length > 0;
    });
    const held = await sql`select relname from pg_locks join pg_class on pg_class.oid = relation
      where granted and relnamespace = 'craft'::regnamespace and pid in (select pid from pg_locks where not granted)`;
    expect(held.map(({ relname }) => String(relname))).toEqual([]);
    await sql`truncate craft.result_batches`;
  });
  await removalOf(engine);
});

it('a removal leaves a result alone that takes the place of an expired one meanwhile', async () => {
  const engine = await open({ idsMax: 10 });
  await apply(engine, puts(1, idsOf(1, 100)));
  await removalOf(engine);
  expect((await countsOf()).rows).toBe(100);
  const { known, epoch } = Reflect.get(engine, 'state') as OwnState;
  const { results, position } = known;
  if (results === undefined || position === undefined) throw new Error('not open');
  const later = { ...position, timestamp: position.timestamp + 2 * WINDOW_US };
  await admin.begin(async (sql) => {
    // As a batch does that has the id again, after its window.
    await sql`update craft.results set "timestamp" = ${later.timestamp} where id = ${'id 1'}`;
    (Reflect.get(engine, 'pruner') as Pruner).prune(results, later, epoch);
    await eventually('the removal waits', async () => {
      return (await sql`select from pg_locks where not granted`).length > 0;
    });
  });
  await removalOf(engine);
  expect(await admin`select id from craft.results`).toEqual([{ id: 'id 1' }]);
});
