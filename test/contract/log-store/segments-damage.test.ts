/**
 * Damage that is planted in the files of a segment store is found, wherever it is, and is never
 * passed over.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { LogStoreIdentityError } from '../../../shared/log-store/errors.js';
import { LogStoreCorruptError } from '../../../shared/log-store/port.js';
import { SegmentLogStore } from '../../../shared/log-store/segments/store.js';
import { MemoryDisk } from './memory-disk.js';
import { batchOf, dumpStore, entries, Model, modelAfter, position, randomOf } from './model.js';
import { IDENTITY } from './subject.js';

const OPTIONS = { ...IDENTITY, segmentBytes: 4_096 };
const SEED = 11;
const WRITES = 24;
const BYTES = 300;

/**
 * The files of a store with WRITES writes in several segments, as a power failure leaves them: the
 * last write shows no sign of an end.
 */
let sound: ReadonlyMap<string, Buffer>;
const expected = modelAfter(SEED, WRITES, IDENTITY.groups, BYTES).dump();

async function filesAfter(writes: number, server = 's1', close = false): Promise<Map<string, Buffer>> {
  const disk = new MemoryDisk();
  const store = await SegmentLogStore.openIn(disk, { ...OPTIONS, server });
  await store.load();
  const model = new Model();
  for (let n = 1; n <= writes; n++) {
    const batch = batchOf(SEED, n, model, IDENTITY.groups, BYTES);
    await store.write(batch);
    model.apply(batch);
  }
  if (close) await store.close();
  // Removals go on in the background.
  await new Promise(setImmediate);
  return new Map([...disk.files].map(([name, { seen }]) => [name, Buffer.from(seen)]));
}

beforeAll(async () => {
  sound = await filesAfter(WRITES);
  expect(sound.size).toBeGreaterThan(3);
});

function diskOf(files: ReadonlyMap<string, Buffer>): MemoryDisk {
  const inode = (bytes: Buffer) => ({ seen: Buffer.from(bytes), durable: Buffer.from(bytes) });
  return new MemoryDisk({}, new Map([...files].map(([name, bytes]) => [name, inode(bytes)])));
}

const names = () => [...sound.keys()].sort();
const fileOf = (name: string): Buffer => Buffer.from(sound.get(name) ?? []);
/** The newest segment, or one before it. */
const fromEnd = (back: number): string => names().at(-1 - back) ?? '';

/** The last byte of the batches in a file. */
const usedOf = (name: string): number =>
  fileOf(name)
    .subarray(0, -512)
    .findLastIndex((byte) => byte !== 0);

/** What an opening finds: all of the state, or why not. */
async function outcome(files: ReadonlyMap<string, Buffer>): Promise<unknown> {
  const disk = diskOf(files);
  try {
    const store = await SegmentLogStore.openIn(disk, OPTIONS);
    return await dumpStore(store, await store.load());
  } catch (error) {
    // Nothing is changed by an opening that fails.
    for (const [name, bytes] of files) expect(disk.files.get(name)?.seen.equals(bytes), name).toBe(true);
    return error;
  }
}

const withFile = (name: string, bytes: Buffer) => outcome(new Map(sound).set(name, bytes));
const without = (...gone: string[]) => outcome(new Map([...sound].filter(([name]) => !gone.includes(name))));

