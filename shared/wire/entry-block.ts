/**
 * The frame codec of `craft.v1.EntryBlock`, by hand. Every entry passes here, at the leader that
 * stamps it and at every server that receives it. Therefore no message objects are made, and no
 * body is copied on the way in.
 *
 *   EntryBlock = frame*          frame = 0x0a  length  Entry
 *   Entry      = [0x08 term]  [0x10 timestamp]  [0x18 kind]  [0x22 length body]        each left out when zero or empty
 *
 * Byte for byte what the generated code writes; on the way in any order of fields and unknown
 * fields are accepted.
 */
import type { EncodeEntry, EntryKind, LogEntry, LogIndex } from '../raft/entry.js';
import { VarintReader, varintLength, writeVarint } from './varint.js';
import { WireError } from './wire-error.js';

const FRAME = 0x0a;
const TERM = 0x08;
const TIMESTAMP = 0x10;
const KIND = 0x18;
const BODY = 0x22;
/** Highest field numbers of the two messages. */
const BLOCK_FIELDS = 1;
const ENTRY_FIELDS = 4;

/**
 * Frames are cut from a common chunk, one directly after the other. Entries that were encoded in a
 * row can be laid out as a block without a copy (see concatBlock). A chunk is never reused.
 */
const CHUNK_BYTES = 64 * 1024;
const OWN_CHUNK_BYTES_MIN = 8 * 1024;
let chunk = new Uint8Array(0);
let chunkUsed = 0;

function allocate(length: number): Uint8Array {
  if (length >= OWN_CHUNK_BYTES_MIN) return new Uint8Array(length);
  if (chunkUsed + length > chunk.length) {
    chunk = new Uint8Array(CHUNK_BYTES);
    chunkUsed = 0;
  }
  const start = chunkUsed;
  chunkUsed += length;
  return chunk.subarray(start, chunkUsed);
}

/**
 * Encodes one entry as a frame. Term and timestamp are safe integers >= 0; anything else is a
 * RangeError.
 */
export const encodeEntry: EncodeEntry = (term, timestamp, kind, body) => {
  if (!Number.isSafeInteger(term) || term < 0) throw new RangeError(`not a term: ${term}`);
  if (!Number.isSafeInteger(timestamp) || timestamp < 0) throw new RangeError(`not a timestamp: ${timestamp}`);
  let length = 2;
  if (term > 0) length += 1 + varintLength(term);
  if (timestamp > 0) length += 1 + varintLength(timestamp);
  if (body.length > 0) length += 1 + varintLength(body.length) + body.length;
  const frame = allocate(1 + varintLength(length) + length);
  frame[0] = FRAME;
  let at = writeVarint(frame, 1, length);
  if (term > 0) {
    frame[at++] = TERM;
    at = writeVarint(frame, at, term);
  }
  if (timestamp > 0) {
    frame[at++] = TIMESTAMP;
    at = writeVarint(frame, at, timestamp);
  }
  frame[at++] = KIND;
  frame[at++] = kind;
  if (body.length > 0) {
    frame[at++] = BODY;
    at = writeVarint(frame, at, body.length);
    frame.set(body, at);
  }
  return frame;
};

/**
 * The entries of a block, numbered from `firstIndex`. Nothing is copied: `bytes` of each is its
 * part of `block`.
 * @throws WireError when the bytes are not a block, or an entry has no known kind.
 */
export function decodeBlock(block: Uint8Array, firstIndex: LogIndex): LogEntry[] {
  const entries: LogEntry[] = [];
  // Parts of a Buffer would be Buffers, which take twice as long to make.
  const source = new Uint8Array(block.buffer, block.byteOffset, block.length);
  const reader = new VarintReader(source);
  while (reader.offset < source.length) {
    const start = reader.offset;
    const tag = reader.next(source.length);
    if (tag !== FRAME) {
      skipField(reader, tag, BLOCK_FIELDS, source.length);
      continue;
    }
    const end = lengthDelimitedEnd(reader, source.length);
    entries.push(decodeEntry(source, reader, start, end, firstIndex + entries.length));
  }
  return entries;
}

function decodeEntry(block: Uint8Array, reader: VarintReader, start: number, end: number, index: LogIndex): LogEntry {
  let term = 0;
  let timestamp = 0;
  let kind = 0;
  while (reader.offset < end) {
    const tag = reader.next(end);
    if (tag === TERM) term = reader.next(end);
    else if (tag === TIMESTAMP) timestamp = reader.next(end);
    else if (tag === KIND) kind = reader.next(end);
    else if (tag === BODY) reader.offset = lengthDelimitedEnd(reader, end);
    else skipField(reader, tag, ENTRY_FIELDS, end);
  }
  return { index, term, timestamp, kind: knownKind(kind, index), bytes: block.subarray(start, end) };
}

