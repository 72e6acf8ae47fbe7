/**
 * LevelDB's journal (its write-ahead log, also the format of its manifest), read before LevelDB itself reads it.
 *
 * LevelDB recovers a damaged journal by skipping what it cannot read, and this binding has no switch against that: an
 * acknowledged vote or entry would be gone without a word. So the journal is checked first (checkJournal), by
 * LevelDB's doc/log_format.md: blocks of 32 KiB, in them fragments of
 *
 *   checksum (4, CRC-32C of type and data, masked)   length (2)   type (1: full 2: first 3: middle 4: last)   data
 *
 * Only the write that was in flight at a crash may be incomplete: it was not acknowledged. Because a store gives one write
 * at a time, damage is anything else: an unreadable fragment with a later write after it, or an unreadable last write
 * that shows no sign of having been cut off.
 */
import { crc32c, unmaskCrc } from './checksum.js';

const BLOCK_BYTES = 32 * 1024;
const HEADER_BYTES = 7;
/** What a disk writes as a whole. */
const SECTOR_BYTES = 512;
/** A shorter run of zeros proves nothing. */
const ZEROS_MIN = 8;

const FULL = 1;
const FIRST = 2;
const MIDDLE = 3;
const LAST = 4;

export interface JournalRecord {
  /** Offset of its first fragment, and the one after its last. */
  readonly start: number;
  readonly end: number;
  readonly data: Uint8Array;
}

export interface Journal {
  /** The complete records before the first problem. */
  readonly records: readonly JournalRecord[];
  /** Offset of the first record that cannot be read whole; undefined when all can. */
  readonly brokenAt: number | undefined;
}

interface Fragment {
  readonly type: number;
  readonly end: number;
  readonly data: Uint8Array;
}

/** The fragment at `offset`, or undefined when there is no intact one. */
function fragmentAt(bytes: Buffer, offset: number): Fragment | undefined {
  const blockEnd = Math.min(bytes.length, offset - (offset % BLOCK_BYTES) + BLOCK_BYTES);
  if (offset + HEADER_BYTES > blockEnd) return undefined;
  const type = bytes[offset + 6] ?? 0;
  const end = offset + HEADER_BYTES + bytes.readUInt16LE(offset + 4);
  if (type < FULL || type > LAST || end > blockEnd) return undefined;
  if (!matchesChecksum(bytes, offset, end)) return undefined;
  return { type, end, data: bytes.subarray(offset + HEADER_BYTES, end) };
}

function matchesChecksum(bytes: Buffer, offset: number, end: number): boolean {
  return unmaskCrc(bytes.readUInt32LE(offset)) === crc32c(bytes.subarray(offset + 6, end));
}

/** Where the next fragment begins: the last bytes of a block are left empty when no header fits there. */
function afterTrailer(offset: number): number {
  const left = BLOCK_BYTES - (offset % BLOCK_BYTES);
  return left < HEADER_BYTES ? offset + left : offset;
}

/** Reads records up to the first that is not whole. */
export function readJournal(bytes: Buffer): Journal {
  const records: JournalRecord[] = [];
  let offset = afterTrailer(0);
  while (offset < bytes.length) {
    const start = offset;
    const parts: Uint8Array[] = [];
    for (;;) {
      const fragment = fragmentAt(bytes, offset);
      const expected = parts.length === 0 ? [FULL, FIRST] : [MIDDLE, LAST];
      if (fragment === undefined || !expected.includes(fragment.type)) return { records, brokenAt: start };
      parts.push(fragment.data);
      offset = afterTrailer(fragment.end);
      if (fragment.type === FULL || fragment.type === LAST) {
        const [only] = parts;
        records.push({ start, end: fragment.end, data: parts.length === 1 && only ? only : Buffer.concat(parts) });
        break;
      }
    }
  }
  return { records, brokenAt: undefined };
}

/**
 * Undefined when the journal is sound, else the offset of what a crash cannot explain. `mayBeTorn` says that this is the
 * journal that was being written.
 */
export function findDamage(bytes: Buffer, mayBeTorn: boolean): number | undefined {
  const { brokenAt } = readJournal(bytes);
  if (brokenAt === undefined) return undefined;
  const torn = mayBeTorn && !laterWriteExists(bytes, brokenAt) && wasCutOff(bytes, brokenAt);
  return torn ? undefined : brokenAt;
}

/** Whether a write begins after the broken one. A middle or last fragment would be of the broken one itself. */
function laterWriteExists(bytes: Buffer, brokenAt: number): boolean {
  const begins = (offset: number): boolean => {
    const type = fragmentAt(bytes, offset)?.type;
    return type === FULL || type === FIRST;
  };
  // Within the block the broken length cannot be trusted, so every offset is tried; later blocks are known to begin with a fragment.
  for (let at = brokenAt; at < bytes.length; at += BLOCK_BYTES - (at % BLOCK_BYTES)) {
    const block = Math.min(bytes.length, at - (at % BLOCK_BYTES) + BLOCK_BYTES);
    let offset = at === brokenAt ? at + 1 : at;
    const intact = fragmentAt(bytes, offset);
    if (at !== brokenAt && intact !== undefined && intact.type !== FULL && intact.type !== FIRST) offset = intact.end;
    for (; offset + HEADER_BYTES <= block; offset++) if (begins(offset)) return true;
  }
  return false;
}

/** Whether the write from `brokenAt` to the end of the file was not finished: it ends early, or sectors never arrived. */
function wasCutOff(bytes: Buffer, brokenAt: number): boolean {
  let offset = brokenAt;
  for (;;) {
    const fragment = fragmentAt(bytes, offset);
    if (fragment === undefined) break;
    offset = afterTrailer(fragment.end);
    if (offset >= bytes.length) return true;
  }
  if (offset + HEADER_BYTES > bytes.length) return true;
  const end = offset + HEADER_BYTES + bytes.readUInt16LE(offset + 4);
  const blockEnd = offset - (offset % BLOCK_BYTES) + BLOCK_BYTES;
  // It says that it goes on past the end of the file: cut off, unless it is complete and only its length is damaged.
  if (end > bytes.length && end <= blockEnd) return !matchesChecksum(bytes, offset, bytes.length);
  return hasEmptySector(bytes, brokenAt);
}

function hasEmptySector(bytes: Buffer, from: number): boolean {
  for (let at = from; at < bytes.length; at += SECTOR_BYTES - (at % SECTOR_BYTES)) {
    const sector = bytes.subarray(at, at - (at % SECTOR_BYTES) + SECTOR_BYTES);
    if (sector.length >= ZEROS_MIN && sector.every((byte) => byte === 0)) return true;
  }
  return false;
}
