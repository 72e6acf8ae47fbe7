/**
 * What lies behind the last whole batch of the newest segment: nothing, a batch that was never
 * finished, or damage. Pure.
 *
 * One write at a time is under way, and the next one begins when it is durable. So at most one
 * batch is unfinished, it was not acknowledged, and nothing was written behind it. Before a batch
 * was written its place was zeros, up to the end of the file. A crash leaves each sector of it as
 * it was before or as it should be, or (in one sector) a beginning of what it should be. By the
 * properties of records (record.ts) an unfinished batch shows zeros where a whole one cannot have
 * any. Whatever cannot be explained in this way is damage.
 *
 * Not told apart from an unfinished batch: a last batch of which a whole sector, or the very last
 * byte, has become zero.
 */
import { HEADER_BYTES, hasZeroSector, readHeader, SECTOR_BYTES } from './record.js';

export type Tail = 'empty' | 'unfinished' | 'damaged';

export interface TailPlace {
  /** Of the segment. */
  readonly id: Buffer;
  /** Offset of `bytes[0]` in the file. */
  readonly shift: number;
  /** The number that the unfinished batch would have. */
  readonly sequence: number;
}

/**
 * `bytes` from `at` on, where no whole batch begins. They reach to where nothing else can have been
 * written.
 */
export function tailOf(bytes: Buffer, at: number, { id, shift, sequence }: TailPlace): Tail {
  const end = endOfData(bytes);
  if (end <= at) return 'empty';
  const header = readHeader(bytes, at, id, at + shift);
  if (header !== undefined) {
    const batchEnd = at + header.length + header.following;
    if (header.sequence !== sequence || batchEnd > bytes.length || end > batchEnd) return 'damaged';
    return bytes[batchEnd - 1] === 0 || hasZeroSector(bytes, at, batchEnd, shift) ? 'unfinished' : 'damaged';
  }
  const sectorEnd = Math.min(bytes.length, at + SECTOR_BYTES - ((at + shift) % SECTOR_BYTES));
  // The sector with the header may be missing, while others of the batch are there.
  if (isZero(bytes, at, sectorEnd)) return hasLater(bytes, at, id, shift, sequence) ? 'damaged' : 'unfinished';
  // A beginning of the header, and nothing behind it.
  return end < at + HEADER_BYTES ? 'unfinished' : 'damaged';
}

/** Whether a record of a later batch begins behind `at`. */
function hasLater(bytes: Buffer, at: number, id: Buffer, shift: number, sequence: number): boolean {
  for (let found = bytes.indexOf(id, at); found >= 0; found = bytes.indexOf(id, found + 1)) {
    const header = readHeader(bytes, found, id, found + shift);
    if (header !== undefined && header.sequence !== sequence) return true;
  }
  return false;
}

const ZEROS = Buffer.alloc(64 * 1024);

function isZero(bytes: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at += ZEROS.length) {
    const length = Math.min(ZEROS.length, to - at);
    if (ZEROS.compare(bytes, at, at + length, 0, length) !== 0) return false;
  }
  return true;
}

/** The position after the last byte that is not zero. */
function endOfData(bytes: Buffer): number {
  let end = bytes.length;
  while (end > 0 && isZero(bytes, Math.max(0, end - ZEROS.length), end)) end = Math.max(0, end - ZEROS.length);
  while (end > 0 && bytes[end - 1] === 0) end--;
  return end;
}
