/**
 * The bytes of one batch, laid out in a buffer that is used again for every write. The payloads
 * come first. Headers and checksums follow when it is known where the batch goes. Pure.
 */
import { BEFORE_FIRST, type GroupId, type LogIndex } from '../../raft/entry.js';
import type { GroupWrite } from '../port.js';
import { groupBytesMax, type ServerPart, serverBytesMax, writeGroup, writeServer } from './payload.js';
import { PAYLOAD_AT, RecordKind, recordLength, sealRecord } from './record.js';

/** A larger buffer is given back after the write that needed it. */
const KEPT_BYTES_MAX = 1024 * 1024;

/** A record of the batch; `at` is its place in the batch. */
export interface BatchRecord {
  readonly kind: RecordKind;
  readonly at: number;
  readonly length: number;
  readonly payloadBytes: number;
  /** Of its entries, if it has any. */
  readonly group: GroupId;
  readonly firstIndex: LogIndex;
  readonly count: number;
}

export class BatchBuffer {
  #buffer = Buffer.allocUnsafe(64 * 1024);
  #records: BatchRecord[] = [];
  #length = 0;

  /** Begins the next batch. */
  clear(): void {
    if (this.#buffer.length > KEPT_BYTES_MAX) this.#buffer = Buffer.allocUnsafe(KEPT_BYTES_MAX);
    this.#records = [];
    this.#length = 0;
  }

  get length(): number {
    return this.#length;
  }

  get records(): readonly BatchRecord[] {
    return this.#records;
  }

  addServer(part: ServerPart): void {
    this.#add(RecordKind.server, serverBytesMax(part), (at) => writeServer(this.#buffer, at, part));
  }

  addGroup(write: GroupWrite, kind: typeof RecordKind.group | typeof RecordKind.carried = RecordKind.group): void {
    this.#add(kind, groupBytesMax(write), (at) => writeGroup(this.#buffer, at, write), write);
  }

  /**
   * The batch as it is written at `offset` of the segment `id`. Valid until the next `clear`; may
   * be called again for another place.
   */
  seal(id: Buffer, offset: number, sequence: number): Buffer {
    for (const { kind, at, length, payloadBytes } of this.#records) {
      const following = this.#length - at - length;
      sealRecord(this.#buffer, at, payloadBytes, id, {
        kind,
        sequence,
        offset: offset + at,
        length,
        following,
        mask: 0,
      });
    }
    return this.#buffer.subarray(0, this.#length);
  }

  #add(kind: RecordKind, bytesMax: number, write: (at: number) => number, from?: GroupWrite): void {
    const at = this.#length;
    this.#reserve(at + recordLength(bytesMax));
    const payloadBytes = write(at + PAYLOAD_AT) - at - PAYLOAD_AT;
    const length = recordLength(payloadBytes);
    const entries = from?.entries ?? [];
    const firstIndex = entries[0]?.index ?? BEFORE_FIRST;
    // A record without a write is of no group; it has no entries, and 0 is as good as any.
    this.#records.push({ kind, at, length, payloadBytes, group: from?.group ?? 0, firstIndex, count: entries.length });
    this.#length = at + length;
  }

  #reserve(length: number): void {
    if (length <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(length, 2 * this.#buffer.length));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}
