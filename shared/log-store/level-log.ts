/**
 * One group's records in the database: reading a range of entries, cutting a suffix, appending. What is read is checked against the
 * group's head, record by record, so that neither a gap nor an entry that was truncated can pass.
 */
import type { GroupId, Index, LogEntry, Term } from '../raft/entry.js';
import { type GroupHead, termAt } from './head.js';
import type { KeyValue, LevelDatabase, Operation } from './level-database.js';
import { decodeRecord, encodeRecord, encodeTerm, RecordError, recordKey, termKey } from './level-record.js';

/** Records are read this many at a time at most, however small. */
const RECORDS_MAX = 1_000;

/**
 * The entries `from` .. `to`, which must exist, up to the one that reaches `bytesMax`.
 * @throws RecordError when a record is missing or damaged.
 */
export async function readEntries(
  database: LevelDatabase,
  group: GroupId,
  head: GroupHead,
  from: Index,
  to: Index,
  bytesMax: number,
): Promise<LogEntry[]> {
  const collector = new Collector(from, to, bytesMax, (index) => termAt(head.termStarts, index));
  await database.read(recordKey(group, from), recordKey(group, head.lastIndex), bytesMax, async (next) => {
    // What fits is read in one go, then one record at a time: never more than one too many.
    for (let count = Math.min(RECORDS_MAX, to - from + 1); !collector.full; count = 1) {
      const pairs = await next(count);
      if (pairs.length === 0) throw new RecordError(recordKey(group, collector.nextIndex), 'the record is missing');
      for (const pair of pairs) if (!collector.full) collector.add(pair);
    }
  });
  return collector.entries;
}

/** Takes records in order and keeps the entries that were asked for. */
class Collector {
  readonly entries: LogEntry[] = [];
  full = false;
  #bytes = 0;

  constructor(
    private readonly from: Index,
    private readonly to: Index,
    private readonly bytesMax: number,
    private readonly termOf: (index: Index) => Term,
  ) {}

  get nextIndex(): Index {
    return this.from + this.entries.length;
  }

  add([key, value]: KeyValue): void {
    const entries = decodeRecord(key, value, this.termOf);
    const skipped = this.nextIndex - (entries[0]?.index ?? 0);
    // Only the first record may begin before what is asked for.
    if (skipped < 0 || (skipped > 0 && this.entries.length > 0)) {
      throw new RecordError(key, `it begins at index ${entries[0]?.index}, where ${this.nextIndex} is missing`);
    }
    for (const entry of skipped === 0 ? entries : entries.slice(skipped)) {
      this.entries.push(entry);
      this.#bytes += entry.bytes.length;
      this.full = this.#bytes >= this.bytesMax || entry.index === this.to;
      if (this.full) return;
    }
  }
}

/**
 * Adds what drops the entries from `truncateFrom`, which must exist, on: their records go, and the one in which it lies is
 * written anew without them.
 * @throws RecordError when that record is missing or damaged.
 */
export async function addTruncation(
  operations: Operation[],
  database: LevelDatabase,
  group: GroupId,
  head: GroupHead,
  truncateFrom: Index,
): Promise<void> {
  const termOf = (index: Index) => termAt(head.termStarts, index);
  const first = recordKey(group, truncateFrom);
  let kept: LogEntry[] | undefined;
  await database.read(first, recordKey(group, head.lastIndex), 1, async (next) => {
    for (let pairs = await next(1); pairs.length > 0; pairs = await next(1)) {
      for (const [key, value] of pairs) {
        kept ??= keptEntries(decodeRecord(key, value, termOf), truncateFrom);
        operations.push({ type: 'del', key });
      }
    }
  });
  if (kept === undefined) throw new RecordError(first, 'the record is missing');
  if (kept.length > 0) addRecord(operations, group, kept);
  for (const { firstIndex } of head.termStarts) {
    if (firstIndex >= truncateFrom) operations.push({ type: 'del', key: termKey(group, firstIndex) });
  }
}

/** Those before `truncateFrom`, or undefined when that is not among the entries. */
function keptEntries(entries: readonly LogEntry[], truncateFrom: Index): LogEntry[] | undefined {
  const count = truncateFrom - (entries[0]?.index ?? 0);
  return count < 0 ? undefined : entries.slice(0, count);
}

/** Adds the entries, if any, as one record, and the terms that begin with them. `after` is the head with them. */
export function addAppend(
  operations: Operation[],
  group: GroupId,
  entries: readonly LogEntry[],
  after: GroupHead,
): void {
  const firstIndex = entries[0]?.index;
  if (firstIndex === undefined) return;
  for (let at = after.termStarts.length - 1; at >= 0; at--) {
    const start = after.termStarts[at];
    if (start === undefined || start.firstIndex < firstIndex) break;
    const key = termKey(group, start.firstIndex);
    operations.push({ type: 'put', key, value: encodeTerm(key, start.term) });
  }
  addRecord(operations, group, entries);
}

function addRecord(operations: Operation[], group: GroupId, entries: readonly LogEntry[]): void {
  const key = recordKey(group, entries.at(-1)?.index ?? 0);
  operations.push({ type: 'put', key, value: encodeRecord(key, entries) });
}
