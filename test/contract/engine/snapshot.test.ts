/**
 * Snapshots (T10), held by every engine: a consistent state while writes go on, and all or nothing
 * when it is taken over.
 */
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  abandon,
  type EnginePosition,
  type EngineSnapshot,
  PositionError,
  SnapshotFormatError,
  type StorageEngine,
} from '../../../shared/engine/port.js';
import { batches, command } from './commands.js';
import { testDatabases } from './databases.js';

const databases = testDatabases('snapshot');

/** Snapshots that are kept, to be restored as often as wanted. */
interface Kept {
  readonly position: EnginePosition;
  readonly format: string;
  readonly bytes: Buffer;
}

async function keep(snapshot: EngineSnapshot): Promise<Kept> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of snapshot.data) chunks.push(chunk);
  return { position: snapshot.position, format: snapshot.format, bytes: Buffer.concat(chunks) };
}

/** In chunks of `size`. */
function given({ position, format, bytes }: Kept, size = 10_000): EngineSnapshot {
  async function* chunks() {
    for (let from = 0; from < bytes.length; from += size) yield bytes.subarray(from, from + size);
  }
  return { position, format, data: chunks() };
}

const put = (at: number, key: string, value: unknown, more = {}) =>
  command(at, 'kv.put', { key, value }, { group: at % 2, index: at, term: 3, ...more });

/** Commands 1 … count; every tenth has an id, one is rejected, one deletes. */
function run(count: number, keys = 7) {
  return Array.from({ length: count }, (_, i) => {
    const at = i + 1;
    const id = at % 10 === 0 ? `id ${at} ü\ud800` : '';
    if (at === 5) return command(at, 'kv.delete', { key: 'key 4' }, { group: 1, index: at });
    if (at === 20) return command(at, 'kv.put', { key: 'a', value: 1, ifVersion: 99 }, { id, group: 0, index: at });
    return put(at, `key ${at % keys}`, { at, text: `"\n\u2028${at}`, nothing: null }, { id });
  });
}

async function applyAll(engine: StorageEngine, commands: ReturnType<typeof command>[], size = 7) {
  const all = batches(commands, [size]);
  for (const [at, batch] of all.entries()) {
    await engine.apply({ ...batch, checksum: (batch.commands[0]?.mergedIndex ?? at).toString(16).padStart(16, '0') });
  }
}

/** All that a caller can see of an engine. */
async function view(engine: StorageEngine) {
  return { position: await engine.locate([]), rows: await engine.query('kv.list', { limit: 10_000 }) };
}

