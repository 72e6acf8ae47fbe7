/**
 * The model that the indexes of both log stores are held to: which write was last said to hold each
 * entry of a group.
 */
import fc from 'fast-check';

export type Step =
  | { readonly do: 'append'; readonly back: number; readonly count: number }
  | { readonly do: 'truncate'; readonly back: number }
  | { readonly do: 'base'; readonly forward: number }
  | { readonly do: 'rewrite'; readonly at: number; readonly count: number };

export const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('append'), back: fc.nat(4), count: fc.integer({ min: 1, max: 5 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('truncate'), back: fc.nat(8) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('base'), forward: fc.nat(8) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('rewrite'), at: fc.nat(20), count: fc.integer({ min: 1, max: 6 }) }),
  },
);

/** What the index under test is told of. */
export interface Told {
  append(from: number, count: number): void;
  truncate(from: number): void;
  removeUpTo(base: number): void;
  rewrite(from: number, count: number): void;
}

export class IndexModel {
  base = 0;
  private writes = new Map<number, number>();

  /** The index of the last entry, or the base. */
  get last(): number {
    return Math.max(this.base, ...this.writes.keys());
  }

  /** Entries and the write of each, in order. */
  get entries(): [index: number, write: number][] {
    return [...this.writes].sort(([a], [b]) => a - b);
  }

  has(index: number): boolean {
    return this.writes.has(index);
  }

  /** Takes the step as that write, and tells the index. A rewrite of nothing is none. */
  take(step: Step, write: number, told: Told): void {
    const { base, last } = this;
    if (step.do === 'base') {
      this.base = Math.min(last, base + step.forward);
      this.keep((at) => at > this.base);
      told.removeUpTo(this.base);
    } else if (step.do === 'rewrite') {
      const from = base + 1 + step.at;
      const count = Math.min(last + 1 - from, step.count);
      if (count <= 0) return;
      this.write(from, count, write);
      told.rewrite(from, count);
    } else {
      const from = Math.max(base + 1, last + 1 - step.back);
      this.keep((at) => at < from);
      if (step.do === 'truncate') {
        told.truncate(from);
      } else {
        this.write(from, step.count, write);
        told.append(from, step.count);
      }
    }
  }

  private keep(isKept: (index: number) => boolean): void {
    this.writes = new Map([...this.writes].filter(([at]) => isKept(at)));
  }

  private write(from: number, count: number, write: number): void {
    for (let at = from; at < from + count; at++) this.writes.set(at, write);
  }
}