describe('a damaged segment store', () => {
  it('is sound before the damage', async () => {
    expect(await outcome(sound)).toEqual(expected);
    expect(fromEnd(0) > fromEnd(1)).toBe(true);
  });

  it('never gives other data, whichever byte of whichever file has a bit flipped', async () => {
    const random = randomOf(1);
    const found = { corrupt: 0, intact: 0 };
    for (const name of names()) {
      const bytes = fileOf(name);
      // Much of a file is zeros behind its batches; every fifth of those.
      for (let at = 0; at < bytes.length; at += bytes[at] === 0 && bytes[at + 1] === 0 ? 5 : 1) {
        const bit = 1 << Math.floor(random() * 8);
        bytes[at] = (bytes[at] ?? 0) ^ bit;
        const result = await withFile(name, bytes);
        bytes[at] = (bytes[at] ?? 0) ^ bit;
        const message = `${name}, byte ${at} of ${bytes.length}, bit ${bit}: ${result}`;
        if (result instanceof Error) {
          expect(result, message).toBeInstanceOf(LogStoreCorruptError);
          found.corrupt++;
        } else {
          expect(result, message).toEqual(expected);
          // Zeros behind the batches, and the end of a segment that another one tells of, are
          // without meaning.
          expect(at, message).toBeGreaterThan(usedOf(name));
          found.intact++;
        }
      }
    }
    expect(found.corrupt).toBeGreaterThan(found.intact);
  }, 240_000);

  it('is found when all of a sector has become zeros, but for the last batch', async () => {
    for (const name of names()) {
      const bytes = fileOf(name);
      const used = usedOf(name);
      // In the newest one the last batch cannot be told from one that was never finished: its last
      // sectors are left out.
      const end = name === fromEnd(0) ? used - 1_400 : used;
      for (let at = 0; at < end; at += 512) {
        const damaged = Buffer.from(bytes).fill(0, at, at + 512);
        expect(await withFile(name, damaged), `${name} at ${at}`).toBeInstanceOf(LogStoreCorruptError);
      }
    }
  });

  it('is refused when a file is gone, whichever it is', async () => {
    for (const name of names()) expect(await without(name), name).toBeInstanceOf(LogStoreCorruptError);
    for (let back = 1; back < names().length; back++) {
      expect(await without(...names().slice(-back)), `the newest ${back}`).toBeInstanceOf(LogStoreCorruptError);
    }
    expect(await outcome(sound)).toEqual(expected);
  });

  it('is refused when a file has another length', async () => {
    for (const name of names()) {
      const bytes = fileOf(name);
      for (const length of [0, 1, 511, 512, 1_000, bytes.length - 512, bytes.length - 1]) {
        expect(await withFile(name, bytes.subarray(0, length)), `${name}: ${length}`).toBeInstanceOf(
          LogStoreCorruptError,
        );
      }
      const longer = Buffer.concat([bytes, Buffer.alloc(512)]);
      expect(await withFile(name, longer), `${name}: longer`).toBeInstanceOf(LogStoreCorruptError);
    }
  });

  it('is refused when two files have changed places, or one stands in for another', async () => {
    for (const one of names()) {
      for (const other of names()) {
        if (one === other) continue;
        expect(await withFile(one, fileOf(other)), `${other} as ${one}`).toBeInstanceOf(LogStoreCorruptError);
        const swapped = new Map(sound).set(one, fileOf(other)).set(other, fileOf(one));
        expect(await outcome(swapped), `${one} and ${other}`).toBeInstanceOf(LogStoreCorruptError);
      }
    }
  });

  it('is refused when a file is that of another store, of this server or of another', async () => {
    for (const server of ['s1', 's2']) {
      for (const [name, bytes] of await filesAfter(WRITES, server)) {
        const result = await withFile(name, bytes);
        const isExpected = result instanceof LogStoreCorruptError || result instanceof LogStoreIdentityError;
        expect(isExpected, `${name} of ${server}: ${result}`).toBe(true);
      }
    }
  });

  it('is refused when a segment is there that may have been dropped, but is of another store', async () => {
    const disk = new MemoryDisk();
    const store = await SegmentLogStore.openIn(disk, OPTIONS);
    await store.load();
    for (let n = 1; n <= 20; n++) {
      const base = n > 1 ? { base: position(n - 1, 1) } : {};
      await store.write({ groups: [{ group: 0, entries: entries(n, n, 1, 'x'.repeat(900)), ...base }] });
    }
    await store.close();
    const files = new Map([...disk.files].map(([name, { seen }]) => [name, seen]));
    expect(files.has('000000000001.segment')).toBe(false);
    const [, foreign = Buffer.alloc(0)] = [...(await filesAfter(1, 's2'))][0] ?? [];
    expect(await outcome(files.set('000000000001.segment', foreign))).toBeInstanceOf(LogStoreCorruptError);
  });

  it('is refused when the end of an older segment is not there', async () => {
    for (const name of names().slice(0, -1)) {
      const used = usedOf(name);
      const result = await withFile(name, fileOf(name).fill(0, used - 200, used + 1));
      expect(result, name).toBeInstanceOf(LogStoreCorruptError);
    }
  });

  it('names the file and the place', async () => {
    const bytes = fileOf(fromEnd(0));
    bytes[1_500] = (bytes[1_500] ?? 0) ^ 1;
    const error = (await withFile(fromEnd(0), bytes)) as LogStoreCorruptError;
    expect(error.location).toMatch(/^\/disk\/\d{12}\.segment at byte \d+$/);
  });
});

describe('a segment store that is damaged while it is open', () => {
  it('refuses the reads that need the record, and no other', async () => {
    const disk = new MemoryDisk();
    const store = await SegmentLogStore.openIn(disk, { ...IDENTITY, segmentBytes: 64 * 1024 });
    await store.load();
    for (const from of [1, 4, 7]) await store.write({ groups: [{ group: 0, entries: entries(from, from + 2, 1) }] });
    const [file] = [...disk.files.values()];
    const at = file?.seen.indexOf('entry 5 of term 1') ?? 0;
    if (file !== undefined) file.seen[at] = 0;
    for (let from = 1; from <= 9; from++) {
      for (let to = from; to <= 9; to++) {
        const read = store.read(0, from, to, 1e9);
        if (to >= 4 && from <= 6) await expect(read).rejects.toThrow(LogStoreCorruptError);
        else expect(await read).toHaveLength(to - from + 1);
      }
    }
  });
});
