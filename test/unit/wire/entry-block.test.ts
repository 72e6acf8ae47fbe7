// Before the generated code, which takes its 64-bit defaults from there.
import '../../../shared/wire/protobuf.js';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EntryKind, type LogEntry } from '../../../shared/raft/entry.js';
import { blockLength, concatBlock, decodeBlock, encodeEntry, entryBody } from '../../../shared/wire/entry-block.js';
import { craft } from '../../../shared/wire/generated/craft.js';
import { protobuf } from '../../../shared/wire/protobuf.js';
import { WireError } from '../../../shared/wire/wire-error.js';

const { EntryBlock } = craft.v1;

const safeInteger = fc.oneof(
  fc.nat(300),
  fc.maxSafeNat(),
  fc.constantFrom(
    0,
    1,
    127,
    128,
    16_383,
    16_384,
    2 ** 21,
    2 ** 28 - 1,
    2 ** 28,
    2 ** 31,
    2 ** 32,
    2 ** 35,
    2 ** 53 - 1,
  ),
);
const parts = fc.record({
  term: safeInteger,
  timestamp: safeInteger,
  kind: fc.constantFrom(...Object.values(EntryKind)),
  body: fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.integer({ min: 8_000, max: 20_000 }).map((n) => new Uint8Array(n).fill(7)),
  ),
});
type Parts = typeof parts extends fc.Arbitrary<infer T> ? T : never;

const encode = (each: Parts) => encodeEntry(each.term, each.timestamp, each.kind, each.body);
const withIndex = (frames: Uint8Array[], list: Parts[], firstIndex: number): LogEntry[] =>
  list.map(({ term, timestamp, kind }, i) => ({
    index: firstIndex + i,
    term,
    timestamp,
    kind,
    bytes: frames[i] ?? new Uint8Array(),
  }));

describe('encodeEntry', () => {
  it('writes the bytes that the generated code writes', () => {
    fc.assert(
      fc.property(parts, (each) => {
        const expected = EntryBlock.encode({ entries: [each] }).finish();
        expect(Buffer.compare(encode(each), expected)).toBe(0);
      }),
      { numRuns: 2_000 },
    );
  });

  it('refuses what a varint of 53 bits cannot carry', () => {
    for (const wrong of [-1, 1.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => encodeEntry(wrong, 1, EntryKind.noOp, new Uint8Array())).toThrow(RangeError);
      expect(() => encodeEntry(1, wrong, EntryKind.noOp, new Uint8Array())).toThrow(RangeError);
    }
  });

  it('never hands out the same memory twice', () => {
    const frames = Array.from({ length: 5_000 }, (_, i) =>
      encodeEntry(i, i, EntryKind.command, Buffer.from(`body ${i}`)),
    );
    frames.forEach((bytes, i) => {
      expect(Buffer.from(entryBody({ bytes })).toString()).toBe(`body ${i}`);
    });
  });
});