function knownKind(kind: number, index: LogIndex): EntryKind {
  if (kind === 1 || kind === 2 || kind === 3) return kind;
  throw new WireError(`entry ${index} is of unknown kind ${kind}`);
}

/** Reads a length and returns where the field that it announces ends. */
function lengthDelimitedEnd(reader: VarintReader, end: number): number {
  const length = reader.next(end);
  if (length > end - reader.offset) throw new WireError(`a field of ${length} bytes runs past the end at byte ${end}`);
  return reader.offset + length;
}

/**
 * `known` is the highest field number of the message: such a field in another wire type is damage,
 * not a newer version.
 */
function skipField(reader: VarintReader, tag: number, known: number, end: number): void {
  const field = Math.floor(tag / 8);
  const wireType = tag % 8;
  if (field === 0 || tag > 0xffff_ffff) throw new WireError(`tag ${tag} names no field`);
  if (field <= known) throw new WireError(`field ${field} has wire type ${wireType}`);
  if (wireType === 0) reader.skip(end);
  else if (wireType === 1) skipBytes(reader, 8, end);
  else if (wireType === 2) reader.offset = lengthDelimitedEnd(reader, end);
  else if (wireType === 5) skipBytes(reader, 4, end);
  else throw new WireError(`field ${field} has wire type ${wireType}`);
}

function skipBytes(reader: VarintReader, length: number, end: number): void {
  if (length > end - reader.offset) throw new WireError(`a field of ${length} bytes runs past the end at byte ${end}`);
  reader.offset += length;
}

/**
 * The body of an entry (a Command or a Configuration, by kind) as a part of its bytes. Throws
 * WireError on damage.
 */
export function entryBody(entry: Pick<LogEntry, 'bytes'>): Uint8Array {
  const { bytes } = entry;
  const reader = new VarintReader(bytes);
  if (reader.next(bytes.length) !== FRAME) throw new WireError('an entry does not begin with the tag of a frame');
  const end = lengthDelimitedEnd(reader, bytes.length);
  let body = bytes.subarray(end, end);
  while (reader.offset < end) {
    const tag = reader.next(end);
    if (tag === BODY) {
      const bodyEnd = lengthDelimitedEnd(reader, end);
      body = bytes.subarray(reader.offset, bodyEnd);
      reader.offset = bodyEnd;
    } else if (tag === TERM || tag === TIMESTAMP || tag === KIND) reader.skip(end);
    else skipField(reader, tag, ENTRY_FIELDS, end);
  }
  return body;
}

/** Total bytes of the entries, which is the length of their block. */
export function blockLength(entries: readonly LogEntry[]): number {
  let length = 0;
  for (const entry of entries) length += entry.bytes.length;
  return length;
}

/**
 * The entries as one block. Where their bytes lie end to end in memory already (entries of one
 * decoded block, or encoded in a row) it is a view of them. Otherwise it is a copy. Either way it
 * must not be modified.
 */
export function concatBlock(entries: readonly LogEntry[]): Uint8Array {
  const first = entries[0];
  if (first === undefined) return new Uint8Array(0);
  const length = blockLength(entries);
  if (runEnd(entries, 0) === entries.length) {
    return new Uint8Array(first.bytes.buffer, first.bytes.byteOffset, length);
  }
  const block = new Uint8Array(length);
  copyBlock(entries, block, 0);
  return block;
}

/**
 * Writes the entries as a block into `target` at `offset`, a whole run of adjacent entries at a
 * time.
 */
export function copyBlock(entries: readonly LogEntry[], target: Uint8Array, offset: number): void {
  let at = offset;
  for (let start = 0; start < entries.length; ) {
    const end = runEnd(entries, start);
    const first = entries[start];
    const last = entries[end - 1];
    if (first === undefined || last === undefined) return;
    const length = last.bytes.byteOffset + last.bytes.length - first.bytes.byteOffset;
    const run = first === last ? first.bytes : new Uint8Array(first.bytes.buffer, first.bytes.byteOffset, length);
    target.set(run, at);
    at += length;
    start = end;
  }
}

/**
 * The position after the last entry whose bytes directly follow, in memory, those of the entry
 * before it.
 */
function runEnd(entries: readonly LogEntry[], start: number): number {
  const first = entries[start];
  if (first === undefined) return start;
  const { buffer } = first.bytes;
  let next = first.bytes.byteOffset + first.bytes.length;
  for (let at = start + 1; at < entries.length; at++) {
    const bytes = entries[at]?.bytes;
    if (bytes === undefined || bytes.buffer !== buffer || bytes.byteOffset !== next) return at;
    next += bytes.length;
  }
  return entries.length;
}
