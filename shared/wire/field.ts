/** What encoders and decoders by hand share: fields with a length, and to get past any field. */
import { type VarintReader, varintLength, writeVarint } from './varint.js';
import { WireError } from './wire-error.js';

const FIXED_64 = 8;
const FIXED_32 = 4;

/**
 * Bytes of a field with a tag of one byte and this much content; one without content is left out.
 */
export function fieldLength(length: number): number {
  return length === 0 ? 0 : 1 + varintLength(length) + length;
}

/** Writes `text`, which takes `length` bytes, unless it is empty; returns the offset after it. */
export function writeText(target: Buffer, offset: number, tag: number, text: string, length: number): number {
  if (length === 0) return offset;
  target[offset] = tag;
  const at = writeVarint(target, offset + 1, length);
  target.write(text, at, length);
  return at + length;
}

/** Writes `bytes` unless they are empty; returns the offset after them. */
export function writeBytes(target: Uint8Array, offset: number, tag: number, bytes: Uint8Array): number {
  if (bytes.length === 0) return offset;
  target[offset] = tag;
  const at = writeVarint(target, offset + 1, bytes.length);
  target.set(bytes, at);
  return at + bytes.length;
}

/** Bytes of a number with a tag of one byte; 0 is left out. */
export function numberLength(value: number): number {
  return value === 0 ? 0 : 1 + varintLength(value);
}

/** Writes `value` unless it is 0; returns the offset after it. */
export function writeNumber(target: Uint8Array, offset: number, tag: number, value: number): number {
  if (value === 0) return offset;
  target[offset] = tag;
  return writeVarint(target, offset + 1, value);
}

/**
 * Moves past the field whose tag was just read, also one of a later version. Returns where its
 * content begins: for a field with a length, behind that length. Throws WireError when the field
 * does not end before `end`, or when no field has such a tag.
 */
export function passField(reader: VarintReader, tag: number, end: number): number {
  const start = reader.offset;
  switch (tag % 8) {
    case 0:
      reader.skip(end);
      return start;
    case 1:
      return passBytes(reader, FIXED_64, end);
    case 2:
      return passBytes(reader, reader.next(end), end);
    case 5:
      return passBytes(reader, FIXED_32, end);
    default:
      throw new WireError(`no field has the tag ${tag}`);
  }
}

function passBytes(reader: VarintReader, length: number, end: number): number {
  const start = reader.offset;
  if (length > end - start) throw new WireError(`a field of ${length} bytes runs past the end`);
  reader.offset = start + length;
  return start;
}
