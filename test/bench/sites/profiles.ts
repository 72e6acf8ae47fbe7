/** Sites and how far they lie apart. Pure. */

export interface Profile {
  readonly name: string;
  /** Delay of one way between site i and site j (milliseconds); symmetric, 0 on the diagonal. */
  readonly delayMs: readonly (readonly number[])[];
}

/**
 * `given`: the delays of the pairs 1-2, 1-3, 2-3 (, 1-4, 2-4, 3-4 …). @throws RangeError when they
 * are no triangle.
 */
export function profileOf(name: string, given: readonly number[]): Profile {
  const sites = (1 + Math.sqrt(1 + 8 * given.length)) / 2;
  if (!Number.isInteger(sites) || sites < 2 || given.some((delay) => !(delay >= 0)))
    throw new RangeError('delays of all pairs: 1-2, 1-3, 2-3, 1-4, 2-4, 3-4 …');
  const at = (i: number, j: number): number => given[(Math.max(i, j) * (Math.max(i, j) - 1)) / 2 + Math.min(i, j)] ?? 0;
  const delayMs = Array.from({ length: sites }, (_, i) =>
    Array.from({ length: sites }, (_, j) => (i === j ? 0 : at(i, j))),
  );
  return { name, delayMs };
}

/** What the delays alone allow, for a client at `site`. */
export interface Bounds {
  readonly committed: number;
  readonly ordered: number;
  readonly applied: number;
  readonly linearizable: number;
  readonly local: number;
  readonly sync: number;
}

/**
 * `leaders`: the site of each group's leader. The client asks the nearest leader, and no message
 * takes a detour.
 */
export function boundsOf({ delayMs }: Profile, leaders: readonly number[], site: number): Bounds {
  const from = (one: number): readonly number[] => delayMs[one] ?? [];
  const way = (one: number, other: number): number => from(one)[other] ?? 0;
  /** There and back to the nearest sites that are a majority with this one. */
  const majority = (one: number): number => 2 * ([...from(one)].sort((a, b) => a - b)[delayMs.length >> 1] ?? 0);
  /** From what `leader` writes until `one` knows that a majority has it: each site tells it so. */
  const known = (leader: number, one: number): number =>
    delayMs.map((_, by) => way(leader, by) + way(by, one)).sort((a, b) => a - b)[delayMs.length >> 1] ?? 0;
  const asked = leaders.map((leader) => ({
    committed: 2 * way(site, leader) + majority(leader),
    // What the other leaders say of the time of the entry has to be known at the leader, which
    // answers.
    ordered: 2 * way(site, leader) + Math.max(majority(leader), ...leaders.map((other) => known(other, leader))),
  }));
  const committed = Math.min(...asked.map((one) => one.committed));
  const ordered = Math.min(...asked.map((one) => one.ordered));
  return { committed, ordered, applied: ordered, linearizable: majority(site), local: 0, sync: majority(site) };
}
