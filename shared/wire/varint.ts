/**
 * Base-128 varints (the protobuf encoding specification, "Base 128 Varints") as plain numbers. The
 * low seven groups of bits take 32-bit arithmetic, those above them multiplication. Therefore
 * values up to 2^53 - 1 need neither BigInt nor Long.
 */
import { WireError } from './wire-error.js';

const TWO_28 = 2 ** 28;

/** Bytes that `value`, a safe integer >= 0, takes as a varint. */
export function varintLength(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  if (value < TWO_28) return 4;
  let length = 4;
  for (let rest = Math.floor(value / TWO_28); rest > 0; rest = Math.floor(rest / 128)) length++;
  return length;
}

/** Writes `value`, a safe integer >= 0, at `offset` and returns the offset after it. */
export function writeVarint(target: Uint8Array, offset: number, value: number): number {
  let at = offset;
  let rest = value;
  // Above 31 bits shifts would lose bits: divide until the rest fits.
  while (rest >= TWO_28) {
    target[at++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  while (rest >= 0x80) {
    target[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[at++] = rest;
  return at;
}

/** Reads varints from a region of bytes, front to back; `offset` is where the next one begins. */
export class VarintReader {
  offset = 0;
  constructor(private readonly source: Uint8Array) {}

  /**
   * The varint at `offset`, which must end before `end`.
   * @throws WireError when it does not, when it has more than ten bytes, or when it is above
   *   2^53 - 1.
   */
  next(end: number): number {
    const source = this.source;
    let at = this.offset;
    let value = 0;
    let scale = 1;
    for (let count = 0; count < 10; count++) {
      if (at >= end) throw new WireError(`a varint runs past the end at byte ${end}`);
      // Always there, since `end` lies in the source.
      const byte = source[at++] ?? 0;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) throw new WireError(`the varint at byte ${this.offset} is above 2^53 - 1`);
        this.offset = at;
        return value;
      }
      scale *= 128;
    }
    throw new WireError(`the varint at byte ${this.offset} has more than ten bytes`);
  }

  /**
   * Passes over the varint at `offset`, whatever its value. Throws WireError like `next` when it
   * does not end.
   */
  skip(end: number): void {
    const limit = Math.min(end, this.offset + 10);
    for (let at = this.offset; at < limit; at++) {
      if ((this.source[at] ?? 0) < 0x80) {
        this.offset = at + 1;
        return;
      }
    }
    throw new WireError(`the varint at byte ${this.offset} does not end`);
  }
}
