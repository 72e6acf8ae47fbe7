/**
 * The checker agrees with trying every order, on tiny random histories; failures print a seed that
 * replays them.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { pairAttempts } from '../../chaos/history/attempts.js';
import { operationsOf } from '../../chaos/history/operations.js';
import { search } from '../../chaos/history/search.js';
import { hasLinearization } from './brute-force.js';
import { eventsOfTimed, type Timed } from './histories.js';

const VALUES = ['a', 'b', 'c'];
const maybe = <T>(value: fc.Arbitrary<T>, nil = undefined) => fc.option(value, { nil, freq: 2 });

const shape = fc.record({
  f: fc.constantFrom('read', 'write', 'write', 'read', 'cas'),
  from: fc.integer({ min: 0, max: 12 }),
  length: fc.integer({ min: 0, max: 6 }),
  isUnknown: fc.boolean(),
  isRejected: fc.boolean(),
  ack: fc.constantFrom('applied', 'ordered', 'committed'),
  value: fc.constantFrom(...VALUES, null),
  version: maybe(fc.integer({ min: 1, max: 3 })),
  ifVersion: fc.integer({ min: 0, max: 2 }),
  timestamp: maybe(fc.integer({ min: 0, max: 9 })),
  after: maybe(fc.integer({ min: 1, max: 9 })),
});

const histories = fc
  .tuple(fc.array(shape, { minLength: 2, maxLength: 6 }), fc.boolean(), fc.boolean())
  .map(([shapes, hasUniqueValues, hasVersions]) =>
    shapes.map((one, process): Timed => {
      const { f, from, length, isUnknown, isRejected } = one;
      const common = { f, key: 'x', process, from, to: from + length } as const;
      if (f === 'read') {
        const isTold = hasVersions && one.value !== null;
        return { ...common, reply: { value: one.value, version: isTold ? one.version : undefined } };
      }
      const value = hasUniqueValues ? `${VALUES[process] ?? process}` : (one.value ?? 'a');
      const write = { ...common, value, ack: one.ack as 'applied', ifVersion: f === 'cas' ? one.ifVersion : undefined };
      if (isUnknown) return { ...write, outcome: 'unknown' };
      if (f === 'cas' && isRejected && one.ack === 'applied')
        return { ...write, outcome: 'fail', reply: { error: 'REJECTED' } };
      // Times ten and a remainder: no two writes share a timestamp.
      const timestamp = one.timestamp === undefined ? undefined : one.timestamp * 10 + process;
      const version = hasVersions && one.ack === 'applied' ? one.version : undefined;
      return {
        ...write,
        after: one.after === undefined ? undefined : one.after * 5,
        reply: { timestamp, group: 0, version },
      };
    }),
  );

it.each([false, true])('agrees with every order there is (places: %s)', (usePlaces) => {
  const found = { linearizable: 0, violation: 0 };
  fc.assert(
    fc.property(histories, (operations) => {
      const verdict = search(operationsOf(pairAttempts(eventsOfTimed(operations))), {
        usePlaces,
        configurationsMax: 1e5,
      }).verdict;
      expect(verdict).toBe(hasLinearization(operations, usePlaces) ? 'linearizable' : 'violation');
      if (verdict !== 'undecided') found[verdict] += 1;
    }),
    { numRuns: 6_000 },
  );
  // Both kinds occur, or the agreement says little.
  expect(Math.min(found.linearizable, found.violation)).toBeGreaterThan(300);
});
