/**
 * The only source of chance in a simulation: sfc32 (Chris Doty-Humphrey's PractRand), seeded by
 * splitmix32.
 */
export class Random {
  private a: number;
  private b: number;
  private c: number;
  private d = 1;

  /** `seed`: any integer below 2^53; `stream` separates generators of one seed. */
  constructor(
    private readonly seed: number,
    private readonly stream = 0,
  ) {
    const mixed = new SplitMix((seed ^ Math.floor(seed / 2 ** 32) ^ Math.imul(stream + 1, 0x9e3779b1)) | 0);
    this.a = mixed.next();
    this.b = mixed.next();
    this.c = mixed.next();
    for (let i = 0; i < 12; i++) this.next();
  }

  /** An independent generator: draws from one do not change what another one gives. */
  fork(stream: number): Random {
    return new Random(this.seed, this.stream * 1_009 + stream + 1);
  }

  /** Uniform in [0, 1). */
  next(): number {
    const sum = (((this.a + this.b) | 0) + this.d) | 0;
    this.d = (this.d + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = ((this.c << 21) | (this.c >>> 11)) + sum;
    this.c |= 0;
    return (sum >>> 0) / 2 ** 32;
  }

  /** Uniform integer in 0 .. below - 1. */
  below(below: number): number {
    return Math.floor(this.next() * below);
  }

  /** Uniform in [from, to). */
  between(from: number, to: number): number {
    return from + this.next() * (to - from);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(list: readonly T[]): T {
    const item = list[this.below(list.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }

  exponential(mean: number): number {
    return -mean * Math.log(1 - this.next());
  }

  shuffle<T>(list: readonly T[]): T[] {
    const result = [...list];
    for (let i = result.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const a = result[i] as T;
      result[i] = result[j] as T;
      result[j] = a;
    }
    return result;
  }
}

class SplitMix {
  constructor(private state: number) {}

  next(): number {
    this.state = (this.state + 0x9e3779b9) | 0;
    let z = this.state ^ (this.state >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z ^= z >>> 15;
    z = Math.imul(z, 0x735a2d97);
    return z ^ (z >>> 15);
  }
}
