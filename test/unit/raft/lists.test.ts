import { expect, it } from 'vitest';
import { InvariantError } from '../../../shared/raft/assert.js';
import { itemAt, lastOf, ofGroup } from '../../../shared/raft/lists.js';

it('reads what belongs to a group, zeros included', () => {
  expect([ofGroup([7, 0], 0), ofGroup([7, 0], 1)]).toEqual([7, 0]);
});

it.each([2, -1, 0.5, Number.NaN])('knows no group %s of two', (group) => {
  expect(() => ofGroup([7, 0], group)).toThrow(InvariantError);
  expect(() => ofGroup([7, 0], group)).toThrow(`no group ${group}, of 2`);
});

it('reads a place of a list, and of a typed array', () => {
  expect([itemAt(['a', ''], 1), itemAt(new Uint8Array([0]), 0)]).toEqual(['', 0]);
  expect(() => itemAt(['a'], 1)).toThrow(InvariantError);
});

it('reads the last of a list, which an empty one has not', () => {
  expect(lastOf([3, 0])).toBe(0);
  expect(() => lastOf([])).toThrow(InvariantError);
});
