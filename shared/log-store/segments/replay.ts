/**
 * What the batches of the segments amount to, one after the other. Pure.
 *
 * The checkpoint of the newest segment and the batches behind it say everything but where the
 * entries lie. That comes from all segments, in order. Segments that were dropped are missing in
 * between, so until the newest one there may be gaps, and places of entries that are gone. In the
 * end each entry of the log has the place that was last written for it, and nothing else has one.
 */
import { indexAfter, type Timestamp } from '../../raft/entry.js';
import { headsAfter } from '../head.js';
import type { GroupWrite } from '../port.js';
import type { Place } from './group-index.js';
import { entriesOf, readGroup, readServer } from './payload.js';
import { RecordKind, readHeader, readPayload } from './record.js';
import type { StoreState } from './state.js';

/** A record that is whole and intact. */
export interface StoredRecord {
  readonly kind: number;
  readonly offset: number;
  readonly length: number;
  readonly payload: Buffer;
}

/**
 * The batch at `offset` of a segment's bytes; undefined when there is no whole and intact one with
 * that number.
 */
export function batchAt(bytes: Buffer, offset: number, id: Buffer, sequence: number): StoredRecord[] | undefined {
  const records: StoredRecord[] = [];
  for (let at = offset, following = 1; following > 0; ) {
    const header = readHeader(bytes, at, id, at);
    const payload = header?.sequence === sequence ? readPayload(bytes, at, header) : undefined;
    if (header === undefined || payload === undefined) return undefined;
    const { kind, length } = header;
    records.push({ kind, offset: at, length, payload });
    at += length;
    following = header.following;
  }
  return records;
}

/** Where a batch ends. */
export function endOf(records: readonly StoredRecord[]): number {
  const last = records[records.length - 1];
  return last === undefined ? 0 : last.offset + last.length;
}

/**
 * A batch of a segment before the newest: only where its entries lie. Throws WireError when it
 * cannot be decoded.
 */
export function placeOlder(state: StoreState, records: readonly StoredRecord[], segment: number): void {
  for (const { kind, payload, offset, length } of records) {
    if (kind !== RecordKind.group && kind !== RecordKind.carried) continue;
    const { write, block } = readGroup(payload);
    if (block === undefined) continue;
    const index = state.indexOf(write.group);
    const place = { ...block, segment, offset, length };
    if (kind === RecordKind.carried) index.replace(place);
    else index.append(place);
  }
}

/**
 * All older segments have been placed; what their batches dropped or covered later has no place any
 * more.
 */
export function beginNewest(state: StoreState): void {
  for (const [group, { base, lastIndex }] of state.heads) {
    state.indexOf(group).truncate(indexAfter(lastIndex));
    state.indexOf(group).removeUpTo(base.index);
  }
}

/**
 * The next batch of the newest segment. Returns the numbers of the segments that it drops. Throws
 * WireError when it cannot be decoded, LogStoreUsageError when it does not fit.
 */
export function applyNewest(state: StoreState, records: readonly StoredRecord[], segment: number): readonly number[] {
  const writes: GroupWrite[] = [];
  const places: (Place | undefined)[] = [];
  let promiseLimit: Timestamp | undefined;
  let dropped: readonly number[] = [];
  for (const { kind, payload, offset, length } of records) {
    if (kind === RecordKind.server) {
      ({ promiseLimit, dropped } = readServer(payload));
      continue;
    }
    const { write, block } = readGroup(payload);
    const place = block && { ...block, segment, offset, length };
    if (kind === RecordKind.carried) {
      if (place !== undefined) state.indexOf(write.group).replace(place);
      continue;
    }
    writes.push(block === undefined ? write : { ...write, entries: entriesOf(block) });
    places.push(place);
  }
  const batch = { groups: writes, ...(promiseLimit === undefined ? {} : { promiseLimit }) };
  state.apply(
    writes,
    places,
    headsAfter(batch, state.promiseLimit, (group) => state.headOf(group)),
  );
  state.promiseLimit = promiseLimit ?? state.promiseLimit;
  return dropped;
}
