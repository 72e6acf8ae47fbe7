/**
 * What the level adapter stores: its keys, and its values as bytes. The order of the keys:
 *
 *   !identity                    format, cluster, server, groups; written once
 *   !write                       number of the last write
 *   log/<group>/<last index>     one appended batch: first index and the block of its entries
 *   term/<group>/<first index>   the term that begins there
 *   ~head                        number of the last write, promise limit; of every group hard state, base, configurations, last index
 *
 * A record is found by its *last* index: the first key at or after an index is the record that holds it, so that every read
 * is one seek. It also parts a log at its base: a record whose key is at or below that is garbage, whatever it holds, and one
 * whose key is above it is kept whole. Every value begins with a CRC-32 over its key and the rest, so a value under a wrong key shows as well.
 * The write number is stored twice, far apart, and the head counts the terms: what a lost or stale key would hide.
 */

import type {
  GroupId,
  HardState,
  Index,
  LogEntry,
  LogPosition,
  PlacedConfiguration,
  Term,
  Timestamp,
} from '../raft/entry.js';
import { blockLength, copyBlock, decodeBlock } from '../wire/entry-block.js';
import { crc32 } from './checksum.js';
import type { LogStoreIdentity } from './errors.js';

/** The format of the folder; raised when a version writes what an older one cannot read. */
export const FORMAT = 2;

export const IDENTITY_KEY = '!identity';
export const WRITE_KEY = '!write';
export const HEAD_KEY = '~head';

/** Digits of 2^53. */
const INDEX_DIGITS = 16;
const GROUP_DIGITS = 4;

const padded = (value: number, digits: number): string => value.toString().padStart(digits, '0');
export const recordKey = (group: GroupId, lastIndex: Index): string =>
  `log/${padded(group, GROUP_DIGITS)}/${padded(lastIndex, INDEX_DIGITS)}`;
export const termKey = (group: GroupId, firstIndex: Index): string =>
  `term/${padded(group, GROUP_DIGITS)}/${padded(firstIndex, INDEX_DIGITS)}`;
/** The number at the end of a record's or term's key; NaN when it is not one. */
export const indexOfKey = (key: string): Index => Number(key.slice(-INDEX_DIGITS));

const CRC_BYTES = 4;
/** CRC, and the first index as a double: exact, and cheaper than a varint of 53 bits. */
const RECORD_HEADER_BYTES = CRC_BYTES + 8;

/** A stored value is not what was written under its key. */
export class RecordError extends Error {
  constructor(
    readonly key: string,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.name = 'RecordError';
  }
}

const keyCrc = (key: string): number => crc32(Buffer.from(key, 'latin1'));

function seal(key: string, value: Buffer): Buffer {
  value.writeUInt32LE(crc32(value.subarray(CRC_BYTES), keyCrc(key)), 0);
  return value;
}

function unseal(key: string, value: Uint8Array): Buffer {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (bytes.length < CRC_BYTES) throw new RecordError(key, `the value has ${bytes.length} bytes`);
  const payload = bytes.subarray(CRC_BYTES);
  if (crc32(payload, keyCrc(key)) !== bytes.readUInt32LE(0)) throw new RecordError(key, 'the checksum does not match');
  return payload;
}

function sealText(key: string, text: string): Buffer {
  const value = Buffer.allocUnsafe(CRC_BYTES + Buffer.byteLength(text));
  value.write(text, CRC_BYTES);
  return seal(key, value);
}

export function sealJson(key: string, value: unknown): Buffer {
  return sealText(key, JSON.stringify(value));
}

/** Whoever reads the result may trust its shape: it is what this file wrote, or the checksum would not match. */
function unsealJson(key: string, value: Uint8Array): unknown {
  const text = unseal(key, value).toString();
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new RecordError(key, 'the value is not JSON', { cause });
  }
}

/** Entries, which must not be empty, as one record; their bytes are copied once. */
export function encodeRecord(key: string, entries: readonly LogEntry[]): Buffer {
  const value = Buffer.allocUnsafe(RECORD_HEADER_BYTES + blockLength(entries));
  value.writeDoubleLE(entries[0]?.index ?? 0, CRC_BYTES);
  copyBlock(entries, value, RECORD_HEADER_BYTES);
  return seal(key, value);
}

/**
 * The entries of a record, as views of it. `termOf` says which term the entry at an index must have: by the Log Matching
 * Property (Raft section 5.3) an entry of another term is one that a truncation has dropped; undefined where it no longer matters.
 * @throws RecordError when the record is damaged, or is not the one that belongs under `key`.
 */
export function decodeRecord(key: string, value: Uint8Array, termOf: (index: Index) => Term | undefined): LogEntry[] {
  const payload = unseal(key, value);
  if (payload.length < RECORD_HEADER_BYTES - CRC_BYTES) throw new RecordError(key, 'the record has no header');
  const firstIndex = payload.readDoubleLE(0);
  let entries: LogEntry[];
  try {
    entries = decodeBlock(payload.subarray(RECORD_HEADER_BYTES - CRC_BYTES), firstIndex);
  } catch (cause) {
    throw new RecordError(key, 'the block cannot be decoded', { cause });
  }
  const lastIndex = indexOfKey(key);
  if (entries.length === 0 || entries.at(-1)?.index !== lastIndex) {
    throw new RecordError(key, `the record holds ${entries.length} entries from index ${firstIndex}`);
  }
  for (const entry of entries) {
    const term = termOf(entry.index);
    if (term !== undefined && entry.term !== term)
      throw new RecordError(key, `entry ${entry.index} has term ${entry.term} in place of ${term}`);
  }
  return entries;
}

export function encodeTerm(key: string, term: Term): Buffer {
  return sealJson(key, { term });
}

export function decodeTerm(key: string, value: Uint8Array): Term {
  return (unsealJson(key, value) as { term: Term }).term;
}

export interface StoredIdentity extends LogStoreIdentity {
  readonly format: number;
}

export function decodeIdentity(value: Uint8Array): StoredIdentity {
  return unsealJson(IDENTITY_KEY, value) as StoredIdentity;
}

export function encodeWriteNumber(write: number): Buffer {
  return sealText(WRITE_KEY, write.toString());
}

export function decodeWriteNumber(value: Uint8Array): number {
  return Number(unseal(WRITE_KEY, value).toString());
}

/** A group in the stored head; `termCount` is how many term keys the group has. */
export interface StoredGroup {
  readonly hardState: HardState;
  readonly base: LogPosition;
  readonly configurations: readonly PlacedConfiguration[];
  readonly lastIndex: Index;
  readonly termCount: number;
}

export interface StoredHead {
  readonly write: number;
  readonly promiseLimit: Timestamp;
  /** By group; null for one that was never written. */
  readonly groups: readonly (StoredGroup | null)[];
}

/** One group of the head as JSON: kept by the store, so that a write makes anew only those of the groups that it changes. */
export function groupText(group: StoredGroup | null): string {
  return JSON.stringify(group);
}

export function encodeHead(write: number, promiseLimit: Timestamp, groupTexts: readonly string[]): Buffer {
  return sealText(HEAD_KEY, `{"write":${write},"promiseLimit":${promiseLimit},"groups":[${groupTexts.join(',')}]}`);
}

export function decodeHead(value: Uint8Array): StoredHead {
  return unsealJson(HEAD_KEY, value) as StoredHead;
}
