import { randomFillSync } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { afterEach, describe, expect, it } from 'vitest';
import { LevelLogStore } from '../../../shared/log-store/level.js';
import type { WriteBatch } from '../../../shared/log-store/port.js';
import type { LogEntry } from '../../../shared/raft/entry.js';
import { encodeEntry } from '../../../shared/wire/entry-block.js';
import { eventually } from '../../harness/eventually.js';
import { entries, position } from './model.js';
import { Folders, IDENTITY } from './subject.js';

const ALL = Number.MAX_SAFE_INTEGER;
const MIB = 1024 * 1024;
/** As in level-removal.ts. */
const RECORDS_PER_WRITE_MAX = 256;

const folders = new Folders();
const open: LevelLogStore[] = [];
afterEach(async () => {
  for (const store of open.splice(0)) await store.close();
  await folders.cleanUp();
});

async function opened(folder: string): Promise<LevelLogStore> {
  const store = await LevelLogStore.open({ ...IDENTITY, folder });
  open.push(store);
  await store.load();
  return store;
}

/** Last indexes of the records of group 0 in a closed store, whether they are garbage or not. */
async function recordsOf(folder: string): Promise<number[]> {
  const level = new ClassicLevel(folder);
  try {
    const keys = await level.keys({ gte: 'log/0000/', lt: 'log/0000/~' }).all();
    return keys.map((key) => Number(key.slice(-16)));
  } finally {
    await level.close();
  }
}

/** Group 0 with `count` records of two entries each, and group 1 with one. */
async function stored(folder: string, count: number): Promise<LevelLogStore> {
  const store = await opened(folder);
  for (let n = 0; n < count; n++)
    await store.write({ groups: [{ group: 0, entries: entries(2 * n + 1, 2 * n + 2, 1) }] });
  await store.write({ groups: [{ group: 1, entries: entries(1, 1, 1) }] });
  return store;
}

