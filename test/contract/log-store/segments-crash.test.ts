/**
 * Every crash of a segment store, after each operation on the disk. Each name that was not synced
 * is there or not. The write under way is torn at every byte, or some of its sectors are missing.
 * What was acknowledged must be there, batches whole or not at all, and no crash may be taken for
 * damage.
 */
import { describe, expect, it } from 'vitest';
import { LogStoreWriteError, type WriteBatch } from '../../../shared/log-store/port.js';
import { RecordKind } from '../../../shared/log-store/segments/record.js';
import { SegmentLogStore } from '../../../shared/log-store/segments/store.js';
import { encodeEntry } from '../../../shared/wire/entry-block.js';
import { MemoryDisk, type MemoryDiskOptions, type Operation, type Part } from './memory-disk.js';
import { batchOf, dumpStore, entries, Model, position, randomOf } from './model.js';
import { IDENTITY } from './subject.js';

/** So small that a run begins many segments. */
const OPTIONS = { ...IDENTITY, segmentBytes: 4_096 };

type NextBatch = (n: number, model: Model) => WriteBatch;

/** The batches of a run, and the state after each. The promise limit of each is its number. */
class Run {
  readonly states: object[] = [new Model().dump()];
  readonly #batches: WriteBatch[] = [];

  /** `writes` of them are done; there are some more, to go on with. */
  constructor(
    readonly writes: number,
    next: NextBatch,
  ) {
    const model = new Model();
    for (let n = 1; n <= writes + 3; n++) {
      const batch = next(n, model);
      this.#batches.push(batch);
      this.states.push(model.apply(batch).dump());
    }
  }

  batch(n: number): WriteBatch {
    const batch = this.#batches[n - 1];
    if (batch === undefined) throw new RangeError(`no batch ${n}`);
    return batch;
  }
}

/** Every third batch has bodies of zeros, as a sector that was never written has. */
const mixed =
  (seed: number, bytes: number): NextBatch =>
  (n, model) => {
    const batch = batchOf(seed, n, model, IDENTITY.groups, bytes);
    return n % 3 === 0 ? withZeros(batch) : batch;
  };

/** Every group is written and compacted, so that segments are dropped after a few writes. */
const steady: NextBatch = (n) => ({
  promiseLimit: n,
  groups: [0, 1].map((group) => ({
    group,
    hardState: { term: 1, votedFor: `s${n}`, commitIndex: n - 1 },
    entries: entries(n, n, 1, 'x'.repeat(150)),
    ...(n > 2 && { base: position(n - 2, 1) }),
  })),
});

/**
 * Group 0 is written and compacted all the time; what the others have lies in old segments until it
 * is carried.
 */
const uneven: NextBatch = (n) => {
  const seldom = n % 9 === 1 ? [1, 2].map((group) => ({ group, entries: entries((n + 8) / 9, (n + 8) / 9, 1) })) : [];
  const often = { group: 0, entries: entries(n, n, 1, 'x'.repeat(700)), ...(n > 2 && { base: position(n - 2, 1) }) };
  return { promiseLimit: n, groups: [often, ...seldom] };
};

function withZeros({ groups, ...more }: WriteBatch): WriteBatch {
  return {
    ...more,
    groups: groups.map(({ entries = [], ...write }) => ({
      ...write,
      entries: entries.map(({ bytes, ...entry }) => {
        const body = Buffer.alloc(bytes.length);
        return { ...entry, bytes: encodeEntry(entry.term, entry.timestamp, entry.kind, body) };
      }),
    })),
  };
}

/** A moment at which everything may stop: before `operation`, or in it. */
interface Moment {
  readonly disk: MemoryDisk;
  readonly operation: Operation;
  readonly acknowledged: number;
  readonly given: number;
}

/**
 * Does the writes of a run from where the disk stands, and notes each moment. The disks in them are
 * copies.
 */
async function momentsOf(run: Run, from: MemoryDisk, defects: MemoryDiskOptions = {}): Promise<Moment[]> {
  const moments: Moment[] = [];
  let [acknowledged, given] = [0, 0];
  const disk: MemoryDisk = from.killed({
    ...defects,
    onOperation: (operation) => {
      const copy = disk.killed({});
      moments.push({ disk: copy, operation: inCopy(disk, copy, operation), acknowledged, given });
    },
  });
  const store = await SegmentLogStore.openIn(disk, OPTIONS);
  acknowledged = given = (await store.load()).promiseLimit;
  for (given++; given <= run.writes; given++) {
    await store.write(run.batch(given));
    acknowledged = given;
  }
  await store.close();
  return moments;
}

