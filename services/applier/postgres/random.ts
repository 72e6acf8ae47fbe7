/**
 * The only randomness a handler may use: the same sequence on every server, for every run of the
 * same entry.
 */
import type { MergedIndex, Timestamp } from '../../../shared/raft/entry.js';

/**
 * Uniform in [0, 1), 32 bits, from a SplitMix-style generator seeded with the entry's merged index
 * and timestamp.
 */
export function seededRandom(mergedIndex: MergedIndex, timestamp: Timestamp): () => number {
  let state = 0x243f6a88;
  for (const word of [mergedIndex, Math.floor(mergedIndex / 2 ** 32), timestamp, Math.floor(timestamp / 2 ** 32)]) {
    state = scramble(state ^ (word | 0));
  }
  return () => {
    state = (state + 0x9e3779b9) | 0;
    return (scramble(state) >>> 0) / 2 ** 32;
  };
}

/**
 * The finaliser of MurmurHash3: every bit of the input changes every bit of the output with
 * probability one half.
 */
function scramble(word: number): number {
  let mixed = word ^ (word >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
