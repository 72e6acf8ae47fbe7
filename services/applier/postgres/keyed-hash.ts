/**
 * HalfSipHash-2-4 with 64 bits of output (Aumasson and Bernstein, "SipHash: a fast short-input
 * PRF", and its reference code) of a text as UTF-16, little-endian. Who does not know the key
 * cannot choose texts that fall together.
 */
export class KeyedHash {
  /** Of the text that was hashed last: the first 32 bits of the output, and the last (signed). */
  first = 0;
  last = 0;

  private v0 = 0;
  private v1 = 0;
  private v2 = 0;
  private v3 = 0;

  /** Two random integers of 32 bits. */
  constructor(
    private readonly key0: number,
    private readonly key1: number,
  ) {}

  update(text: string): void {
    this.v0 = this.key0;
    this.v1 = this.key1 ^ 0xee;
    this.v2 = 0x6c796765 ^ this.key0;
    this.v3 = 0x74656462 ^ this.key1;
    const { length } = text;
    const even = length & ~1;
    for (let at = 0; at < even; at += 2) this.compress(text.charCodeAt(at) | (text.charCodeAt(at + 1) << 16));
    this.compress((length << 25) | (even < length ? text.charCodeAt(even) : 0));
    this.v2 ^= 0xee;
    this.mix(4);
    this.first = this.v1 ^ this.v3;
    this.v1 ^= 0xdd;
    this.mix(4);
    this.last = this.v1 ^ this.v3;
  }

  private compress(word: number): void {
    this.v3 ^= word;
    this.mix(2);
    this.v0 ^= word;
  }

  private mix(rounds: number): void {
    let { v0, v1, v2, v3 } = this;
    for (let round = 0; round < rounds; round++) {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    }
    this.v0 = v0;
    this.v1 = v1;
    this.v2 = v2;
    this.v3 = v3;
  }
}
