/**
 * Reading from lists that must have what is asked for. A missing item is a broken invariant: a zero
 * in its place would be a position or a watermark that no group has.
 */
import { InvariantError } from './assert.js';
import type { GroupId } from './entry.js';

/** One for every group, by its number; read with `ofGroup`. */
export type PerGroup<T> = readonly T[];

/** @throws InvariantError for a group that there is not. */
export function ofGroup<T>(all: PerGroup<T>, group: GroupId): T {
  const one = all[group];
  if (one === undefined) throw new InvariantError(`no group ${group}, of ${all.length}`);
  return one;
}

/** @throws InvariantError when the list has nothing at this place. */
export function itemAt<T>(list: ArrayLike<T>, place: number): T {
  const item = list[place];
  if (item === undefined) throw new InvariantError(`nothing at place ${place}, of ${list.length}`);
  return item;
}

/** @throws InvariantError for an empty list. */
export function lastOf<T>(list: readonly T[]): T {
  return itemAt(list, list.length - 1);
}
