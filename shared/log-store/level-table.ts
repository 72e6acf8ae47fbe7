/**
 * LevelDB's tables, read whole before LevelDB itself reads them.
 *
 * LevelDB checks the blocks of a table only when it is told to, and this binding has no switch for it: a flipped bit in
 * the keys or in the index would make it skip records, or end the process at an assertion. So a table is checked first
 * (tableDamage), by LevelDB's doc/table_format.md: blocks without a gap, each with its trailer, and a footer:
 *
 *   data blocks   filter block   metaindex   index   footer (48: handles of metaindex and index, padding, magic)
 *   trailer: compression (1: none 0, Snappy 1)   checksum (4, CRC-32C of block and compression, masked)
 */
import { uncompress } from 'snappyjs';
import { crc32c, unmaskCrc } from './checksum.js';
import { readVarint } from './level-varint.js';

const FOOTER_BYTES = 48;
const TRAILER_BYTES = 5;
const MAGIC = 0xdb47_7524_8b80_fb57n;
const SNAPPY = 1;

/** Where a block is, without its trailer. */
interface Handle {
  readonly offset: number;
  readonly size: number;
}

/** Undefined when all of the table is sound, else what is damaged. */
export function tableDamage(table: Buffer): string | undefined {
  const footer = table.length - FOOTER_BYTES;
  if (footer < 0 || table.readBigUInt64LE(table.length - 8) !== MAGIC) return 'the footer';
  const metaindex = readHandle(table, footer);
  const index = metaindex && readHandle(table, metaindex.end);
  if (!metaindex || !index) return 'the footer';
  const handles: Handle[] = [metaindex.handle, index.handle];
  for (const each of [metaindex.handle, index.handle]) {
    if (!isSound(table, each)) return `the block at byte ${each.offset}`;
    const named = readIndex(table, each);
    if (named === undefined) return `the index at byte ${each.offset}`;
    handles.push(...named);
  }
  handles.sort((a, b) => a.offset - b.offset);
  let end = 0;
  for (const handle of handles) {
    if (handle.offset !== end) return `the index, which knows of no block at byte ${end}`;
    if (!isSound(table, handle)) return `the block at byte ${handle.offset}`;
    end = handle.offset + handle.size + TRAILER_BYTES;
  }
  return end === footer ? undefined : `the index, which knows of no block at byte ${end}`;
}

function readHandle(bytes: Uint8Array, at: number): { handle: Handle; end: number } | undefined {
  const offset = readVarint(bytes, at);
  const size = offset && readVarint(bytes, offset.end);
  return offset && size && { handle: { offset: offset.value, size: size.value }, end: size.end };
}

function isSound(table: Buffer, { offset, size }: Handle): boolean {
  const end = offset + size;
  if (end + TRAILER_BYTES > table.length - FOOTER_BYTES) return false;
  return unmaskCrc(table.readUInt32LE(end + 1)) === crc32c(table.subarray(offset, end + 1));
}

/** The handles in a sound block whose values are handles; undefined when it cannot be decoded. */
function readIndex(table: Buffer, { offset, size }: Handle): Handle[] | undefined {
  const stored = table.subarray(offset, offset + size);
  const block = table[offset + size] === SNAPPY ? uncompress(stored) : stored;
  // Entries (shared key bytes, other key bytes, value bytes; key; value), then offsets of restarts, then their number.
  if (block.length < 4) return undefined;
  const restarts = new DataView(block.buffer, block.byteOffset).getUint32(block.length - 4, true);
  const entriesEnd = block.length - 4 - 4 * restarts;
  const handles: Handle[] = [];
  let at = 0;
  while (at < entriesEnd) {
    const shared = readVarint(block, at);
    const keyBytes = shared && readVarint(block, shared.end);
    const valueBytes = keyBytes && readVarint(block, keyBytes.end);
    const found = valueBytes && readHandle(block, valueBytes.end + keyBytes.value);
    if (!found) return undefined;
    handles.push(found.handle);
    at = valueBytes.end + keyBytes.value + valueBytes.value;
  }
  return at === entriesEnd ? handles : undefined;
}
