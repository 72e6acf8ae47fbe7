import fc from 'fast-check';
import { expect, it } from 'vitest';
import { GroupIndex } from '../../../shared/log-store/segments/group-index.js';
import { IndexModel, step } from './index-model.js';

const SEGMENTS = 4;

it('knows of every entry the record that was last said to hold it, and what each segment still holds', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const live = new Array<number>(SEGMENTS).fill(0);
      const index = new GroupIndex((segment, bytes) => {
        live[segment] = (live[segment] ?? 0) + bytes;
      });
      const model = new IndexModel();
      let offset = 0;
      const placed = (firstIndex: number, count: number) => {
        return { firstIndex, count, segment: offset % SEGMENTS, offset, length: 10 };
      };
      for (const each of steps) {
        offset++;
        model.take(each, offset, {
          append: (from, count) => index.append(placed(from, count)),
          truncate: (from) => index.truncate(from),
          removeUpTo: (base) => index.removeUpTo(base),
          rewrite: (from, count) => index.replace(placed(from, count)),
        });
        const { base, last } = model;
        const found = index.find(base + 1, last, Number.POSITIVE_INFINITY).flatMap((place) => {
          return Array.from({ length: place.count }, (_, i) => [place.firstIndex + i, place.offset] as const);
        });
        expect(found.filter(([at]) => at > base)).toEqual(model.entries);
        expect(index.covers(base, last)).toBe(true);
        expect(index.covers(base, last + 1)).toBe(false);
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
