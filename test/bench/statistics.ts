/** Figures of several rounds as one: the median, and how far the rounds lie apart. */

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/**
 * Of figures in any order; with an even count the mean of the middle two. Throws RangeError when
 * there is none.
 */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('the median of nothing');
  const ascending = [...values].sort((a, b) => a - b);
  const low = ascending[Math.floor((ascending.length - 1) / 2)] ?? 0;
  const high = ascending[Math.floor(ascending.length / 2)] ?? 0;
  return (low + high) / 2;
}

/** Throws RangeError when there is no figure. */
export function spread(values: readonly number[]): Spread {
  return {
    median: significant(median(values)),
    min: significant(Math.min(...values)),
    max: significant(Math.max(...values)),
  };
}

/**
 * How many times `ours` is `theirs`, round by round: both figures of one round were measured
 * minutes apart, so that what slows the machine for longer slows both. Rounds that lack one of
 * them, or where `theirs` is 0, are left out; undefined when no round is left.
 */
export function ratio(ours: ReadonlyMap<number, number>, theirs: ReadonlyMap<number, number>): Spread | undefined {
  const quotients: number[] = [];
  for (const [round, value] of ours) {
    const other = theirs.get(round);
    if (other !== undefined && other !== 0) quotients.push(value / other);
  }
  return quotients.length === 0 ? undefined : spread(quotients);
}

/** With four significant digits: more would only pretend. */
export function significant(value: number): number {
  return Number(value.toPrecision(4));
}
