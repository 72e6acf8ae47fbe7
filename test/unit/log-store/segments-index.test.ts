import fc from 'fast-check';
import { expect, it } from 'vitest';
import { GroupIndex } from '../../../shared/log-store/segments/group-index.js';

const SEGMENTS = 4;

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('append' as const),
      back: fc.nat(4),
      count: fc.integer({ min: 1, max: 5 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('truncate' as const), back: fc.nat(8) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('base' as const), forward: fc.nat(8) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('replace' as const),
      at: fc.nat(20),
      count: fc.integer({ min: 1, max: 6 }),
    }),
  },
);

it('knows of every entry the record that was last said to hold it, and what each segment still holds', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const live = new Array<number>(SEGMENTS).fill(0);
      const index = new GroupIndex((segment, bytes) => {
        live[segment] = (live[segment] ?? 0) + bytes;
      });
      /** Offset of its record by index. */
      let model = new Map<number, number>();
      let base = 0;
      let offset = 0;
      const placed = (firstIndex: number, count: number) => {
        return { firstIndex, count, segment: offset % SEGMENTS, offset, length: 10 };
      };
      for (const each of steps) {
        offset++;
        const last = Math.max(base, ...model.keys());
        if (each.do === 'append') {
          const from = Math.max(base + 1, last + 1 - each.back);
          model = new Map([...model].filter(([at]) => at < from));
          for (let at = from; at < from + each.count; at++) model.set(at, offset);
          index.append(placed(from, each.count));
        } else if (each.do === 'truncate') {
          const from = Math.max(base + 1, last + 1 - each.back);
          model = new Map([...model].filter(([at]) => at < from));
          index.truncate(from);
        } else if (each.do === 'base') {
          base = Math.min(last, base + each.forward);
          model = new Map([...model].filter(([at]) => at > base));
          index.removeUpTo(base);
        } else if (base + 1 + each.at <= last) {
          const from = base + 1 + each.at;
          const to = Math.min(last, from + each.count - 1);
          for (let at = from; at <= to; at++) model.set(at, offset);
          index.replace(placed(from, to - from + 1));
        }
        const end = Math.max(base, ...model.keys());
        const found = index.find(base + 1, end, Number.POSITIVE_INFINITY).flatMap((place) => {
          return Array.from({ length: place.count }, (_, i) => [place.firstIndex + i, place.offset] as const);
        });
        expect(found.filter(([at]) => at > base)).toEqual([...model].sort(([a], [b]) => a - b));
        expect(index.covers(base, end)).toBe(true);
        expect(index.covers(base, end + 1)).toBe(false);
        for (let segment = 0; segment < SEGMENTS; segment++) {
          expect(live[segment]).toBe(10 * index.inSegment(segment).length);
        }
        const [one, ...more] = index.find(base + 2, base + 9, 15);
        if (model.has(base + 2)) {
          expect((one?.firstIndex ?? 0) <= base + 2 && (one?.firstIndex ?? 0) + (one?.count ?? 0) > base + 2).toBe(
            true,
          );
          expect(more.length).toBeLessThanOrEqual(2);
        } else expect(one).toBeUndefined();
      }
    }),
    { numRuns: 60 },
  );
});

it('sees a gap', () => {
  const index = new GroupIndex(() => undefined);
  index.append({ firstIndex: 1, count: 2, segment: 1, offset: 0, length: 10 });
  index.append({ firstIndex: 4, count: 2, segment: 1, offset: 10, length: 10 });
  expect(index.covers(0, 5)).toBe(false);
  index.removeUpTo(3);
  expect(index.covers(3, 5)).toBe(true);
});