/** The operation as one on the copy of the disk. */
function inCopy(from: MemoryDisk, to: MemoryDisk, operation: Operation): Operation {
  if (operation.type !== 'write') return operation;
  const [name = ''] = [...from.files].find(([, inode]) => inode === operation.inode) ?? [];
  const inode = to.files.get(name);
  return inode === undefined ? { type: 'sync folder', name: '' } : { ...operation, inode };
}

/**
 * Each disk that a power failure at this moment may leave, with `part` of the write under way, and
 * what the next process finds after a kill.
 */
function disksAt({ disk, operation }: Moment, part: Part): MemoryDisk[] {
  const write = operation.type === 'write' ? operation : undefined;
  return [...disk.powerFailures({}, write, part), disk.killed({}, write, part)];
}

/** Opens what is left, and looks at all of it. */
async function lookAt(disk: MemoryDisk, run: Run): Promise<{ store: SegmentLogStore; last: number }> {
  const store = await SegmentLogStore.openIn(disk, OPTIONS);
  const loaded = await store.load();
  expect(await dumpStore(store, loaded)).toEqual(run.states[loaded.promiseLimit]);
  return { store, last: loaded.promiseLimit };
}

async function expectSound(disk: MemoryDisk, run: Run, { acknowledged, given }: Moment): Promise<void> {
  const { store, last } = await lookAt(disk, run);
  expect(last).toBeGreaterThanOrEqual(acknowledged);
  expect(last).toBeLessThanOrEqual(given);
  // What was given out stays, also when the machine fails right after.
  for (const again of disk.powerFailures({})) expect((await lookAt(again, run)).last).toBe(last);
  await store.write(run.batch(last + 1));
  for (const again of disk.powerFailures({})) expect((await lookAt(again, run)).last).toBe(last + 1);
}

/** The kind is at byte 26 of a record. */
const isCarrying = (operation: Operation): boolean =>
  operation.type === 'write' && operation.bytes[26] === RecordKind.carried;

const lengthOf = ({ operation }: Moment): number => (operation.type === 'write' ? operation.bytes.length : 0);

const someSectors = (seed: number): Part => {
  const random = randomOf(seed);
  return { sectors: () => random() < 0.6 };
};

describe('a segment store that crashes', () => {
  it('keeps what was acknowledged, with the write under way torn at any byte', async () => {
    const run = new Run(13, steady);
    const moments = await momentsOf(run, new MemoryDisk());
    const types = new Set(moments.map(({ operation }) => operation.type));
    expect([...types].sort()).toEqual(['create', 'remove', 'rename', 'sync', 'sync folder', 'write']);
    for (const moment of moments) {
      for (let bytes = 0; bytes <= lengthOf(moment); bytes++) {
        const disks = disksAt(moment, { bytes });
        for (const disk of bytes % 4 === 0 ? disks : disks.slice(0, 1)) {
          // To go on from there takes longer than to look.
          if (bytes % 32 === 0) {
            await expectSound(disk, run, moment);
            continue;
          }
          const { last } = await lookAt(disk, run);
          expect(last === moment.acknowledged || last === moment.given).toBe(true);
        }
      }
    }
  }, 240_000);

  it.each([1, 2])(
    'keeps it with any sectors missing, also of zeros, seed %i',
    async (seed) => {
      const run = new Run(20, mixed(seed, 2_500));
      for (const [at, moment] of (await momentsOf(run, new MemoryDisk())).entries()) {
        const bytes = Math.floor(randomOf(seed * 1_000 + at)() * (lengthOf(moment) + 1));
        for (const part of [{ bytes }, someSectors(seed * 7_919 + at)]) {
          for (const disk of disksAt(moment, part)) await expectSound(disk, run, moment);
        }
      }
    },
    240_000,
  );

  it('keeps it while entries are carried out of old segments', async () => {
    const run = new Run(45, uneven);
    const moments = await momentsOf(run, new MemoryDisk());
    expect(moments.some(({ operation }) => isCarrying(operation))).toBe(true);
    for (const [at, moment] of moments.entries()) {
      for (const disk of disksAt(moment, someSectors(at))) await expectSound(disk, run, moment);
    }
  }, 240_000);

  it.each([1, 2])(
    'keeps it when it crashes again while it opens, seed %i',
    async (seed) => {
      const run = new Run(8, mixed(seed, 900));
      for (const [at, first] of (await momentsOf(run, new MemoryDisk())).entries()) {
        for (const left of disksAt(first, someSectors(seed * 7_919 + at))) {
          const { last } = await lookAt(left.killed({}), run);
          const opening = (await momentsOf(run, left)).slice(0, 12);
          for (const [then, moment] of opening.entries()) {
            const bytes = Math.floor(randomOf(at * 1_000 + then)() * (lengthOf(moment) + 1));
            for (const disk of disksAt(moment, { bytes })) {
              const again = await lookAt(disk, run);
              expect(again.last).toBeGreaterThanOrEqual(Math.max(moment.acknowledged, first.acknowledged));
              if (moment.given === 0) expect(again.last).toBeLessThanOrEqual(Math.max(last, first.given));
            }
          }
        }
      }
    },
    240_000,
  );

  it.each<[string, MemoryDiskOptions]>([
    ['does not sync files', { ignoresFileSync: true }],
    ['does not sync names', { ignoresFolderSync: true }],
  ])('shows it on a disk that %s, so these tests would', async (_name, defects) => {
    const run = new Run(18, mixed(2, 60));
    const outcomes: unknown[] = [];
    for (const moment of await momentsOf(run, new MemoryDisk(), defects)) {
      for (const disk of moment.disk.powerFailures({})) {
        const found = await lookAt(disk, run).catch((error: unknown) => error);
        if (found instanceof Error) outcomes.push(found);
        else if ((found as { last: number }).last < moment.acknowledged) outcomes.push('lost');
      }
    }
    expect(outcomes.length).toBeGreaterThan(0);
  });
});

