/**
 * What an engine says of its state as a whole (T4), held by every adapter: whether it diverged,
 * what its rows add up to, and `craft.verify`.
 */
import { describe, expect, it } from 'vitest';
import type { EngineSnapshot, StorageEngine, TableChecksum } from '../../../shared/engine/port.js';
import { rowsChecksumOf } from '../../../shared/engine/rows-checksum.js';
import { encodeVerify, VERIFY_COMMAND } from '../../../shared/engine/verify.js';
import { batches, command } from './commands.js';
import { testDatabases } from './databases.js';

const databases = testDatabases('state');

const put = (at: number, key: string, value: unknown, id = '') => command(at, 'kv.put', { key, value }, { id });
const verify = (at: number, payload: Uint8Array = encodeVerify({ snapshotBy: 's1' })) =>
  command(at, VERIFY_COMMAND, null, { payload });

async function applyAll(engine: StorageEngine, run: ReturnType<typeof command>[], size = run.length) {
  const all = [];
  for (const batch of batches(run, [size])) all.push(...(await engine.apply(batch)).applied);
  return all.map(({ outcome }) => outcome);
}

async function tablesOf(engine: StorageEngine): Promise<readonly TableChecksum[]> {
  return (await engine.checkRows()).tables;
}

async function kept(snapshot: EngineSnapshot): Promise<EngineSnapshot> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of snapshot.data) chunks.push(chunk);
  return { ...snapshot, data: chunksOf(chunks) };
}
async function* chunksOf(chunks: readonly Uint8Array[]) {
  yield* chunks;
}

describe.each(databases.adapters)('%s engine', (_, create) => {
  async function open(): Promise<StorageEngine> {
    const engine = await create();
    await engine.open();
    return engine;
  }

  it('keeps that it has diverged until its state is replaced', async () => {
    const [one, two] = [await open(), await open()];
    expect(one.divergence).toBeUndefined();
    await one.markDiverged('the rows differ from s2\0\ud800');
    expect(one.divergence).toMatch(/^the rows differ from s2/);
    await one.open();
    expect(one.divergence).toMatch(/^the rows differ from s2/);
    await applyAll(one, [put(1, 'a', 1)]);
    expect(one.divergence).toBeDefined();
    await one.restore(await kept(await two.snapshot()));
    expect(one.divergence).toBeUndefined();
    await one.open();
    expect(one.divergence).toBeUndefined();
  });

  it('may be opened again and goes on from where it is', async () => {
    const engine = await open();
    await applyAll(engine, [put(1, 'a', 1)]);
    expect(await engine.open()).toMatchObject({ mergedIndex: 1 });
    await engine.apply({ commands: [put(2, 'a', 2)], checksum: '2'.repeat(16) });
    expect(await engine.query('kv.get', { key: 'a' })).toEqual({ value: 2, version: 2 });
  });

  it('has the same checksum of the same rows, whatever the way to them, and another one of other rows', async () => {
    const [one, two] = [await open(), await open()];
    const none = await tablesOf(one);
    expect(none).toEqual([{ name: 'kv', rows: 0, checksum: '0'.repeat(16) }]);
    const run = Array.from({ length: 300 }, (_, i) =>
      put(i + 1, `k${(i * 7) % 50}`, { i, text: `"\n,)(${i}` }, `id ${i}`),
    );
    await applyAll(one, run, 1);
    await applyAll(two, run, 77);
    const [here, there] = [await tablesOf(one), await tablesOf(two)];
    expect(here).toEqual([{ name: 'kv', rows: 50, checksum: expect.stringMatching(/^[0-9a-f]{16}$/) as unknown }]);
    expect(there).toEqual(here);
    expect(rowsChecksumOf(there)).toBe(rowsChecksumOf(here));
    expect(rowsChecksumOf(here)).not.toBe(rowsChecksumOf(none));
    // By a snapshot, too.
    const other = await open();
    await other.restore(await kept(await one.snapshot()));
    expect(await tablesOf(other)).toEqual(here);
    await other.apply({ commands: [put(301, 'k0', null)], checksum: '3'.repeat(16) });
    const after = await tablesOf(other);
    expect(after[0]).toMatchObject({ name: 'kv', rows: 50 });
    expect(after[0]?.checksum).not.toBe(here[0]?.checksum);
  });

  it('looks at its rows as of one position while batches go on, once at a time', async () => {
    const [one, two] = [await open(), await open()];
    const run = Array.from({ length: 200 }, (_, i) => put(i + 1, `k${i}`, i));
    await applyAll(one, run.slice(0, 100));
    await applyAll(two, run.slice(0, 100));
    const expected = await tablesOf(two);
    const [first, second] = await Promise.allSettled([one.checkRows(), one.checkRows()]);
    expect(second).toMatchObject({
      status: 'rejected',
      reason: { message: expect.stringContaining('already') as unknown },
    });
    if (first.status === 'rejected') throw first.reason;
    const checking = first.value;
    expect(checking.position).toEqual(await one.locate([]));
    await one.apply({ commands: run.slice(100), checksum: '4'.repeat(16) });
    expect(await checking.tables).toEqual(expected);
    expect((await tablesOf(one))[0]?.rows).toBe(200);
  });

  it('gives craft.verify one outcome, whatever its payload, and counts it like any other', async () => {
    const [one, two] = [await open(), await open()];
    const payloads = [undefined, new Uint8Array(), Buffer.from('{'), Buffer.from('{"snapshotBy":7}')];
    const run = [put(1, 'a', 1), ...payloads.map((payload, i) => verify(i + 2, payload)), put(6, 'a', 2)];
    expect(await applyAll(one, run)).toEqual([
      { ok: true, json: '{"version":1}' },
      ...payloads.map(() => ({ ok: true, json: 'null' })),
      { ok: true, json: '{"version":2}' },
    ]);
    await applyAll(two, run, 1);
    const [here, there] = [await one.locate([]), await two.locate([])];
    expect(here).toEqual(there);
    const without = await open();
    await applyAll(
      without,
      [run[0], put(2, 'a', 2)].filter((one) => one !== undefined),
    );
    expect((await without.locate([])).resultsChecksum).not.toBe(here.resultsChecksum);
  });
});