describe.each(databases.adapters)('%s engine', (_, create) => {
  async function open(): Promise<StorageEngine> {
    const engine = await create();
    await engine.open();
    return engine;
  }

  it('is taken over by an empty engine, which goes on like the one that gave it', async () => {
    const [one, two] = [await open(), await open()];
    const commands = run(60);
    await applyAll(one, commands.slice(0, 40));
    const kept = await keep(await one.snapshot());
    expect(kept.position).toMatchObject({ mergedIndex: 40, positions: [{ index: 40 }, { index: 39, term: 3 }] });
    for (const size of [1, 10_000_000]) {
      expect(await two.restore(given(kept, size))).toEqual(kept.position);
      expect(await view(two)).toEqual(await view(one));
    }
    await applyAll(one, commands.slice(40));
    await applyAll(two, commands.slice(40));
    expect(await view(two)).toEqual(await view(one));
    expect((await two.locate([])).resultsChecksum).toBe((await one.locate([])).resultsChecksum);
  });

  it('replaces all of another state, ahead or behind', async () => {
    const [one, two] = [await open(), await open()];
    await applyAll(one, run(20));
    const kept = await keep(await one.snapshot());
    const before = await view(one);
    await applyAll(two, run(77, 50));
    expect(await two.restore(given(kept))).toEqual(kept.position);
    expect(await view(two)).toEqual(before);
    await expect(two.apply({ commands: [put(78, 'x', 1)], checksum: '0'.repeat(16) })).rejects.toBeInstanceOf(
      PositionError,
    );
    await applyAll(two, run(77).slice(20));
  });

  it('still knows the ids that took effect before it, and no others (T8)', async () => {
    const [one, two] = [await open(), await open()];
    await applyAll(one, [put(1, 'a', 1, { id: 'x' }), put(2, 'a', 2), command(3, 'gone', {}, { id: 'no\ud800' })]);
    const kept = await keep(await one.snapshot());
    await applyAll(two, [put(1, 'b', 1, { id: 'y' })]);
    await two.restore(given(kept));
    const again = [
      put(4, 'a', 3, { id: 'x' }),
      command(5, 'gone', {}, { id: 'no\ud800', group: 1, index: 5 }),
      put(6, 'a', 4, { id: 'y' }),
    ];
    const { applied } = await two.apply({ commands: again, checksum: '4'.repeat(16) });
    expect(applied).toEqual((await one.apply({ commands: again, checksum: '4'.repeat(16) })).applied);
    expect(applied.map(({ duplicate, mergedIndex }) => [duplicate, mergedIndex])).toEqual([
      [true, 1],
      [true, 3],
      [false, 6],
    ]);
  });

  it('is of one moment while writes go on, and there is one at a time', async () => {
    const [one, two] = [await open(), await open()];
    const commands = run(400);
    await applyAll(one, commands.slice(0, 100));
    const before = await view(one);
    const snapshot = await one.snapshot();
    await expect(one.snapshot()).rejects.toThrow('already');
    const writing = applyAll(one, commands.slice(100), 3);
    const kept = await keep(snapshot);
    await writing;
    expect(kept.position).toEqual(before.position);
    await two.restore(given(kept));
    expect(await view(two)).toEqual(before);
    await abandon(await one.snapshot());
    expect((await keep(await one.snapshot())).position.mergedIndex).toBe(400);
  });

  it('is refused, and changes nothing, when it is cut off, altered, or of another kind', async () => {
    const [one, two] = [await open(), await open()];
    await applyAll(one, run(50));
    const kept = await keep(await one.snapshot());
    await applyAll(two, run(9));
    const before = await view(two);
    const refused = async (bad: Partial<Kept>) => {
      await expect(two.restore(given({ ...kept, ...bad }))).rejects.toBeInstanceOf(SnapshotFormatError);
      expect(await view(two)).toEqual(before);
    };
    const { bytes } = kept;
    for (const length of [0, 3, 100, bytes.length >> 1, bytes.length - 1])
      await refused({ bytes: bytes.subarray(0, length) });
    for (let turn = 0; turn < 30; turn++) {
      const altered = Buffer.from(bytes);
      const at = Math.floor((turn / 30) * bytes.length);
      altered[at] = (altered[at] ?? 0) ^ (1 << (turn % 8));
      await refused({ bytes: altered });
    }
    await refused({ bytes: Buffer.concat([bytes, bytes]) });
    await refused({ bytes: randomBytes(1_000) });
    await refused({ format: 'another/1' });
    await refused({ position: { ...kept.position, mergedIndex: 51 } });
    const broken = {
      ...given(kept),
      data: (async function* () {
        yield bytes.subarray(0, bytes.length >> 1);
        throw new Error('the source is gone');
      })(),
    };
    await expect(two.restore(broken)).rejects.toThrow('the source is gone');
    expect(await view(two)).toEqual(before);
    await applyAll(two, run(12).slice(9));
    expect(await two.restore(given(kept))).toEqual(kept.position);
  });

  it('is read by pieces: memory does not grow with the state', async () => {
    const engine = await open();
    const rows = 100_000;
    // Two hundred bytes that nothing can make smaller.
    const filler = randomBytes(150).toString('base64');
    const all = Array.from({ length: rows }, (_, i) => put(i + 1, `key ${i}`, filler));
    await applyAll(engine, all, 5_000);
    const other = await open();
    const snapshot = await engine.snapshot();
    let [inFlight, most, largest, total] = [0, 0, 0, 0];
    async function* watched() {
      for await (const chunk of snapshot.data) {
        inFlight += 1;
        most = Math.max(most, inFlight);
        largest = Math.max(largest, chunk.length);
        total += chunk.length;
        yield chunk;
        inFlight -= 1;
      }
    }
    await other.restore({ ...snapshot, data: watched() });
    expect(total).toBeGreaterThan(rows * 200);
    expect(largest).toBeLessThan(512 * 1024);
    expect(most).toBe(1);
    expect((await other.locate([])).mergedIndex).toBe(rows);
    expect(await other.query('kv.get', { key: `key ${rows - 1}` })).toEqual({ value: filler, version: 1 });
  }, 120_000);
});
