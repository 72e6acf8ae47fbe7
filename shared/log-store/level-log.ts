/**
 * One group's records in the database: reading a range of entries, dropping the log or a suffix, appending. What is read is checked against the
 * group's head, record by record, so that neither a gap nor an entry that was truncated can pass.
 */
import type { GroupId, Index, LogEntry, Term } from '../raft/entry.js';
import { type GroupHead, termOf } from './head.js';
import type { KeyValue, LevelDatabase, Operation } from './level-database.js';
import { decodeRecord, encodeRecord, encodeTerm, RecordError, recordKey, termKey } from './level-record.js';

/** Records are read this many at a time at most, however small. */
const RECORDS_MAX = 1_000;

/**
 * The entries `from` .. `to`, which must exist above the base, up to the one that reaches `bytesMax`.
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
  const collector = new Collector(from, to, bytesMax, (index) => termOf(head, index));
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
    private readonly termOf: (index: Index) => Term | undefined,
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
 * written anew with those of its entries that lie between the base and it.
 * @throws RecordError when that record is missing or damaged.
 */
export async function addTruncation(
  operations: Operation[],
  database: LevelDatabase,
  group: GroupId,
  head: GroupHead,
  truncateFrom: Index,
): Promise<void> {
  const first = recordKey(group, truncateFrom);
  let kept: LogEntry[] | undefined;
  await database.read(first, recordKey(group, head.lastIndex), 1, async (next) => {
    for (let pairs = await next(1); pairs.length > 0; pairs = await next(1)) {
      for (const [key, value] of pairs) {
        kept ??= keptEntries(
          decodeRecord(key, value, (index) => termOf(head, index)),
          head.base.index,
          truncateFrom,
        );
        operations.push({ type: 'del', key });
      }
    }
  });
  if (kept === undefined) throw new RecordError(first, 'the record is missing');
  addAppend(operations, group, kept);
}

/** Those between `base` and `truncateFrom`, or undefined when that is not among the entries. */
function keptEntries(entries: readonly LogEntry[], base: Index, truncateFrom: Index): LogEntry[] | undefined {
  const firstIndex = entries[0]?.index ?? 0;
  if (truncateFrom < firstIndex) return undefined;
  return entries.slice(Math.max(0, base + 1 - firstIndex), truncateFrom - firstIndex);
}

/**
 * Adds what drops the records above `base` of a log that is dropped whole: entries that are appended later may end where one of them
 * does. Those at or below it are garbage that level-removal.ts sees to. There are not many: what conflicts with a snapshot was never
 * committed.
 */
export async function addDrop(
  operations: Operation[],
  database: LevelDatabase,
  group: GroupId,
  base: Index,
  lastIndex: Index,
): Promise<void> {
  for (const key of await database.keys(recordKey(group, base + 1), recordKey(group, lastIndex))) {
    operations.push({ type: 'del', key });
  }
}

/** Adds the entries, if any, as one record. */
export function addAppend(operations: Operation[], group: GroupId, entries: readonly LogEntry[]): void {
  const lastIndex = entries.at(-1)?.index;
  if (lastIndex === undefined) return;
  const key = recordKey(group, lastIndex);
  operations.push({ type: 'put', key, value: encodeRecord(key, entries) });
}

/** Adds what makes the stored term starts those of `after`. */
export function addTermStarts(operations: Operation[], group: GroupId, before: GroupHead, after: GroupHead): void {
  // An array that has not changed is the same one; only an election, a truncation or a base makes another.
  if (before.termStarts === after.termStarts) return;
  const left = new Map(before.termStarts.map(({ firstIndex, term }) => [firstIndex, term]));
  for (const { firstIndex, term } of after.termStarts) {
    const isStored = left.get(firstIndex) === term;
    left.delete(firstIndex);
    const key = termKey(group, firstIndex);
    if (!isStored) operations.push({ type: 'put', key, value: encodeTerm(key, term) });
  }
  for (const firstIndex of left.keys()) operations.push({ type: 'del', key: termKey(group, firstIndex) });
}
