/** The name that a mistyped one was probably meant to be. Pure. */
import { itemAt, lastOf } from '../../../shared/raft/lists.js';

/** Letters that may be wrong, missing, or too many, for a name of so many letters. */
const wrongMax = (length: number): number => Math.max(2, Math.floor(length / 5));

/** Undefined when none of them is near. */
export function nearest(given: string, names: readonly string[]): string | undefined {
  let best: { name: string; distance: number } | undefined;
  for (const name of names) {
    const distance = distanceOf(given, name);
    if (distance > wrongMax(name.length) || (best !== undefined && distance >= best.distance)) continue;
    best = { name, distance };
  }
  return best?.name;
}

/** Levenshtein's. */
function distanceOf(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = itemAt(row, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, itemAt(row, j) + 1, lastOf(next) + 1));
    }
    row = next;
  }
  return lastOf(row);
}
