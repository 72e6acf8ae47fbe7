/**
 * What the records of a segment say, as bytes. Pure. Numbers are varints, texts are UTF-8 behind
 * their length.
 *
 *   checkpoint    all but the entries, as it is where the segment begins: JSON
 *   server        promise limit, numbers of segments that are dropped
 *   group         one GroupWrite: flags, group, term, commit index, vote, what is rare (as JSON), first index, count, block of entries
 *   carried       entries that lie in an older segment as well, and are read from here from now on: as `group`
 *   end           number and id of the next segment, which is there and goes on: JSON
 */
import type { GroupId, LogEntry, LogIndex, Timestamp } from '../../raft/entry.js';
import { blockLength, copyBlock, decodeBlock } from '../../wire/entry-block.js';
import { VarintReader, writeVarint } from '../../wire/varint.js';
import { WireError } from '../../wire/wire-error.js';
import type { LogStoreIdentity } from '../errors.js';
import type { GroupHead } from '../head.js';
import type { GroupWrite } from '../port.js';

/** The format of the folder; raised when a version writes what an older one cannot read. */
export const FORMAT = 1;

/** What a segment needs to know of an older one. */
export interface SegmentEntry {
  readonly number: number;
  /** Hexadecimal. */
  readonly id: string;
  /** Of the file. */
  readonly size: number;
  /** Where its records end, and the number of its last batch. */
  readonly end: number;
  readonly sequence: number;
}

export interface Checkpoint {
  readonly identity: LogStoreIdentity & { readonly format: number };
  /** Drawn when the store was made. */
  readonly store: string;
  /** Of this segment. */
  readonly number: number;
  readonly size: number;
  /** Number of the last batch before this segment. */
  readonly sequence: number;
  readonly promiseLimit: Timestamp;
  /** Of every group that was ever written. */
  readonly heads: readonly (readonly [GroupId, GroupHead])[];
  /**
   * All older segments that have something that is needed, and in any case the one before; in
   * order.
   */
  readonly segments: readonly SegmentEntry[];
}

export interface End {
  readonly number: number;
  readonly id: string;
}

export const encodeJson = (value: Checkpoint | End): Buffer => Buffer.from(JSON.stringify(value));

/**
 * The JSON at the beginning of a payload; undefined when there is none. What it says is what was
 * written: its record was intact.
 */
export function decodeJson<T extends Checkpoint | End>(payload: Buffer): T | undefined {
  try {
    return JSON.parse(payload.toString('utf8', 0, payload.lastIndexOf('}') + 1)) as T;
  } catch {
    return undefined;
  }
}

export interface ServerPart {
  readonly promiseLimit: Timestamp | undefined;
  readonly dropped: readonly number[];
}

export function serverBytesMax({ dropped }: ServerPart): number {
  return 8 * (2 + dropped.length);
}

export function writeServer(target: Buffer, at: number, { promiseLimit, dropped }: ServerPart): number {
  let end = writeVarint(target, at, promiseLimit === undefined ? 0 : promiseLimit + 1);
  end = writeVarint(target, end, dropped.length);
  for (const number of dropped) end = writeVarint(target, end, number);
  return end;
}

export function readServer(payload: Buffer): ServerPart {
  const reader = new VarintReader(payload);
  const next = () => reader.next(payload.length);
  const limit = next();
  return { promiseLimit: limit === 0 ? undefined : limit - 1, dropped: Array.from({ length: next() }, next) };
}

const HARD_STATE = 1;
const VOTED = 2;
const RARE = 4;
const ENTRIES = 8;

type RareParts = Pick<GroupWrite, 'configurations' | 'base' | 'truncateFrom'>;

/** What few writes have, as JSON; empty when this one has none of it. */
function rareText({ configurations, base, truncateFrom }: RareParts): string {
  const isRare = configurations !== undefined || base !== undefined || truncateFrom !== undefined;
  return isRare ? JSON.stringify({ configurations, base, truncateFrom }) : '';
}

/** A bound on what `writeGroup` writes. */
export function groupBytesMax(write: GroupWrite): number {
  const texts = (write.hardState?.votedFor ?? '').length + rareText(write).length;
  return 128 + 3 * texts + blockLength(write.entries ?? []);
}

export function writeGroup(target: Buffer, at: number, write: GroupWrite): number {
  const { group, hardState, entries = [] } = write;
  const votedFor = hardState?.votedFor ?? null;
  const rare = rareText(write);
  target[at] =
    (hardState === undefined ? 0 : HARD_STATE) |
    (votedFor === null ? 0 : VOTED) |
    (rare === '' ? 0 : RARE) |
    (entries.length === 0 ? 0 : ENTRIES);
  let end = writeVarint(target, at + 1, group);
  if (hardState !== undefined) {
    end = writeVarint(target, end, hardState.term);
    end = writeVarint(target, end, hardState.commitIndex);
  }
  if (votedFor !== null) end = writeText(target, end, votedFor);
  if (rare !== '') end = writeText(target, end, rare);
  const [first] = entries;
  if (first === undefined) return end;
  end = writeVarint(target, end, first.index);
  end = writeVarint(target, end, entries.length);
  end = writeVarint(target, end, blockLength(entries));
  copyBlock(entries, target, end);
  return end + blockLength(entries);
}

function writeText(target: Buffer, at: number, text: string): number {
  const start = writeVarint(target, at, Buffer.byteLength(text));
  return start + target.write(text, start);
}

/** Entries as they lie in a record. */
export interface Block {
  readonly firstIndex: LogIndex;
  readonly count: number;
  /** A view of the record. */
  readonly bytes: Uint8Array;
}

export interface GroupPart {
  /** Without entries. */
  readonly write: GroupWrite;
  readonly block: Block | undefined;
}

/** Throws WireError when the payload is not what `writeGroup` writes. */
export function readGroup(payload: Buffer): GroupPart {
  // Of an empty one the next number is missing, too.
  const flags = payload[0] ?? 0;
  const reader = new VarintReader(payload);
  reader.offset = 1;
  const next = () => reader.next(payload.length);
  const text = () => {
    const length = next();
    reader.offset += length;
    return payload.toString('utf8', reader.offset - length, reader.offset);
  };
  const group = next();
  const hard = (flags & HARD_STATE) === 0 ? undefined : { term: next(), commitIndex: next() };
  const votedFor = (flags & VOTED) === 0 ? null : text();
  const rare: RareParts = (flags & RARE) === 0 ? {} : JSON.parse(text());
  const write: GroupWrite = { group, ...(hard && { hardState: { ...hard, votedFor } }), ...rare };
  if ((flags & ENTRIES) === 0) return { write, block: undefined };
  const [firstIndex, count, length] = [next(), next(), next()];
  const bytes = payload.subarray(reader.offset, reader.offset + length);
  if (bytes.length < length) throw new WireError(`a block of ${length} bytes is cut off`);
  return { write, block: { firstIndex, count, bytes } };
}

/** Throws WireError when they are not what the block says. */
export function entriesOf({ firstIndex, count, bytes }: Block): LogEntry[] {
  const entries = decodeBlock(bytes, firstIndex);
  if (entries.length !== count) throw new WireError(`a block has ${entries.length} entries, not ${count}`);
  return entries;
}
