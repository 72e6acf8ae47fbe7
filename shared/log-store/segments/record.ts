/**
 * The record of a segment file: what it looks like as bytes, and how it is checked. Pure.
 *
 *   id (8)   offset (4)   length (4)   following (4)   sequence (6)   kind (1)   mask (1)   CRC-32 of these (4)
 *   CRC-32 of what comes behind it, begun with the one before (4)   payload   fill (1 to 32 bytes, 0x5a)
 *
 * `id` is the random id of the segment and `offset` the place in it, so that stale bytes, or those
 * of another file, can never pass for a record. `following` counts the bytes of the same batch
 * behind this record: a batch is there when the record with `following` 0 is. All numbers are
 * little-endian.
 *
 * Three properties let tail.ts tell a record that was never finished from one that is damaged. A
 * header lies within one sector. The last byte of a record is not zero. No sector that a record
 * fills is all zeros: a payload that has one is masked.
 */

import { crc32 } from 'node:zlib';
import { itemAt } from '../../raft/lists.js';

/**
 * Records begin and end at multiples of this, so that a header never lies across a border of
 * sectors.
 */
const ALIGNMENT = 32;
/** What a disk writes as a whole; larger sectors are several of these. */
export const SECTOR_BYTES = 512;
export const ID_BYTES = 8;
export const HEADER_BYTES = 32;
/** Header and checksum: the payload begins after them. */
export const PAYLOAD_AT = HEADER_BYTES + 4;
const CRC_AT = 28;
const FILL = 0x5a;
const ZERO_SECTOR = Buffer.alloc(SECTOR_BYTES);

export const RecordKind = { checkpoint: 1, server: 2, group: 3, carried: 4, end: 5 } as const;
export type RecordKind = (typeof RecordKind)[keyof typeof RecordKind];

export interface RecordHeader {
  readonly kind: number;
  /** Number of the batch. */
  readonly sequence: number;
  /** Place in the file, and length with header and fill. */
  readonly offset: number;
  readonly length: number;
  readonly following: number;
  readonly mask: number;
}

/** Length of a record with a payload of so many bytes. */
export function recordLength(payloadBytes: number): number {
  return (PAYLOAD_AT + payloadBytes + ALIGNMENT) & ~(ALIGNMENT - 1);
}

/**
 * Completes the record at `at` of `bytes`, which holds its payload already, with fill up to
 * `header.length`. `header.mask` is chosen here.
 */
export function sealRecord(bytes: Buffer, at: number, payloadBytes: number, id: Buffer, header: RecordHeader): void {
  const end = at + header.length;
  bytes.fill(FILL, at + PAYLOAD_AT + payloadBytes, end);
  id.copy(bytes, at);
  bytes.writeUInt32LE(header.offset, at + 8);
  bytes.writeUInt32LE(header.length, at + 12);
  bytes.writeUInt32LE(header.following, at + 16);
  bytes.writeUIntLE(header.sequence, at + 20, 6);
  bytes[at + 26] = header.kind;
  const shift = header.offset - at;
  let mask = 0;
  while (mask < 255 && hasZeroSector(bytes, at, end, shift)) {
    if (mask > 0) applyMask(bytes, at, end, mask);
    mask++;
    applyMask(bytes, at, end, mask);
  }
  bytes[at + 27] = mask;
  const headerCrc = crc32(bytes.subarray(at, at + CRC_AT));
  bytes.writeUInt32LE(headerCrc, at + CRC_AT);
  bytes.writeUInt32LE(crc32(bytes.subarray(at + PAYLOAD_AT, end), headerCrc), at + HEADER_BYTES);
}

/**
 * The header at `at` of `bytes`, which should be at `offset` of the segment `id`; undefined when
 * there is no intact one.
 */
export function readHeader(bytes: Buffer, at: number, id: Buffer, offset: number): RecordHeader | undefined {
  if (at + HEADER_BYTES > bytes.length || id.compare(bytes, at, at + ID_BYTES) !== 0) return undefined;
  if (crc32(bytes.subarray(at, at + CRC_AT)) !== bytes.readUInt32LE(at + CRC_AT)) return undefined;
  const header = {
    kind: bytes.readUInt8(at + 26),
    sequence: bytes.readUIntLE(at + 20, 6),
    offset: bytes.readUInt32LE(at + 8),
    length: bytes.readUInt32LE(at + 12),
    following: bytes.readUInt32LE(at + 16),
    mask: bytes.readUInt8(at + 27),
  };
  return header.offset === offset && header.length > PAYLOAD_AT ? header : undefined;
}

/**
 * The payload behind an intact header, with the fill; undefined when it is not whole and intact. A
 * view of `bytes` unless it is masked.
 */
export function readPayload(bytes: Buffer, at: number, { length, mask }: RecordHeader): Buffer | undefined {
  const end = at + length;
  if (end > bytes.length || bytes[end - 1] !== FILL) return undefined;
  const crc = crc32(bytes.subarray(at + PAYLOAD_AT, end), bytes.readUInt32LE(at + CRC_AT));
  if (crc !== bytes.readUInt32LE(at + HEADER_BYTES)) return undefined;
  if (mask === 0) return bytes.subarray(at + PAYLOAD_AT, end);
  const record = Buffer.from(bytes.subarray(at, end));
  applyMask(record, 0, length, mask);
  return record.subarray(PAYLOAD_AT);
}

/**
 * Whether a whole sector between `from` and `to` is zeros. `bytes[0]` is at offset `shift` of the
 * file.
 */
export function hasZeroSector(bytes: Buffer, from: number, to: number, shift: number): boolean {
  const past = (from + shift) % SECTOR_BYTES;
  for (let at = past === 0 ? from : from + SECTOR_BYTES - past; at + SECTOR_BYTES <= to; at += SECTOR_BYTES) {
    if (bytes[at] === 0 && ZERO_SECTOR.compare(bytes, at, at + SECTOR_BYTES) === 0) return true;
  }
  return false;
}

/**
 * Turns a payload with sectors of zeros into one without, and back. The stream of bytes depends on
 * the segment's random id: a client cannot make up a payload that it turns into zeros.
 */
function applyMask(bytes: Buffer, at: number, end: number, mask: number): void {
  let state = bytes.readUInt32LE(at) ^ Math.imul(mask, 0x9e37_79b1);
  for (let place = at + PAYLOAD_AT; place < end - 1; place++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    bytes[place] = itemAt(bytes, place) ^ (state >>> 24);
  }
}