describe('decodeBlock', () => {
  it('gives back what was encoded, as views of the block', () => {
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 20 }), fc.nat(1e6), (list, firstIndex) => {
        const frames = list.map(encode);
        const block = Buffer.concat(frames);
        const entries = decodeBlock(block, firstIndex);
        expect(entries.map(({ bytes, ...rest }) => rest)).toEqual(
          withIndex(frames, list, firstIndex).map(({ bytes, ...rest }) => rest),
        );
        entries.forEach((entry, i) => {
          expect(Buffer.compare(entry.bytes, frames[i] ?? Buffer.alloc(0))).toBe(0);
          expect(entry.bytes.buffer).toBe(block.buffer);
          expect(Buffer.compare(entryBody(entry), list[i]?.body ?? Buffer.alloc(0))).toBe(0);
          if (entry.bytes.length > 0) expect(entryBody(entry).buffer).toBe(block.buffer);
        });
      }),
    );
  });

  it('reads fields in any order, the last of a repeated one, and passes over unknown ones', () => {
    const entry = protobuf.Writer.create();
    entry.uint32(0x22).bytes(Buffer.from('first')).uint32(0x18).int32(3).uint32(0x10).uint64(9).uint32(0x08).uint64(4);
    entry
      .uint32((5 << 3) | 2)
      .string('unknown')
      .uint32((6 << 3) | 0)
      .int64(-1)
      .uint32((7 << 3) | 1)
      .double(1);
    entry
      .uint32((8 << 3) | 5)
      .float(1)
      .uint32(0x22)
      .bytes(Buffer.from('second'))
      .uint32(0x08)
      .uint64(5);
    const block = protobuf.Writer.create()
      .uint32((2 << 3) | 0)
      .uint32(1)
      .uint32(0x0a)
      .bytes(entry.finish())
      .finish();
    const [only, ...rest] = decodeBlock(block, 7);
    expect(rest).toEqual([]);
    expect(only).toMatchObject({ index: 7, term: 5, timestamp: 9, kind: EntryKind.command });
    expect(only && Buffer.from(entryBody(only)).toString()).toBe('second');
  });

  it.each([
    ['a tag alone', [0x0a]],
    ['a frame longer than the block', [0x0a, 0x05, 0x18, 0x01]],
    ['a length that does not end', [0x0a, 0xff, 0xff]],
    ['a varint of eleven bytes', [0x0a, 0x0e, 0x08, ...new Array(10).fill(0x80), 0x01, 0x18, 0x01]],
    ['a term of 2^53', [0x0a, 0x0b, 0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10, 0x18, 0x01]],
    ['a varint that crosses the frame', [0x0a, 0x03, 0x18, 0x01, 0x08, 0x0a, 0x02, 0x18, 0x01]],
    ['a body longer than its frame', [0x0a, 0x05, 0x18, 0x03, 0x22, 0x02, 0x61, 0x62]],
    ['no kind', [0x0a, 0x02, 0x08, 0x01]],
    ['an unknown kind', [0x0a, 0x02, 0x18, 0x04]],
    ['a term in the wrong wire type', [0x0a, 0x04, 0x0a, 0x00, 0x18, 0x01]],
    ['a frame in the wrong wire type', [0x08, 0x01]],
    ['field number zero', [0x0a, 0x04, 0x00, 0x00, 0x18, 0x01]],
    ['a group', [0x0a, 0x04, 0x2b, 0x2c, 0x18, 0x01]],
  ])('refuses %s', (_name, bytes) => {
    expect(() => decodeBlock(Uint8Array.from(bytes), 1)).toThrow(WireError);
  });

  it('on arbitrary damage throws WireError or agrees with the generated code', () => {
    const damaged = fc
      .tuple(
        fc.array(parts, { minLength: 1, maxLength: 4 }),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
        fc.nat(),
      )
      .map(([list, changes, cut]) => {
        const block = Buffer.concat(list.map((each) => encode({ ...each, body: each.body.subarray(0, 20) })));
        for (const [at, byte] of changes) block[at % block.length] = byte;
        return block.subarray(0, cut % 3 === 0 ? cut % block.length : block.length);
      });
    let accepted = 0;
    let refused = 0;
    fc.assert(
      fc.property(damaged, (block) => {
        let entries: LogEntry[];
        try {
          entries = decodeBlock(block, 1);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
          refused++;
          return;
        }
        accepted++;
        const expected = EntryBlock.decode(block).entries ?? [];
        expect(entries.map((e) => [e.term, e.timestamp, e.kind, Buffer.from(entryBody(e)).toString('hex')])).toEqual(
          expected.map((e) => [e.term, e.timestamp, e.kind, Buffer.from(e.body ?? []).toString('hex')]),
        );
      }),
      { numRuns: 5_000 },
    );
    expect(accepted).toBeGreaterThan(100);
    expect(refused).toBeGreaterThan(100);
  });
});

describe('concatBlock', () => {
  it('is the concatenation, whether adjacent in memory or not', () => {
    fc.assert(
      fc.property(
        fc.array(parts, { maxLength: 20 }),
        fc.array(fc.boolean(), { minLength: 20, maxLength: 20 }),
        (list, moved) => {
          const frames = list.map((each, i) => (moved[i] ? Buffer.from(encode(each)) : encode(each)));
          const entries = withIndex(frames, list, 1);
          const block = concatBlock(entries);
          expect(block.length).toBe(blockLength(entries));
          expect(Buffer.compare(block, Buffer.concat(frames))).toBe(0);
        },
      ),
    );
  });

  it('copies nothing when the entries lie end to end', () => {
    const block = Buffer.concat([1, 2, 3, 4].map((n) => encodeEntry(n, n, EntryKind.command, Buffer.from('body'))));
    const entries = decodeBlock(block, 1);
    const middle = concatBlock(entries.slice(1, 3));
    expect(middle.buffer).toBe(block.buffer);
    expect(middle.byteOffset).toBe(entries[1]?.bytes.byteOffset);
  });
});
