import fc from 'fast-check';
import { expect, it } from 'vitest';
import { GroupIndex } from '../../../shared/log-store/jetstream/group-index.js';

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
    arbitrary: fc.record({ do: fc.constant('move' as const), at: fc.nat(20), count: fc.integer({ min: 1, max: 6 }) }),
  },
);

it('knows of every entry the message that was last said to hold it', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const index = new GroupIndex();
      /** Sequence by index. */
      let model = new Map<number, number>();
      let base = 0;
      let sequence = 0;
      for (const each of steps) {
        sequence++;
        const last = Math.max(base, ...model.keys());
        if (each.do === 'append') {
          const from = Math.max(base + 1, last + 1 - each.back);
          model = new Map([...model].filter(([at]) => at < from));
          for (let at = from; at < from + each.count; at++) model.set(at, sequence);
          index.append({ from, to: from + each.count - 1, sequence, parts: 1, bytes: each.count });
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
          for (let at = from; at <= to; at++) model.set(at, sequence);
          index.move({ from, to, sequence, parts: 1, bytes: to - from + 1 });
        }
        const found = index.segments.flatMap(({ from, to, sequence: at }) =>
          Array.from({ length: to - from + 1 }, (_, i) => [from + i, at] as const),
        );
        expect(found).toEqual([...model].sort(([a], [b]) => a - b));
        expect(index.covers(base, Math.max(base, ...model.keys()))).toBe(true);
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
