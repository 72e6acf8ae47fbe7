/**
 * What the jetstream adapter stores: records, one for each write, and the messages that carry them.
 * A record is a JSON header with all that is small, and after it the blocks of entries that it
 * names, one directly behind the other:
 *
 *   record  = header length (4)   header   block*
 *   message = CRC-32 (4)   part (2)   parts (2)   writer (16)   a part of the record
 *
 * A record that is larger than a message may be is cut into parts, in messages that follow each
 * other; it counts when all of them are there. The CRC is over the message's sequence in the stream
 * and the rest, so a message in a wrong place shows as well.
 */

import { crc32 } from 'node:zlib';
import { NamedError } from '../../errors.js';
import { InvariantError } from '../../raft/assert.js';
import type { GroupId, LogEntry, LogIndex, Timestamp } from '../../raft/entry.js';
import { itemAt, lastOf } from '../../raft/lists.js';
import { blockLength, copyBlock, decodeBlock } from '../../wire/entry-block.js';
import type { LogStoreIdentity } from '../errors.js';
import type { GroupHead } from '../head.js';
import type { GroupWrite } from '../port.js';

/** The format of the stream; raised when a version writes what an older one cannot read. */
export const STREAM_FORMAT = 1;

const CRC_BYTES = 4;
export const WRITER_BYTES = 16;
export const MESSAGE_HEADER_BYTES = CRC_BYTES + 4 + WRITER_BYTES;
const LENGTH_BYTES = 4;
export const PARTS_MAX = 0xffff;

/** Stored bytes are not what was written there. */
export class MessageError extends NamedError {
  constructor(
    readonly sequence: number,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** Entries of a group in a record. */
export interface Block {
  readonly group: GroupId;
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly bytes: number;
}

/** A GroupWrite, with its entries as a block of the record. */
interface RecordGroup extends Omit<GroupWrite, 'entries'> {
  /** The base dropped the whole log. */
  readonly drops?: boolean;
  readonly block?: Block;
}

/**
 * Everything but the entries, as it is after the record: with it, older records are needed for
 * their entries only.
 */
export interface Checkpoint {
  readonly identity: LogStoreIdentity & { readonly format: number };
  readonly promiseLimit: Timestamp;
  /** Of every group that was ever written. */
  readonly heads: readonly (readonly [GroupId, GroupHead])[];
}

export interface RecordHeader {
  /**
   * Sequence of the last message before this record that counts: what lies between them was given
   * up by its writer.
   */
  readonly after: number;
  readonly promiseLimit?: Timestamp;
  readonly groups: readonly RecordGroup[];
  /** Entries that older records hold as well, and are read from here from now on. */
  readonly moved: readonly Block[];
  readonly checkpoint?: Checkpoint;
}

export interface StoreRecord {
  readonly header: RecordHeader;
  /**
   * The entries of a block of this very header. Throws MessageError when they are not what the
   * header says.
   */
  entries(block: Block): LogEntry[];
}

export function blockOf(group: GroupId, entries: readonly LogEntry[]): Block {
  return { group, firstIndex: itemAt(entries, 0).index, lastIndex: lastOf(entries).index, bytes: blockLength(entries) };
}

/** In the order in which they lie in the record. */
const blocksOf = ({ groups, moved }: RecordHeader): Block[] => [
  ...groups.flatMap(({ block }) => (block === undefined ? [] : [block])),
  ...moved,
];

/** `entriesOf` gives the entries of each block of the header; their bytes are copied once. */
export function encodeRecord(header: RecordHeader, entriesOf: (block: Block) => readonly LogEntry[]): Buffer {
  const text = Buffer.from(JSON.stringify(header));
  const blocks = blocksOf(header);
  const total = blocks.reduce((sum, { bytes }) => sum + bytes, LENGTH_BYTES + text.length);
  const record = Buffer.allocUnsafe(total);
  record.writeUInt32LE(text.length, 0);
  let offset = LENGTH_BYTES + text.copy(record, LENGTH_BYTES);
  for (const block of blocks) {
    copyBlock(entriesOf(block), record, offset);
    offset += block.bytes;
  }
  return record;
}

/** Throws MessageError when the bytes, which began with message `sequence`, are no record. */
export function decodeRecord(bytes: Buffer, sequence: number): StoreRecord {
  if (bytes.length < LENGTH_BYTES) throw new MessageError(sequence, 'the record has no header');
  const headerEnd = LENGTH_BYTES + bytes.readUInt32LE(0);
  let header: RecordHeader;
  try {
    header = JSON.parse(bytes.toString('utf8', LENGTH_BYTES, headerEnd)) as RecordHeader;
  } catch (cause) {
    throw new MessageError(sequence, 'the header of the record is not JSON', { cause });
  }
  const places = new Map<Block, number>();
  let offset = headerEnd;
  for (const block of blocksOf(header)) {
    places.set(block, offset);
    offset += block.bytes;
  }
  if (offset !== bytes.length) throw new MessageError(sequence, `the record has ${bytes.length} bytes, not ${offset}`);
  return {
    header,
    entries(block) {
      const start = places.get(block);
      if (start === undefined) throw new InvariantError('a block of another record');
      return decodeEntries(bytes.subarray(start, start + block.bytes), block, sequence);
    },
  };
}

function decodeEntries(bytes: Uint8Array, { firstIndex, lastIndex }: Block, sequence: number): LogEntry[] {
  let entries: LogEntry[];
  try {
    entries = decodeBlock(bytes, firstIndex);
  } catch (cause) {
    throw new MessageError(sequence, 'the block cannot be decoded', { cause });
  }
  if (entries.at(-1)?.index !== lastIndex) {
    throw new MessageError(
      sequence,
      `it holds ${entries.length} entries from index ${firstIndex}, not up to ${lastIndex}`,
    );
  }
  return entries;
}

export interface StoredMessage {
  readonly sequence: number;
  readonly writer: string;
  readonly part: number;
  readonly parts: number;
  readonly data: Buffer;
}

const sequenceCrc = (sequence: number): number => crc32(Buffer.from(sequence.toString()));

export function encodeMessage({ sequence, writer, part, parts, data }: StoredMessage): Buffer {
  const message = Buffer.allocUnsafe(MESSAGE_HEADER_BYTES + data.length);
  message.writeUInt16LE(part, CRC_BYTES);
  message.writeUInt16LE(parts, CRC_BYTES + 2);
  message.write(writer, CRC_BYTES + 4, WRITER_BYTES, 'hex');
  data.copy(message, MESSAGE_HEADER_BYTES);
  message.writeUInt32LE(crc32(message.subarray(CRC_BYTES), sequenceCrc(sequence)), 0);
  return message;
}

/** Throws MessageError when the bytes are not what was written as message `sequence`. */
export function decodeMessage(sequence: number, data: Uint8Array): StoredMessage {
  const message = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (message.length < MESSAGE_HEADER_BYTES) throw new MessageError(sequence, `it has ${message.length} bytes`);
  if (crc32(message.subarray(CRC_BYTES), sequenceCrc(sequence)) !== message.readUInt32LE(0)) {
    throw new MessageError(sequence, 'the checksum does not match');
  }
  return {
    sequence,
    writer: message.toString('hex', CRC_BYTES + 4, MESSAGE_HEADER_BYTES),
    part: message.readUInt16LE(CRC_BYTES),
    parts: message.readUInt16LE(CRC_BYTES + 2),
    data: message.subarray(MESSAGE_HEADER_BYTES),
  };
}
