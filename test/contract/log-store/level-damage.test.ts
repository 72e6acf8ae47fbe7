import { readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LevelLogStore } from '../../../shared/log-store/level.js';
import { dropWritesAfter } from '../../../shared/log-store/level-folder.js';
import { readJournal } from '../../../shared/log-store/level-journal.js';
import { tableDamage } from '../../../shared/log-store/level-table.js';
import { LogStoreCorruptError } from '../../../shared/log-store/port.js';
import { batchOf, dumpStore, entries, Model, modelAfter, randomOf } from './model.js';
import { Folders, IDENTITY } from './subject.js';

const SEED = 11;
const WRITES = 60;
const BYTES = 3_000;

const folders = new Folders();
/** A store with WRITES writes, two thirds of them in tables, the last in the journal. */
let sound = '';
const expected = modelAfter(SEED, WRITES, IDENTITY.groups, BYTES).dump();

beforeAll(async () => {
  sound = await folders.make();
  const model = new Model();
  // Every opening moves the journal into a table.
  for (const upTo of [20, 40, WRITES]) {
    const store = await LevelLogStore.open({ ...IDENTITY, folder: sound });
    await store.load();
    for (let n = model.promiseLimit + 1; n <= upTo; n++) {
      const batch = batchOf(SEED, n, model, IDENTITY.groups, BYTES);
      await store.write(batch);
      model.apply(batch);
    }
    await store.close();
  }
});
afterAll(() => folders.cleanUp());

/** Everything that the folder holds. */
async function readAll(folder: string): Promise<{ promiseLimit: number; state: object }> {
  const store = await LevelLogStore.open({ ...IDENTITY, folder });
  try {
    const loaded = await store.load();
    return { promiseLimit: loaded.promiseLimit, state: await dumpStore(store, loaded) };
  } finally {
    await store.close();
  }
}

const outcome = (folder: string) => readAll(folder).catch((error: unknown) => error);

async function withLevel(
  folder: string,
  change: (level: ClassicLevel<string, Buffer>) => Promise<unknown>,
): Promise<void> {
  const level = new ClassicLevel<string, Buffer>(folder, { valueEncoding: 'buffer' });
  try {
    await change(level);
  } finally {
    await level.close();
  }
}

async function filesOf(folder: string, pattern: RegExp): Promise<string[]> {
  return (await readdir(folder)).filter((file) => pattern.test(file)).sort();
}

async function journalOf(folder: string): Promise<string> {
  return join(folder, (await filesOf(folder, /\.log$/)).at(-1) ?? '');
}

