/**
 * Running checksum over what the commands came to (T4): a handler that is not deterministic shows
 * up as a difference between servers even when the merged logs are equal. Two 32-bit lanes,
 * multiply and rotate, over the merged index and the outcome of every command; not cryptographic.
 */

import type { MergedIndex } from '../raft/entry.js';
import type { CommandOutcome } from './state-machine.js';

/** Of no commands. */
export const EMPTY_RESULTS_CHECKSUM = '0'.repeat(16);

/** In place of a failure's message: no client text has this character. */
const FAILED = '\u0000failed';

const LANE_A = 0x9e3779b1 | 0;
const LANE_B = 0x85ebca6b | 0;

export class ResultsChecksum {
  private a: number;
  private b: number;

  /** Goes on from `text`, what `toString` gave: 16 hexadecimal digits. */
  constructor(text: string = EMPTY_RESULTS_CHECKSUM) {
    if (!/^[0-9a-f]{16}$/.test(text)) throw new RangeError(`not a checksum: ${text}`);
    this.a = Number.parseInt(text.slice(0, 8), 16) | 0;
    this.b = Number.parseInt(text.slice(8), 16) | 0;
  }

  /**
   * Takes in the outcome of the command at `mergedIndex`; `original` is where it first took effect
   * (T8).
   */
  add(mergedIndex: MergedIndex, original: number, outcome: CommandOutcome): void {
    // The words of a failure may depend on the version of Node; that it has failed does not.
    const text = outcome.ok ? outcome.json : outcome.failed ? FAILED : outcome.message;
    this.word(mergedIndex | 0);
    this.word(Math.floor(mergedIndex / 2 ** 32));
    this.word(mergedIndex - original);
    this.word(text.length * 2 + (outcome.ok ? 1 : 0));
    for (let at = 0; at < text.length; at++) this.word(text.charCodeAt(at));
  }

  toString(): string {
    return hex(this.a) + hex(this.b);
  }

  private word(value: number): void {
    const a = Math.imul(this.a ^ value, LANE_A);
    this.a = ((a << 13) | (a >>> 19)) + 1;
    this.a |= 0;
    const b = Math.imul(this.b ^ this.a ^ value, LANE_B);
    this.b = (b << 17) | (b >>> 15) | 0;
  }
}

function hex(lane: number): string {
  return (lane >>> 0).toString(16).padStart(8, '0');
}
