import fc from 'fast-check';
import { expect, it } from 'vitest';
import { GroupIndex } from '../../../shared/log-store/jetstream/group-index.js';
import { IndexModel, step } from './index-model.js';

it('knows of every entry the message that was last said to hold it', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const index = new GroupIndex();
      const model = new IndexModel();
      let sequence = 0;
      const held = (from: number, count: number) => {
        return { from, to: from + count - 1, sequence, parts: 1, bytes: count };
      };
      for (const each of steps) {
        sequence++;
        model.take(each, sequence, {
          append: (from, count) => index.append(held(from, count)),
          truncate: (from) => index.truncate(from),
          removeUpTo: (base) => index.removeUpTo(base),
          rewrite: (from, count) => index.move(held(from, count)),
        });
        const { base, last } = model;
        const found = index.segments.flatMap(({ from, to, sequence: at }) =>
          Array.from({ length: to - from + 1 }, (_, i) => [from + i, at] as const),
        );
        expect(found).toEqual(model.entries);
        expect(index.covers(base, last)).toBe(true);
        const some = index.from(base + 2, base + 5, 3, 4);
        if (model.has(base + 2)) {
          expect(some[0]?.from).toBeLessThanOrEqual(base + 2);
          expect(some[0]?.to).toBeGreaterThanOrEqual(base + 2);
          expect(some.length).toBeLessThanOrEqual(4);
        } else expect(some).toEqual([]);
      }
    }),
  );
});