describe('a damaged level log store', () => {
  it('is sound before the damage, in tables and in the journal', async () => {
    const copy = await folders.copy(sound);
    expect((await filesOf(copy, /\.ldb$/)).length).toBeGreaterThan(0);
    expect((await stat(await journalOf(copy))).size).toBeGreaterThan(50_000);
    expect((await readAll(copy)).state).toEqual(expected);
  });

  it.each(['!identity', '!write', '~head', 'term/0001/', 'log/0001/'])(
    'does not pass over a value under %s that has one bit flipped, is missing or is another',
    async (prefix) => {
      for (const damage of ['flip', 'shorten', 'delete', 'swap'] as const) {
        const copy = await folders.copy(sound);
        await withLevel(copy, async (level) => {
          const [key = ''] = await level.keys({ gte: prefix, limit: 1 }).all();
          expect(key.startsWith(prefix)).toBe(true);
          const value = (await level.get(key)) ?? Buffer.alloc(0);
          const [[, other] = ['', Buffer.alloc(0)]] = await level.iterator({ gt: key, limit: 1 }).all();
          const flipped = Buffer.from(value);
          flipped[value.length >> 1] = (flipped[value.length >> 1] ?? 0) ^ 4;
          if (damage === 'delete') await level.del(key);
          else if (damage === 'flip') await level.put(key, flipped);
          else if (damage === 'shorten') await level.put(key, value.subarray(0, -1));
          else await level.put(key, prefix === '~head' ? Buffer.from('other') : other);
        });
        const found = await outcome(copy);
        expect(found, damage).toBeInstanceOf(LogStoreCorruptError);
        expect((found as LogStoreCorruptError).location).toContain(copy);
      }
    },
  );

  it.each(['!write', '~head'])('does not take an older value under %s for the newest', async (key) => {
    const copy = await folders.copy(sound);
    const store = await LevelLogStore.open({ ...IDENTITY, folder: copy });
    const { promiseLimit, groups } = await store.load();
    const term = (groups.get(0)?.hardState.term ?? 0) + 1;
    await store.close();
    let older: Buffer = Buffer.alloc(0);
    await withLevel(copy, async (level) => {
      older = (await level.get(key)) ?? older;
    });
    // A vote: no entry would miss it.
    const voting = await LevelLogStore.open({ ...IDENTITY, folder: copy });
    await voting.load();
    await voting.write({ promiseLimit, groups: [{ group: 0, hardState: { term, votedFor: 's2', commitIndex: 0 } }] });
    await voting.close();
    await withLevel(copy, (level) => level.put(key, older));
    expect(await outcome(copy)).toBeInstanceOf(LogStoreCorruptError);
  });

  it('finds the loss of the last record at load', async () => {
    const copy = await folders.copy(sound);
    await withLevel(copy, async (level) => {
      const [key = ''] = await level.keys({ gte: 'log/0000/', lt: 'log/0000/~', reverse: true, limit: 1 }).all();
      await level.del(key);
    });
    const store = await LevelLogStore.open({ ...IDENTITY, folder: copy });
    await expect(store.load()).rejects.toThrow('the record is missing');
    await store.close();
  });

  it('finds the loss of a record at every read that needs it, and at no other', async () => {
    const folder = await folders.make();
    const store = await LevelLogStore.open({ ...IDENTITY, folder });
    await store.load();
    for (const from of [1, 4, 7]) {
      const hardState = { term: 1, votedFor: null, commitIndex: from + 2 };
      await store.write({ groups: [{ group: 0, hardState, entries: entries(from, from + 2, 1) }] });
    }
    await store.close();
    await withLevel(folder, (level) => level.del('log/0000/0000000000000006'));
    const damaged = await LevelLogStore.open({ ...IDENTITY, folder });
    await damaged.load();
    for (let from = 1; from <= 9; from++) {
      for (let to = from; to <= 9; to++) {
        const read = damaged.read(0, from, to, 1e9);
        if (to >= 4 && from <= 6) await expect(read).rejects.toThrow(LogStoreCorruptError);
        else expect(await read).toHaveLength(to - from + 1);
      }
    }
    await expect(damaged.write({ groups: [{ group: 0, truncateFrom: 5 }] })).rejects.toThrow(LogStoreCorruptError);
    await damaged.close();
  });

  it('refuses a truncation whose record is damaged, and writes nothing', async () => {
    const folder = await folders.make();
    const store = await LevelLogStore.open({ ...IDENTITY, folder });
    await store.load();
    const hardState = { term: 1, votedFor: null, commitIndex: 9 };
    await store.write({ groups: [{ group: 0, entries: entries(1, 6, 1) }] });
    await store.write({ groups: [{ group: 0, hardState, entries: entries(7, 9, 1) }] });
    await store.close();
    await withLevel(folder, async (level) => {
      const key = 'log/0000/0000000000000006';
      const value = (await level.get(key)) ?? Buffer.alloc(0);
      value[20] = (value[20] ?? 0) ^ 1;
      await level.put(key, value);
    });
    const damaged = await LevelLogStore.open({ ...IDENTITY, folder });
    await damaged.load();
    const write = damaged.write({
      promiseLimit: 5,
      groups: [{ group: 0, truncateFrom: 4, entries: entries(4, 4, 2) }],
    });
    await expect(write).rejects.toThrow(LogStoreCorruptError);
    expect((await damaged.read(0, 7, 9, 1e9)).map((entry) => entry.term)).toEqual([1, 1, 1]);
    await damaged.close();
    const again = await LevelLogStore.open({ ...IDENTITY, folder });
    expect((await again.load()).promiseLimit).toBe(0);
    await again.close();
  });

  it('never gives other data, whichever byte of whichever file is flipped', async () => {
    const random = randomOf(1);
    const files = await filesOf(sound, /\.(ldb|log)$|^MANIFEST|^CURRENT$/);
    const found = { corrupt: 0, intact: 0 };
    for (let round = 0; round < 240; round++) {
      const file = files[round % files.length] ?? '';
      const copy = await folders.copy(sound);
      const bytes = await readFile(join(copy, file));
      const at = Math.floor(random() * bytes.length);
      const bit = 1 << Math.floor(random() * 8);
      bytes[at] = (bytes[at] ?? 0) ^ bit;
      await writeFile(join(copy, file), bytes);
      const result = await outcome(copy);
      const message = `${file}, byte ${at} of ${bytes.length}, bit ${bit}: ${result}`;
      if (result instanceof Error) {
        expect(result, message).toBeInstanceOf(LogStoreCorruptError);
        found.corrupt++;
      } else {
        expect((result as { state: object }).state, message).toEqual(expected);
        found.intact++;
      }
      await rm(copy, { recursive: true });
    }
    // Filters, unused padding and shadowed versions may be damaged without harm; most bytes are data.
    expect(found.corrupt).toBeGreaterThan(120);
  });

  it('is found at any bit of a table, where LevelDB skips records or ends the process', async () => {
    const random = randomOf(SEED);
    for (const file of await filesOf(sound, /\.ldb$/)) {
      const table = await readFile(join(sound, file));
      expect(tableDamage(table)).toBeUndefined();
      // The end holds the filter, the index and the footer: handles, then zeros (a number may be written with zeros behind it), then a magic number.
      const places = Array.from({ length: 1_500 }, (_, n) =>
        n < 1_000 ? table.length - 1 - n : Math.floor(random() * table.length),
      );
      for (const at of places) {
        const before = table[at] ?? 0;
        table[at] = before ^ (1 << Math.floor(random() * 8));
        const isHandle = at >= table.length - 48 && at < table.length - 8;
        if (!isHandle || (before > 0 && (table[at] ?? 0) < 128))
          expect(tableDamage(table), `${file}, byte ${at}`).toBeDefined();
        table[at] = before;
      }
    }
  });

  it('is found in a table that is compressed, too', async () => {
    const folder = await folders.make();
    const store = await LevelLogStore.open({ ...IDENTITY, folder });
    await store.load();
    const command = new Uint8Array(500).fill(7);
    for (let n = 1; n <= 2_000; n += 50) {
      const batch = entries(n, n + 49, 1).map((entry) => ({ ...entry, command }));
      await store.write({ groups: [{ group: 0, entries: batch }] });
    }
    await store.close();
    await (await LevelLogStore.open({ ...IDENTITY, folder })).close();
    const [file = ''] = await filesOf(folder, /\.ldb$/);
    const table = await readFile(join(folder, file));
    expect(table.length).toBeLessThan(500 * 2_000);
    expect(tableDamage(table)).toBeUndefined();
    table[table.length >> 1] = (table[table.length >> 1] ?? 0) ^ 1;
    await writeFile(join(folder, file), table);
    const found = await outcome(folder);
    expect(found).toBeInstanceOf(LogStoreCorruptError);
    expect((found as LogStoreCorruptError).location).toBe(join(folder, file));
  });

  it('is refused when a file is gone', async () => {
    for (const file of await filesOf(sound, /\.(ldb|log)$|^MANIFEST|^CURRENT$/)) {
      const copy = await folders.copy(sound);
      const bytes = await readFile(join(copy, file));
      await rm(join(copy, file));
      expect(await outcome(copy), file).toBeInstanceOf(LogStoreCorruptError);
      // Nothing else has been touched: with the file in its place again all is there.
      await writeFile(join(copy, file), bytes);
      expect((await readAll(copy)).state, file).toEqual(expected);
    }
  });

  it('opens at the last whole write when the journal was cut off, wherever', async () => {
    const random = randomOf(1);
    const bytes = await readFile(await journalOf(sound));
    const ends = readJournal(bytes).records.map((record) => record.end);
    expect(ends.length).toBe(WRITES - 40);
    for (let round = 0; round < 60; round++) {
      const end = ends[Math.floor(random() * ends.length)] ?? 0;
      // Often close to the border of a write, where the cases are.
      const length = Math.min(
        bytes.length,
        Math.max(0, end + Math.floor((random() - 0.5) * (round % 2 === 0 ? 24 : 6_000))),
      );
      const copy = await folders.copy(sound);
      await truncate(await journalOf(copy), length);
      // After a power failure the file may have its full length, with sectors that were never written.
      if (round % 3 === 0) await truncate(await journalOf(copy), Math.ceil((length + 600) / 512) * 512);
      const writes = 40 + ends.filter((each) => each <= length).length;
      const result = await readAll(copy);
      expect(result.promiseLimit, `cut at ${length}`).toBe(writes);
      expect(result.state).toEqual(modelAfter(SEED, writes, IDENTITY.groups, BYTES).dump());
      await rm(copy, { recursive: true });
    }
  });

  it('gives back the state before a write that is taken out of the journal again', async () => {
    for (const keep of [40, 41, 52, WRITES - 1, WRITES]) {
      const copy = await folders.copy(sound);
      // LevelDB may have begun another journal since.
      await writeFile(join(copy, '999999.log'), '');
      await dropWritesAfter(copy, keep);
      const result = await readAll(copy);
      expect(result).toEqual({ promiseLimit: keep, state: modelAfter(SEED, keep, IDENTITY.groups, BYTES).dump() });
    }
  });
});
