import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BatchBuffer } from '../../../shared/log-store/segments/batch.js';
import { entriesOf, readGroup, readServer } from '../../../shared/log-store/segments/payload.js';
import { hasZeroSector, RecordKind } from '../../../shared/log-store/segments/record.js';
import { batchAt } from '../../../shared/log-store/segments/replay.js';
import { tailOf } from '../../../shared/log-store/segments/tail.js';
import { encodeEntry } from '../../../shared/wire/entry-block.js';

const ID = randomBytes(8);
const FILE_BYTES = 16 * 1024;
const number = fc.nat(Number.MAX_SAFE_INTEGER - 1);
const position = fc.record({ index: number, term: number, timestamp: number });

const write = fc.record({
  group: fc.nat(300),
  hardState: fc.option(
    fc.record({ term: number, commitIndex: number, votedFor: fc.option(fc.string({ unit: 'grapheme' })) }),
    { nil: undefined },
  ),
  configurations: fc.option(
    fc.array(fc.record({ voters: fc.array(fc.string()), learners: fc.constant([]), index: number, term: number }), {
      minLength: 1,
    }),
    { nil: undefined },
  ),
  base: fc.option(position, { nil: undefined }),
  truncateFrom: fc.option(fc.integer({ min: 1 }), { nil: undefined }),
  bodies: fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 4 }),
});

/** A file with one batch at `offset`. */
function fileWith(buffer: BatchBuffer, offset: number, sequence = 7): Buffer {
  const file = Buffer.alloc(FILE_BYTES);
  buffer.seal(ID, offset, sequence).copy(file, offset);
  return file;
}

/** A batch of one record with this body. */
function batchOf(body: Uint8Array): BatchBuffer {
  const buffer = new BatchBuffer();
  buffer.clear();
  const entry = { index: 1, term: 1, timestamp: 1, kind: 3 as const, bytes: encodeEntry(1, 1, 3, body) };
  buffer.addGroup({ group: 0, entries: [entry] });
  return buffer;
}

describe('a batch', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(
        fc.array(write, { minLength: 1, maxLength: 4 }),
        fc.option(number, { nil: undefined }),
        (writes, promiseLimit) => {
          const buffer = new BatchBuffer();
          buffer.clear();
          buffer.addServer({ promiseLimit, dropped: [3, 900] });
          const groups = writes.map(({ bodies, ...rest }) => {
            const entries = bodies.map((body, i) => {
              return {
                index: 11 + i,
                term: 2,
                timestamp: 5 + i,
                kind: 3 as const,
                bytes: encodeEntry(2, 5 + i, 3, body),
              };
            });
            return {
              rest: Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined)),
              entries,
            };
          });
          for (const { rest, entries } of groups) buffer.addGroup({ group: 0, ...rest, entries });
          const records = batchAt(fileWith(buffer, 1_024), 1_024, ID, 7) ?? [];
          expect(records.map(({ kind }) => kind)).toEqual([RecordKind.server, ...groups.map(() => RecordKind.group)]);
          expect(readServer(records[0]?.payload ?? Buffer.alloc(0))).toEqual({ promiseLimit, dropped: [3, 900] });
          for (const [at, { rest, entries }] of groups.entries()) {
            const { write: found, block } = readGroup(records[at + 1]?.payload ?? Buffer.alloc(0));
            expect(found).toEqual(rest);
            const list = block === undefined ? [] : entriesOf(block);
            expect(list.map(({ index, bytes }) => [index, Buffer.from(bytes)])).toEqual(
              entries.map(({ index, bytes }) => [index, Buffer.from(bytes)]),
            );
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it('is not one of another segment, at another place, or with another number', () => {
    const file = fileWith(batchOf(randomBytes(700)), 64);
    expect(batchAt(file, 64, ID, 7)).toBeDefined();
    expect(batchAt(file, 64, randomBytes(8), 7)).toBeUndefined();
    expect(batchAt(file, 64, ID, 8)).toBeUndefined();
    const moved = Buffer.concat([Buffer.alloc(32), file]);
    expect(batchAt(moved, 96, ID, 7)).toBeUndefined();
  });

  it('has no sector of zeros, whatever is in it, and gives it back', () => {
    for (const length of [1_100, 5_000, 9_000]) {
      for (const offset of [0, 32, 480, 512]) {
        const file = fileWith(batchOf(new Uint8Array(length)), offset);
        const [record] = batchAt(file, offset, ID, 7) ?? [];
        expect(record).toBeDefined();
        expect(hasZeroSector(file, offset, offset + (record?.length ?? 0), 0)).toBe(false);
        const { block } = readGroup(record?.payload ?? Buffer.alloc(0));
        expect(block?.bytes.subarray(-1_000).every((byte) => byte === 0)).toBe(true);
      }
    }
  });
});

describe('the tail of a segment', () => {
  const place = { id: ID, shift: 0, sequence: 7 };
  const AT = 480;

  it('is empty when it is zeros', () => {
    expect(tailOf(Buffer.alloc(FILE_BYTES), AT, place)).toBe('empty');
  });

  it.each([
    ['text', randomBytes(2_000)],
    ['zeros', new Uint8Array(2_000)],
  ])('is an unfinished batch of %s when it was torn, at any byte', (_name, body) => {
    const buffer = batchOf(body);
    for (let length = 1; length < buffer.length; length++) {
      const file = fileWith(buffer, AT).fill(0, AT + length);
      // The id is random: what is there of the batch may be zeros.
      const isZero = file.subarray(AT, AT + length).every((byte) => byte === 0);
      expect(tailOf(file, AT, place), `torn at ${length}`).toBe(isZero ? 'empty' : 'unfinished');
    }
  });

  it.each([
    ['text', randomBytes(2_000)],
    ['zeros', new Uint8Array(2_000)],
  ])('is damaged when a whole batch of %s has a bit flipped, wherever', (_name, body) => {
    const buffer = batchOf(body);
    for (let at = AT; at < AT + buffer.length; at++) {
      const file = fileWith(buffer, AT);
      file[at] = (file[at] ?? 0) ^ (1 << (at % 8));
      expect(batchAt(file, AT, ID, 7), `byte ${at}`).toBeUndefined();
      expect(tailOf(file, AT, place), `byte ${at}`).toBe('damaged');
    }
  });

  it('is damaged when another batch follows one that is not whole', () => {
    const [first, second] = [batchOf(randomBytes(900)), batchOf(randomBytes(900))];
    for (const [from, to] of [
      [0, 32],
      [32, 544],
      [0, first.length],
    ] as const) {
      const file = fileWith(first, AT);
      second.seal(ID, AT + first.length, 8).copy(file, AT + first.length);
      file.fill(0, AT + from, AT + to);
      expect(tailOf(file, AT, place), `${from} to ${to}`).toBe('damaged');
    }
  });

  it('is damaged when there is anything behind it', () => {
    const file = fileWith(batchOf(randomBytes(900)), AT).fill(0, AT + 300);
    expect(tailOf(file, AT, place)).toBe('unfinished');
    file[FILE_BYTES - 1] = 1;
    expect(tailOf(file, AT, place)).toBe('damaged');
  });
});
