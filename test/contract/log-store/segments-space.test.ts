/** What a segment store takes on the disk, and what it keeps there for how long (T10). */
import { randomFillSync } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { LogStore, WriteBatch } from '../../../shared/log-store/port.js';
import { SegmentLogStore } from '../../../shared/log-store/segments/store.js';
import type { LogEntry } from '../../../shared/raft/entry.js';
import { encodeEntry } from '../../../shared/wire/entry-block.js';
import { eventually } from '../../harness/eventually.js';
import { MemoryDisk } from './memory-disk.js';
import { entries, entryText, position } from './model.js';
import { Folders, IDENTITY, openSegments } from './subject.js';

const ALL = Number.MAX_SAFE_INTEGER;
const MIB = 1024 * 1024;
const BODY_BYTES = 256 * 1024;
const TRAILING = 8;

const folders = new Folders();
const open: LogStore[] = [];
afterEach(async () => {
  for (const store of open.splice(0)) await store.close();
  await folders.cleanUp();
});

async function opened(folder: string): Promise<LogStore> {
  const store = await openSegments(folder);
  open.push(store);
  await store.load();
  return store;
}

/** Blocks that are taken, in bytes. */
async function sizeOf(folder: string): Promise<number> {
  let bytes = 0;
  for (const file of await readdir(folder)) {
    bytes += await stat(join(folder, file)).then(
      ({ blocks }) => blocks * 512,
      // Removed since it was listed.
      () => 0,
    );
  }
  return bytes;
}

/** Entry `index` of group 0, and perhaps a base TRAILING entries before it. */
function appended(index: number, compacts: boolean): WriteBatch {
  const bytes = encodeEntry(1, index, 3, randomFillSync(Buffer.alloc(BODY_BYTES)));
  const entry: LogEntry = { index, term: 1, timestamp: index, kind: 3, bytes };
  return { groups: [{ group: 0, entries: [entry], ...(compacts && { base: position(index - TRAILING, 1) }) }] };
}

describe('the space of a segment store', () => {
  it('pitfall: log files that only grow: is bounded under a load that compacts again and again', async () => {
    const [WRITES, EVERY] = [480, 16];
    const folder = await folders.make();
    const store = await opened(folder);
    let largest = 0;
    for (let index = 1; index <= WRITES; index++) {
      await store.write(appended(index, index % EVERY === 0));
      if (index % EVERY === 0) largest = Math.max(largest, await sizeOf(folder));
    }
    // What is live takes 2 to 6 MiB; a segment takes 16 MiB and lives on for the rest of one.
    expect(largest).toBeLessThan(48 * MIB);
    expect(await store.read(0, WRITES - TRAILING + 1, ALL, ALL)).toHaveLength(TRAILING);
  });

  it('pitfall: log files that only grow: is bounded when the process restarts after every few writes', async () => {
    const [RESTARTS, EACH] = [40, 8];
    const folder = await folders.make();
    let largest = 0;
    for (let restart = 0, index = 0; restart < RESTARTS; restart++) {
      const store = await opened(folder);
      for (let n = 0; n < EACH; n++) await store.write(appended(++index, n === EACH - 1 && index > TRAILING));
      await store.close();
      largest = Math.max(largest, await sizeOf(folder));
    }
    expect(largest).toBeLessThan(24 * MIB);
    expect((await readdir(folder)).length).toBeLessThan(8);
  });

  it('pitfall: log files that only grow: comes back when a long log is compacted and little is written afterwards', async () => {
    const WRITES = 300;
    const folder = await folders.make();
    const store = await opened(folder);
    for (let index = 1; index <= WRITES; index++) await store.write(appended(index, false));
    expect(await sizeOf(folder)).toBeGreaterThan(70 * MIB);
    await store.write(appended(WRITES + 1, true));
    await store.write(appended(WRITES + 2, false));
    await eventually('a small folder', async () => (await sizeOf(folder)) < 34 * MIB);
  });

  it('is not held by groups that are written seldom: their entries are carried on, and read from there', async () => {
    const disk = new MemoryDisk();
    const options = { ...IDENTITY, segmentBytes: 4_096 };
    let store = await SegmentLogStore.openIn(disk, options);
    await store.load();
    let largest = 0;
    const check = async (upTo: number) => {
      for (const group of [1, 2]) {
        expect((await store.read(group, 1, ALL, ALL)).map(entryText)).toEqual(entries(1, upTo, 1).map(entryText));
      }
    };
    for (let n = 1; n <= 400; n++) {
      const seldom =
        n % 40 === 1 ? [1, 2].map((group) => ({ group, entries: entries((n + 39) / 40, (n + 39) / 40, 1) })) : [];
      const often = {
        group: 0,
        entries: entries(n, n, 1, 'x'.repeat(700)),
        ...(n > 2 && { base: position(n - 2, 1) }),
      };
      await store.write({ groups: [often, ...seldom] });
      largest = Math.max(largest, disk.files.size);
      if (n % 25 === 0) await check(Math.ceil(n / 40));
      if (n % 150 === 0) {
        await store.close();
        store = await SegmentLogStore.openIn(disk, options);
        await store.load();
        await check(Math.ceil(n / 40));
      }
    }
    // A hundred segments have been begun.
    expect(largest).toBeLessThan(12);
    // What was carried may be truncated and compacted like anything else.
    await store.write({
      groups: [
        { group: 1, truncateFrom: 4 },
        { group: 2, base: position(7, 1) },
      ],
    });
    await store.close();
    store = await SegmentLogStore.openIn(disk, options);
    await store.load();
    expect((await store.read(1, 1, ALL, ALL)).map(({ index }) => index)).toEqual([1, 2, 3]);
    expect((await store.read(2, 8, ALL, ALL)).map(({ index }) => index)).toEqual([8, 9, 10]);
  });

  it('lets a read that has begun finish when what it reads is dropped', async () => {
    const disk = new MemoryDisk();
    const store = await SegmentLogStore.openIn(disk, { ...IDENTITY, segmentBytes: 4_096 });
    await store.load();
    for (let n = 1; n <= 12; n++)
      await store.write({ groups: [{ group: 0, entries: entries(n, n, 1, 'x'.repeat(900)) }] });
    const reading = store.read(0, 1, 12, ALL);
    await store.write({ groups: [{ group: 0, base: position(11, 1) }] });
    await store.write({ groups: [], promiseLimit: 1 });
    expect((await reading).map(({ index }) => index)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    expect(await store.read(0, 1, 12, ALL)).toEqual([]);
    expect((await store.read(0, 12, 12, ALL)).length).toBe(1);
  });
});
