/**
 * How a stream that is only ever appended to gives space back (T10). What lies before the last
 * checkpoint, and before the first message that any group still needs, is purged. A group that
 * writes seldom would hold on to old messages, and with them to all after them. Therefore, when
 * most of the stream is garbage, the entries in its oldest messages are written again, along with
 * the writes that follow.
 */
import type { GroupId, LogEntry } from '../../raft/entry.js';
import type { GroupIndex, Segment } from './group-index.js';
import { type Block, blockOf } from './record.js';
import type { StoreStream } from './stream.js';

/** Messages that a stream may have beside twice those that are needed, before entries are moved. */
const GARBAGE_MESSAGES_MAX = 1_024;
/** Moved along with one write (bytes, segments). */
const MOVED_BYTES_MAX = 256 * 1024;
const MOVED_SEGMENTS_MAX = 64;

export interface Move {
  readonly block: Block;
  readonly entries: readonly LogEntry[];
  /** What they were read from; the move is void when the index has others by now. */
  readonly segments: readonly Segment[];
}

type Indexes = ReadonlyMap<GroupId, GroupIndex>;
type ReadSegments = (group: GroupId, segments: readonly Segment[]) => Promise<LogEntry[]>;

export class Cleaning {
  #running: Promise<void> | undefined;
  #move: Move | undefined;

  constructor(
    private readonly stream: StoreStream,
    private readonly indexes: Indexes,
    private readonly read: ReadSegments,
  ) {}

  /** The entries that the next write is to carry again, if any. */
  takeMove(): Move | undefined {
    const move = this.#move;
    this.#move = undefined;
    if (move === undefined) return undefined;
    const present = new Set(this.indexes.get(move.block.group)?.segments);
    return move.segments.every((segment) => present.has(segment)) ? move : undefined;
  }

  /**
   * After a record with a checkpoint, which begins at `checkpointAt`: cleans in the background.
   * Failures wait for the next time.
   */
  start(checkpointAt: number): void {
    this.#running ??= this.#clean(checkpointAt)
      .catch(() => undefined)
      .finally(() => {
        this.#running = undefined;
      });
  }

  /** Resolves when nothing runs in the background. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #clean(checkpointAt: number): Promise<void> {
    let needed = checkpointAt;
    let messages = 1;
    let oldest: { group: GroupId; position: number } | undefined;
    for (const [group, { segments }] of this.indexes) {
      for (const [position, { sequence, parts }] of segments.entries()) {
        messages += parts;
        if (sequence >= needed) continue;
        needed = sequence;
        oldest = { group, position };
      }
    }
    if (needed > this.stream.first) await this.stream.purge(needed);
    const { first, last } = this.stream;
    if (oldest === undefined || last - first <= 2 * messages + GARBAGE_MESSAGES_MAX) return;
    await this.#prepareMove(oldest.group, oldest.position, (first + last) / 2);
  }

  async #prepareMove(group: GroupId, start: number, sequenceMax: number): Promise<void> {
    const all = this.indexes.get(group)?.segments ?? [];
    let end = start;
    let bytes = 0;
    while (end < all.length && end - start < MOVED_SEGMENTS_MAX) {
      const segment = all[end];
      if (segment === undefined || segment.sequence > sequenceMax) break;
      bytes += segment.bytes;
      if (bytes > MOVED_BYTES_MAX && end > start) break;
      end++;
    }
    const segments = all.slice(start, end);
    // What was the oldest may have been dropped while the stream was purged.
    if (segments.length === 0) return;
    const entries = await this.read(group, segments);
    this.#move = { block: blockOf(group, entries), entries, segments };
  }
}
