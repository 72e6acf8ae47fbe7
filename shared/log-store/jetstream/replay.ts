/**
 * What the messages of the stream amount to, one after the other. A record counts when all of its
 * parts are there and the record after it does not say that it was given up; the last one counts.
 * Until the first checkpoint only the places of entries are known.
 */
import { type GroupId, indexAfter, type Timestamp } from '../../raft/entry.js';
import { EMPTY_HEAD, type GroupHead, headsAfter, LogStoreUsageError } from '../head.js';
import { type GroupIndex, indexOf } from './group-index.js';
import {
  type Block,
  type Checkpoint,
  decodeRecord,
  MessageError,
  type RecordHeader,
  type StoredMessage,
  type StoreRecord,
} from './record.js';
import type { Placed } from './stream.js';

interface PlacedRecord extends Placed {
  readonly record: StoreRecord;
}

export class Replay {
  promiseLimit: Timestamp = 0;
  readonly heads = new Map<GroupId, GroupHead>();
  readonly indexes = new Map<GroupId, GroupIndex>();
  /** Of the last checkpoint; undefined before the first. */
  identity: Checkpoint['identity'] | undefined;
  /** Sequence of the last message that counts. */
  last = 0;
  #parts: StoredMessage[] = [];
  #held: PlacedRecord | undefined;

  /** Takes the next message. Throws MessageError when it cannot be what was written there. */
  take(message: StoredMessage): void {
    const { part, parts, writer, sequence } = message;
    const previous = this.#parts.at(-1);
    const continues = previous?.writer === writer && previous.parts === parts && previous.part + 1 === part;
    if (!continues) this.#parts = [];
    // The end of a record whose beginning was given up.
    if (part !== this.#parts.length) return;
    this.#parts.push(message);
    if (this.#parts.length < parts) return;
    const start = sequence - parts + 1;
    const bytes = parts === 1 ? message.data : Buffer.concat(this.#parts.map(({ data }) => data));
    this.#parts = [];
    this.#hold({ sequence: start, parts, record: decodeRecord(bytes, start) });
  }

  /** The messages end here: the last record counts. */
  finish(): void {
    this.#settle();
    if (this.identity === undefined) throw new MessageError(this.last, 'the stream has no checkpoint');
    for (const [group, { base, lastIndex }] of this.heads) {
      if (indexOf(this.indexes, group).covers(base.index, lastIndex)) continue;
      throw new MessageError(this.last, `entries of group ${group} are missing between ${base.index} and ${lastIndex}`);
    }
  }

  #hold(next: PlacedRecord): void {
    const { after } = next.record.header;
    if (this.#held !== undefined && after >= this.#held.sequence) this.#settle();
    if (this.last !== 0 && after !== this.last) {
      throw new MessageError(next.sequence, `it follows message ${after}, the last one that counts is ${this.last}`);
    }
    this.#held = next;
  }

  #settle(): void {
    const held = this.#held;
    this.#held = undefined;
    if (held === undefined) return;
    this.#apply(held);
    this.last = held.sequence + held.parts - 1;
  }

  #apply(placed: PlacedRecord): void {
    const { header } = placed.record;
    if (this.identity !== undefined) this.#applyHeads(placed);
    placeRecord(header, placed, this.indexes);
    const { checkpoint } = header;
    if (checkpoint === undefined) return;
    this.identity = checkpoint.identity;
    this.promiseLimit = checkpoint.promiseLimit;
    for (const [group, head] of checkpoint.heads) {
      this.heads.set(group, head);
      // Records that said so may be gone.
      indexOf(this.indexes, group).removeUpTo(head.base.index);
      indexOf(this.indexes, group).truncate(indexAfter(head.lastIndex));
    }
  }

  #applyHeads({ record, sequence }: PlacedRecord): void {
    const { promiseLimit, groups } = record.header;
    const batch = {
      ...(promiseLimit === undefined ? {} : { promiseLimit }),
      groups: groups.map(({ block, drops: _, ...write }) => {
        return block === undefined ? write : { ...write, entries: record.entries(block) };
      }),
    };
    try {
      const heads = headsAfter(batch, this.promiseLimit, (group) => this.heads.get(group) ?? EMPTY_HEAD);
      for (const [group, head] of heads) this.heads.set(group, head);
      this.promiseLimit = promiseLimit ?? this.promiseLimit;
    } catch (cause) {
      if (!(cause instanceof LogStoreUsageError)) throw cause;
      throw new MessageError(sequence, `the record does not fit: ${cause.message}`, { cause });
    }
  }
}

/** Tells the indexes what a record with this header does to them. */
export function placeRecord(header: RecordHeader, at: Placed, indexes: Map<GroupId, GroupIndex>): void {
  const segment = ({ firstIndex: from, lastIndex: to, bytes }: Block) => ({
    from,
    to,
    bytes,
    sequence: at.sequence,
    parts: at.parts,
  });
  for (const { group, base, drops, truncateFrom, block } of header.groups) {
    const index = indexOf(indexes, group);
    if (base !== undefined) index.removeUpTo(base.index);
    if (drops) index.truncate(0);
    if (truncateFrom !== undefined) index.truncate(truncateFrom);
    if (block !== undefined) index.append(segment(block));
  }
  for (const block of header.moved) indexOf(indexes, block.group).move(segment(block));
}