describe('a segment store whose disk fails', () => {
  const KINDS = ['create', 'sync', 'rename', 'sync folder', 'write'] as const;

  it.each([1, 2])(
    'rejects, shows nothing of it, and goes on, seed %i',
    async (seed) => {
      const run = new Run(40, mixed(seed, 700));
      const random = randomOf(seed);
      let failures = 0;
      let isFailing = false;
      const disk: MemoryDisk = new MemoryDisk({
        onOperation: (operation) => {
          if (!isFailing || random() > 0.5 || !KINDS.some((kind) => kind === operation.type)) return;
          failures++;
          // The sync failed: what was written can be read, and some of it is on the disk, or none.
          if (operation.type === 'write')
            disk.writeInPart(operation, random() < 0.5 ? someSectors(failures) : { bytes: 0 });
          throw new LogStoreWriteError('the disk fails');
        },
      });
      let store = await SegmentLogStore.openIn(disk, OPTIONS);
      await store.load();
      for (let n = 1; n <= run.writes; ) {
        isFailing = random() < 0.4;
        const written = await store.write(run.batch(n)).then(
          () => true,
          (error: unknown) => {
            expect(error).toBeInstanceOf(LogStoreWriteError);
            return false;
          },
        );
        if (written) n++;
        isFailing = false;
        const given = written ? n - 1 : n;
        const moment = { disk, operation: { type: 'list' as const, name: '' }, acknowledged: n - 1, given };
        for (const left of [...disk.powerFailures({}), disk.killed({})]) await expectSound(left, run, moment);
        if (random() < 0.1) {
          await store.close();
          store = await SegmentLogStore.openIn(disk, OPTIONS);
          const { promiseLimit } = await store.load();
          expect(promiseLimit).toBe(n - 1);
        }
      }
      await store.close();
      expect(failures).toBeGreaterThan(5);
      expect((await lookAt(disk, run)).last).toBe(run.writes);
    },
    240_000,
  );

  it('does not let another batch make one count that failed', async () => {
    const run = new Run(3, mixed(7, 100));
    let fails = false;
    const disk: MemoryDisk = new MemoryDisk({
      onOperation: (operation) => {
        if (!fails || operation.type !== 'write') return;
        fails = false;
        disk.writeInPart(operation, { bytes: operation.bytes.length });
        throw new LogStoreWriteError('the sync fails');
      },
    });
    const store = await SegmentLogStore.openIn(disk, OPTIONS);
    await store.load();
    await store.write(run.batch(1));
    fails = true;
    await expect(store.write(run.batch(2))).rejects.toThrow(LogStoreWriteError);
    const other: WriteBatch = { groups: [], promiseLimit: 77 };
    await store.write(other);
    for (const left of disk.powerFailures({})) {
      const again = await SegmentLogStore.openIn(left, OPTIONS);
      const loaded = await again.load();
      const expected = { ...run.states[1], promiseLimit: 77 };
      expect(await dumpStore(again, loaded)).toEqual(expected);
    }
  });
});
