/**
 * Reading entries back: which pieces of which files to read, and that what is read is what was
 * written.
 */
import type { GroupId, LogEntry, LogIndex, Term } from '../../raft/entry.js';
import { WireError } from '../../wire/wire-error.js';
import { LogStoreCorruptError } from '../port.js';
import type { Place } from './group-index.js';
import { entriesOf, readGroup } from './payload.js';
import { readHeader, readPayload } from './record.js';
import type { Segment } from './segment.js';

/**
 * Records that lie near each other are read at once: up to this much, over gaps up to this (bytes).
 */
const SPAN_BYTES_MAX = 1024 * 1024;
const GAP_BYTES_MAX = 64 * 1024;

/** Neighbours in one file. Pure. */
export function spansOf(places: readonly Place[]): Place[][] {
  const spans: Place[][] = [];
  for (const place of places) {
    const span = spans[spans.length - 1];
    const [first, last] = [span?.[0], span?.[span.length - 1]];
    const gap = last === undefined ? -1 : place.offset - last.offset - last.length;
    const fits =
      first !== undefined &&
      first.segment === place.segment &&
      gap >= 0 &&
      gap <= GAP_BYTES_MAX &&
      place.offset + place.length - first.offset <= SPAN_BYTES_MAX;
    if (fits) span?.push(place);
    else spans.push([place]);
  }
  return spans;
}

/** Of records in order of index, those that follow each other without a gap. Pure. */
export function runsOf(places: readonly Place[]): Place[][] {
  const runs: Place[][] = [];
  for (const place of places) {
    const run = runs[runs.length - 1];
    const last = run?.[run.length - 1];
    if (last !== undefined && last.firstIndex + last.count === place.firstIndex) run?.push(place);
    else runs.push([place]);
  }
  return runs;
}

/**
 * The entries in a span that lie in `places`, as views of what is read. Rejects with
 * LogStoreCorruptError.
 */
export async function readSpan(segment: Segment, group: GroupId, places: readonly Place[]): Promise<LogEntry[]> {
  const [first, last] = [places[0], places[places.length - 1]];
  if (first === undefined || last === undefined) return [];
  const bytes = await segment.file.read(first.offset, last.offset + last.length - first.offset);
  return places.flatMap((place) => {
    try {
      return readPlace(bytes, place.offset - first.offset, segment, group, place);
    } catch (cause) {
      if (!(cause instanceof WireError)) throw cause;
      throw new LogStoreCorruptError(`${segment.path} at byte ${place.offset}`, cause.message, { cause });
    }
  });
}

function readPlace(bytes: Buffer, at: number, { id }: Segment, group: GroupId, place: Place): LogEntry[] {
  const header = readHeader(bytes, at, id, place.offset);
  const payload = header && readPayload(bytes, at, header);
  if (payload === undefined) throw new WireError('the record is damaged');
  const { write, block } = readGroup(payload);
  if (write.group !== group || block === undefined) throw new WireError(`the record has no entries of group ${group}`);
  const from = place.firstIndex - block.firstIndex;
  const entries = entriesOf(block).slice(from, from + place.count);
  if (from < 0 || entries.length < place.count) throw new WireError(`entry ${place.firstIndex} is not in the record`);
  return entries;
}

/** Takes entries in order and keeps those that were asked for. */
export class Collector {
  readonly entries: LogEntry[] = [];
  isFull = false;
  #bytes = 0;

  constructor(
    private readonly from: LogIndex,
    private readonly to: LogIndex,
    private readonly bytesMax: number,
    private readonly termOf: (index: LogIndex) => Term | undefined,
  ) {}

  get nextIndex(): LogIndex {
    return this.from + this.entries.length;
  }

  /** Bytes that are still wanted. */
  get room(): number {
    return this.bytesMax - this.#bytes;
  }

  /** Throws LogStoreCorruptError when one is not what the log has there. */
  add(entries: readonly LogEntry[], location: string): void {
    for (const entry of entries) {
      if (this.isFull || entry.index < this.nextIndex) continue;
      if (entry.index !== this.nextIndex || entry.term !== this.termOf(entry.index)) {
        throw new LogStoreCorruptError(
          location,
          `entry ${entry.index} of term ${entry.term} is not the one that belongs there`,
        );
      }
      this.entries.push(entry);
      this.#bytes += entry.bytes.length;
      this.isFull = this.#bytes >= this.bytesMax || entry.index === this.to;
    }
  }
}
