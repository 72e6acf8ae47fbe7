/**
 * Running checksum over the merged log (T4): two 32-bit lanes in the manner of MurmurHash3's
 * mixing, fed with each entry's group, index and bytes. Not cryptographic: it is there to notice
 * accidents, at about a nanosecond a byte.
 */
import type { GroupId, LogIndex } from '../raft/entry.js';

const LANE_A = 0xcc9e2d51 | 0;
const LANE_B = 0x1b873593 | 0;

function mix(hash: number, word: number, multiplier: number): number {
  let value = Math.imul(word, multiplier);
  value = (value << 15) | (value >>> 17);
  let next = hash ^ Math.imul(value, multiplier ^ 0x5bd1e995);
  next = (next << 13) | (next >>> 19);
  return (Math.imul(next, 5) + 0xe6546b64) | 0;
}

export class RunningChecksum {
  private a: number;
  private b: number;

  /**
   * Goes on from `text`, what `toString` gave: 16 hexadecimal digits; the empty log has 16 zeros.
   */
  constructor(text: string = EMPTY_CHECKSUM) {
    if (!/^[0-9a-f]{16}$/.test(text)) throw new RangeError(`not a checksum: ${text}`);
    this.a = Number.parseInt(text.slice(0, 8), 16) | 0;
    this.b = Number.parseInt(text.slice(8), 16) | 0;
  }

  /** Takes in one entry of the merged log. */
  add(group: GroupId, index: LogIndex, bytes: Uint8Array): void {
    this.word(group);
    this.word(index | 0);
    this.word(Math.floor(index / 2 ** 32));
    this.word(bytes.length);
    const whole = bytes.length & ~3;
    for (let i = 0; i < whole; i += 4) {
      // Within bounds by the loop's condition; `| 0` also turns the type's undefined away.
      this.word(
        (bytes[i] as number) |
          ((bytes[i + 1] as number) << 8) |
          ((bytes[i + 2] as number) << 16) |
          ((bytes[i + 3] as number) << 24) |
          0,
      );
    }
    let rest = 0;
    for (let i = whole; i < bytes.length; i++) rest = (rest << 8) | (bytes[i] as number);
    this.word(rest);
  }

  toString(): string {
    return hex(this.a) + hex(this.b);
  }

  private word(value: number): void {
    this.a = mix(this.a, value, LANE_A);
    this.b = mix(this.b ^ this.a, value, LANE_B);
  }
}

export const EMPTY_CHECKSUM = '0'.repeat(16);

function hex(lane: number): string {
  return (lane >>> 0).toString(16).padStart(8, '0');
}