describe('what a base has left behind in a level log store', () => {
  const COUNT = 600;
  const BASE = 2 * COUNT - 5;
  /** The record of entries BASE and BASE + 1 holds both sides of the base. */
  const LIVE = [BASE + 1, BASE + 3, BASE + 5];

  it('is deleted a bounded number of records a write, with writes of any group and after a restart', async () => {
    const folder = await folders.make();
    let store = await stored(folder, COUNT);
    await store.write({ groups: [{ group: 0, base: position(BASE, 1) }] });
    let left = COUNT - RECORDS_PER_WRITE_MAX;
    for (let round = 0; round < 2; round++) {
      await store.close();
      const found = await recordsOf(folder);
      expect(found).toHaveLength(left);
      expect(found.slice(-LIVE.length)).toEqual(LIVE);
      store = await opened(folder);
      expect(await store.read(0, BASE, ALL, ALL)).toEqual([]);
      expect((await store.read(0, BASE + 1, ALL, ALL)).map((entry) => entry.index)).toEqual(
        Array.from({ length: 5 }, (_, i) => BASE + 1 + i),
      );
      await store.write({ groups: [], promiseLimit: 1 + round });
      left = Math.max(LIVE.length, left - RECORDS_PER_WRITE_MAX);
    }
    await store.close();
    expect(await recordsOf(folder)).toEqual(LIVE);
  });

  it('is no damage when some of it is missing or is something else', async () => {
    const folder = await folders.make();
    let store = await stored(folder, COUNT);
    await store.write({ groups: [{ group: 0, base: position(BASE, 1) }] });
    await store.close();
    const left = (await recordsOf(folder)).slice(0, -LIVE.length);
    const level = new ClassicLevel<string, Buffer>(folder, { valueEncoding: 'buffer' });
    const keyOf = (index = 0) => `log/0000/${index.toString().padStart(16, '0')}`;
    await level.del(keyOf(left[3]));
    await level.put(keyOf(left.at(-1)), Buffer.from('nothing that anybody wrote'));
    await level.close();
    store = await opened(folder);
    expect(await store.read(0, BASE + 1, ALL, ALL)).toHaveLength(5);
    for (let n = 1; n <= 3; n++) await store.write({ groups: [], promiseLimit: n });
    await store.close();
    expect(await recordsOf(folder)).toEqual(LIVE);
  });

  it('of a log that was dropped is deleted too, above the base in the same write', async () => {
    const folder = await folders.make();
    const store = await stored(folder, COUNT);
    const base = 2 * COUNT - 21;
    await store.write({ groups: [{ group: 0, base: position(base, 2) }] });
    await store.close();
    const found = await recordsOf(folder);
    expect(found.every((index) => index <= base)).toBe(true);
    expect(found).toHaveLength(COUNT - 11 - RECORDS_PER_WRITE_MAX);
  });

  describe('on the disk', () => {
    const BODY_BYTES = 256 * 1024;
    const TRAILING = 8;

    /** Entry `index` of group 0, with a body that cannot be compressed, and perhaps a base TRAILING entries before it. */
    const appended = (index: number, compacts: boolean): WriteBatch => {
      const bytes = encodeEntry(1, index, 3, randomFillSync(Buffer.alloc(BODY_BYTES)));
      const entry: LogEntry = { index, term: 1, timestamp: index, kind: 3, bytes };
      const base = compacts ? { base: position(index - TRAILING, 1) } : {};
      return { groups: [{ group: 0, entries: [entry], ...base }] };
    };

    it('pitfall: log files that only grow: takes a bounded part of it under a load that compacts again and again', async () => {
      const WRITES = 800;
      const EVERY = 16;
      // Live records are 2 to 6 MiB; the rest is LevelDB's: journal, a table of the journal before, tables not yet merged.
      const BYTES_MAX = 64 * MIB;
      const folder = await folders.make();
      const store = await opened(folder);
      let largest = 0;
      for (let index = 1; index <= WRITES; index++) {
        await store.write(appended(index, index % EVERY === 0));
        if (index % EVERY === 0) largest = Math.max(largest, await sizeOf(folder));
      }
      expect(largest).toBeLessThan(BYTES_MAX);
      expect(await store.read(0, WRITES - TRAILING + 1, ALL, ALL)).toHaveLength(TRAILING);
    });

    it('pitfall: log files that only grow: takes a bounded part of it when its process restarts after every few writes', async () => {
      const RESTARTS = 60;
      const EACH = 8;
      const BYTES_MAX = 64 * MIB;
      const folder = await folders.make();
      let largest = 0;
      for (let restart = 0, index = 0; restart < RESTARTS; restart++) {
        const store = await opened(folder);
        for (let n = 0; n < EACH; n++) await store.write(appended(++index, n === EACH - 1 && index > TRAILING));
        await store.close();
        largest = Math.max(largest, await sizeOf(folder));
      }
      // Nearly twice as much has been written.
      expect(RESTARTS * EACH * BODY_BYTES).toBeGreaterThan(1.8 * BYTES_MAX);
      expect(largest).toBeLessThan(BYTES_MAX);
      // Journals, manifests and logs of the database are replaced, not collected.
      expect((await readdir(folder)).length).toBeLessThan(60);
    });

    it('pitfall: log files that only grow: gives it back when a long log is compacted and little is written afterwards', async () => {
      const WRITES = 480;
      const BYTES_MAX = 16 * MIB;
      const folder = await folders.make();
      const store = await opened(folder);
      for (let index = 1; index <= WRITES; index++) await store.write(appended(index, false));
      expect(await sizeOf(folder)).toBeGreaterThan(100 * MIB);
      await store.write(appended(WRITES + 1, true));
      await store.write(appended(WRITES + 2, true));
      await eventually('a small folder', async () => (await sizeOf(folder)) < BYTES_MAX);
    });
  });
});

async function sizeOf(folder: string): Promise<number> {
  let bytes = 0;
  for (const file of await readdir(folder)) {
    bytes += await stat(join(folder, file)).then(
      ({ size }) => size,
      // Deleted since it was listed.
      () => 0,
    );
  }
  return bytes;
}
