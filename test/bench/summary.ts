/** Latencies of one run, summed up. */

export interface Summary {
  readonly count: number;
  readonly perSecond: number;
  /** Milliseconds, like those below. */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** `latenciesMs` is sorted in place. */
export function summarize(latenciesMs: Float64Array, seconds: number): Summary {
  latenciesMs.sort();
  const at = (fraction: number) =>
    latenciesMs[Math.min(latenciesMs.length - 1, Math.floor(latenciesMs.length * fraction))];
  const round = (value: number | undefined) => Math.round((value ?? 0) * 100) / 100;
  return {
    count: latenciesMs.length,
    perSecond: Math.round(latenciesMs.length / seconds),
    p50: round(at(0.5)),
    p99: round(at(0.99)),
    p999: round(at(0.999)),
    max: round(at(1)),
  };
}

/** Collects numbers without an object each. */
export class Samples {
  private values = new Float64Array(4096);
  private used = 0;

  add(value: number): void {
    if (this.used === this.values.length) {
      const larger = new Float64Array(this.used * 2);
      larger.set(this.values);
      this.values = larger;
    }
    this.values[this.used++] = value;
  }
  take(): Float64Array {
    return this.values.slice(0, this.used);
  }
  /** Forgets all of them. */
  clear(): void {
    this.used = 0;
  }
}
