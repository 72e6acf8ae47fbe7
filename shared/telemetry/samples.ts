/**
 * What services count and observe: plain numbers, so that a sample costs an addition. They are read
 * at each scrape.
 */
import { itemAt } from '../raft/lists.js';

/** Only ever grows. Counting is an addition. */
export class Counter {
  value = 0;
  add(amount = 1): void {
    this.value += amount;
  }
}

/**
 * A distribution. An observation is a few comparisons and an addition, so it may be made for each
 * command.
 */
export class Histogram {
  /**
   * For each bound the observations at or below it and above the one before; the last number has
   * those above all bounds.
   */
  readonly counts: number[];
  sum = 0;

  /** @param bounds upper bounds, ascending */
  constructor(readonly bounds: readonly number[]) {
    this.counts = new Array<number>(bounds.length + 1).fill(0);
  }

  /**
   * The same value `times` times. What is below 0, as clocks that were set make it, counts as 0.
   */
  observe(value: number, times = 1): void {
    const { bounds, counts } = this;
    let at = 0;
    while (at < bounds.length && value > itemAt(bounds, at)) at += 1;
    counts[at] = itemAt(counts, at) + times;
    if (value > 0) this.sum += value * times;
  }
}

/** Series of one metric of one service, by the values of its own labels. */
export type Series = readonly (readonly [values: readonly string[], value: number])[];

/** Series that one metric of one service may have; what comes after that counts as `other`. */
export const SERIES_MAX = 256;
const OTHER = 'other';

/**
 * Counters or histograms of one name, by the values of its labels: bounded, whatever the values
 * are.
 */
export class Family<T> {
  private readonly bySeries = new Map<string, { readonly values: readonly string[]; readonly sample: T }>();

  constructor(
    private readonly labels: number,
    private readonly create: () => T,
  ) {}

  /** The same values give the same sample again. Look it up once where it is used often. */
  of(values: readonly string[]): T {
    const known = this.bySeries.get(JSON.stringify(values));
    if (known !== undefined) return known.sample;
    if (this.bySeries.size >= SERIES_MAX) return this.add(new Array<string>(this.labels).fill(OTHER));
    return this.add(values);
  }

  *[Symbol.iterator](): Generator<readonly [values: readonly string[], sample: T]> {
    for (const { values, sample } of this.bySeries.values()) yield [values, sample];
  }

  private add(values: readonly string[]): T {
    const key = JSON.stringify(values);
    const known = this.bySeries.get(key);
    if (known !== undefined) return known.sample;
    const sample = this.create();
    this.bySeries.set(key, { values, sample });
    return sample;
  }
}
