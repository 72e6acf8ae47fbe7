/** Two mergers of one server: the one that came last stays. */
import { expect, it } from 'vitest';
import { Mergers } from '../../../services/replica/mergers.js';

it('the merger that came last is fed; every earlier one is told who that is, whenever it comes again', () => {
  const mergers = new Mergers();
  expect(mergers.newerThan('a')).toBeUndefined();
  expect(mergers.newerThan('a')).toBeUndefined();
  expect(mergers.newerThan('b')).toBeUndefined();
  expect(mergers.newerThan('a')).toBe('b');
  expect(mergers.newerThan('b')).toBeUndefined();
  expect(mergers.newerThan('c')).toBeUndefined();
  expect(mergers.newerThan('a')).toBe('c');
  expect(mergers.newerThan('b')).toBe('c');
  // A merger of an older version has no name, and is in nobody's way.
  expect(mergers.newerThan('')).toBeUndefined();
  expect(mergers.newerThan('c')).toBeUndefined();
});

it('any number of restarts is remembered in a bounded place', () => {
  const mergers = new Mergers();
  for (let n = 0; n < 10_000; n++) expect(mergers.newerThan(`merger ${n}`)).toBeUndefined();
  expect((Reflect.get(mergers, 'replaced') as Set<string>).size).toBeLessThanOrEqual(64);
  expect(mergers.newerThan('merger 9998')).toBe('merger 9999');
});
