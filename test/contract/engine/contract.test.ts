/**
 * The contract of a storage engine (shared/engine/port.ts), held by every adapter: the same run
 * gives the same outcomes, rows and position whatever the borders of its batches, exactly once
 * (T8).
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import { type Applied, PositionError, type StorageEngine } from '../../../shared/engine/port.js';
import { MemoryEngine } from '../../memory/engine.js';
import { batches, command, commands, WINDOW_MS } from './commands.js';
import { type Adapter, testDatabases } from './databases.js';

const databases = testDatabases('engine');

function postgresAt(databaseUrl: string, idsMax?: number): StorageEngine {
  const options = { databaseUrl, server: 's1', resultWindowMs: WINDOW_MS };
  return databases.keep(new PostgresEngine(idsMax === undefined ? options : { ...options, idsMax }));
}

const outcomes = (applied: readonly Applied[]) =>
  applied.map(({ outcome, duplicate, mergedIndex }) => ({
    ...(outcome.ok ? { result: JSON.parse(outcome.json) as unknown } : { rejected: outcome.message }),
    duplicate,
    mergedIndex,
  }));

describe.each(databases.adapters)('%s engine', (_, create) => {
  it('begins at 0 and moves with each batch', async () => {
    const engine = await create();
    expect(await engine.open()).toMatchObject({ mergedIndex: 0, timestamp: 0, positions: [] });
    const run = [
      command(1, 'kv.put', { key: 'a', value: 1 }, { group: 1, index: 4 }),
      command(2, 'kv.put', { key: 'a', value: 2 }, { group: 0, index: 9, term: 3 }),
    ];
    const [batch] = batches(run, [2]);
    if (batch === undefined) throw new Error('no batch');
    const { applied } = await engine.apply(batch);
    expect(outcomes(applied)).toEqual([
      { result: { version: 1 }, duplicate: false, mergedIndex: 1 },
      { result: { version: 2 }, duplicate: false, mergedIndex: 2 },
    ]);
    expect(await engine.query('kv.get', { key: 'a' })).toEqual({ value: 2, version: 2 });
    expect((await engine.locate([9, 4])).positions).toEqual([
      { index: 9, term: 3, timestamp: run[1]?.timestamp },
      { index: 4, term: 1, timestamp: run[0]?.timestamp },
    ]);
  });

  it('refuses a batch that does not begin at its position, and has applied nothing', async () => {
    const engine = await create();
    await engine.open();
    const [batch] = batches([command(2, 'kv.put', { key: 'a', value: 1 })], [1]);
    if (batch === undefined) throw new Error('no batch');
    await expect(engine.apply(batch)).rejects.toBeInstanceOf(PositionError);
    expect(await engine.query('kv.get', { key: 'a' })).toBeNull();
  });

  it('answers a duplicate with the first result until the window has passed in entry time', async () => {
    const engine = await create();
    await engine.open();
    const at = (ms: number) => 1_790_000_000_000_000 + ms * 1_000;
    const put = (mergedIndex: number, ms: number) =>
      command(mergedIndex, 'kv.put', { key: 'a', value: mergedIndex }, { id: 'same', timestamp: at(ms) });
    const run = [put(1, 0), put(2, WINDOW_MS), put(3, WINDOW_MS + 1), put(4, WINDOW_MS + 2)];
    const all: Applied[] = [];
    for (const batch of batches(run, [1])) all.push(...(await engine.apply(batch)).applied);
    expect(outcomes(all).map((one) => one.mergedIndex)).toEqual([1, 1, 3, 3]);
    expect(await engine.query('kv.get', { key: 'a' })).toEqual({ value: 3, version: 2 });
  });

  it('undoes a transaction that is rejected, and records the rejection', async () => {
    const engine = await create();
    await engine.open();
    const ops = [{ put: { key: 'a', value: 1 } }, { put: { key: 'b', value: 1, ifVersion: 7 } }];
    const run = [command(1, 'kv.txn', { ops }, { id: 't' }), command(2, 'kv.txn', { ops }, { id: 't' })];
    const all: Applied[] = [];
    for (const batch of batches(run, [1])) all.push(...(await engine.apply(batch)).applied);
    expect(all.map(({ outcome, duplicate }) => [outcome.ok, duplicate])).toEqual([
      [false, false],
      [false, true],
    ]);
    expect(await engine.query('kv.list', {})).toEqual([]);
  });
});

describe('what became of commands', () => {
  it.each<Adapter>([
    ...databases.adapters,
    ['postgres, a row for each outcome', async () => postgresAt(await databases.create(), 0)],
  ])('is told by their places: %s', async (_, create) => {
    const engine = await create();
    await engine.open();
    expect(await engine.outcomes(1, 9)).toEqual({ appliedIndex: 0, outcomes: [] });
    const put = (mergedIndex: number, id: string, ifVersion?: number) =>
      command(mergedIndex, 'kv.put', { key: 'a', value: 1, ifVersion }, { id });
    // The third one repeats an id, the fourth one has none.
    const run = [put(1, 'a'), put(2, 'b', 7), put(3, 'a'), put(4, ''), put(5, 'c')];
    for (const batch of batches(run, [2])) await engine.apply(batch);
    const told = async (from: number, to: number) => {
      const { appliedIndex, outcomes } = await engine.outcomes(from, to);
      expect(appliedIndex).toBe(5);
      for (const { mergedIndex, timestamp } of outcomes) expect(timestamp).toBe(run[mergedIndex - 1]?.timestamp);
      return outcomes.map(({ mergedIndex, outcome }) => `${mergedIndex} ${outcome.ok}`).sort();
    };
    expect(await told(1, 5)).toEqual(['1 true', '2 false', '5 true']);
    expect(await told(2, 4)).toEqual(['2 false']);
    expect(await told(5, 100)).toEqual(['5 true']);
  });
});

describe('postgres and memory', () => {
  it('come to the same with any borders of the batches', async () => {
    await fc.assert(
      fc.asyncProperty(
        commands,
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 3 }),
        // So few ids may be remembered; and before so many batches the engine is opened again.
        fc.constantFrom(undefined, 0, 2),
        fc.nat(6),
        async (run, sizes, idsMax, openAgainAt) => {
          const memory = new MemoryEngine({ resultWindowMs: WINDOW_MS });
          const url = await databases.create();
          const postgres = postgresAt(url, idsMax);
          await memory.open();
          await postgres.open();
          const inMemory: Applied[] = [];
          for (const batch of batches(run, [run.length])) inMemory.push(...(await memory.apply(batch)).applied);
          const inPostgres: Applied[] = [];
          for (const [at, batch] of batches(run, sizes).entries()) {
            if (at === openAgainAt) await postgres.open();
            inPostgres.push(...(await postgres.apply(batch)).applied);
          }
          expect(outcomes(inPostgres)).toEqual(outcomes(inMemory));
          expect(await postgres.query('kv.list', {})).toEqual(await memory.query('kv.list', {}));
          // What a restart finds is where it stopped.
          await postgres.close();
          const [here, there] = await Promise.all([memory.open(), postgresAt(url).open()]);
          expect(there).toMatchObject({
            mergedIndex: here.mergedIndex,
            timestamp: here.timestamp,
            resultsChecksum: here.resultsChecksum,
            positions: here.positions,
          });
          await databases.closeEngines();
        },
      ),
      { numRuns: 25 },
    );
  }, 120_000);
});
