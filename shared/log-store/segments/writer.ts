/**
 * Writing to the sequence of segments: batches go to the end of the newest one. It gives way to the
 * next when it is full, or when a write to it failed. Holds S1 to S5 of store.ts.
 */
import { LogStoreWriteError } from '../port.js';
import { BatchBuffer, type BatchRecord } from './batch.js';
import { nextCheckpoint, type SegmentOptions, segmentBytesOf } from './checkpoint.js';
import type { SegmentFolder } from './files.js';
import type { Place } from './group-index.js';
import { readSpan, runsOf, spansOf } from './reading.js';
import { RecordKind } from './record.js';
import { segmentToEmpty } from './retention.js';
import { Segment } from './segment.js';
import type { StoreState } from './state.js';

export class SegmentWriter {
  /** Made, while the end of the current one is not durable yet. */
  #next: Segment | undefined;
  /** A write to the current segment failed. */
  #failed = false;

  constructor(
    private readonly folder: SegmentFolder,
    private readonly options: SegmentOptions,
    private readonly state: StoreState,
    private current: Segment,
    /** Takes segments that are needed no more. */
    private readonly remove: (segments: readonly Segment[]) => void,
  ) {}

  /**
   * Whether the next batch may go where the one before went, if it has no more than so many bytes.
   */
  hasRoom(bytes: number): boolean {
    return !this.#failed && bytes <= this.current.room;
  }

  /** Older segments without a live entry. */
  free(): Segment[] {
    return [...this.state.segments.values()].filter((segment) => segment.live === 0 && segment !== this.current);
  }

  /**
   * Writes the next batch, for which there is room. Returns where each record with entries lies.
   * Rejects with LogStoreWriteError: then the batch does not count, and never will.
   */
  async append(buffer: BatchBuffer): Promise<(Place | undefined)[]> {
    const { file, id, end, sequence, number } = this.current;
    try {
      await file.write(buffer.seal(id, end, sequence + 1), end);
    } catch (error) {
      this.#failed = true;
      // At once, so that nothing is left of it even when the process ends next; else before the
      // next write.
      await this.switch(0).catch(() => undefined);
      throw error;
    }
    this.current.end += buffer.length;
    this.current.sequence++;
    return buffer.records.map((record) => placeOf(record, number, end));
  }

  /**
   * Goes on in a new segment, with room for a batch of `bytes`. Rejects with LogStoreWriteError:
   * then it is to be tried again.
   */
  async switch(bytes: number): Promise<void> {
    this.#next ??= await Segment.create(this.folder, nextCheckpoint(this.options, this.state, this.current, bytes));
    await this.current.writeEnd(this.#next);
    const { segments } = this.state;
    const free = this.free();
    for (const { number } of free) segments.delete(number);
    this.current = this.#next;
    segments.set(this.current.number, this.current);
    this.#next = undefined;
    this.#failed = false;
    this.remove(free);
  }

  /**
   * Writes the live entries of the emptiest segment again, if it is time for that, and leaves room
   * for `bytes`.
   */
  async emptyOne(bytes: number): Promise<void> {
    const older = [...this.state.segments.values()].filter((segment) => segment.live > 0 && segment !== this.current);
    const segment = segmentToEmpty(older, segmentBytesOf(this.options));
    if (segment === undefined || !this.hasRoom(bytes + 2 * segment.live)) return;
    const buffer = new BatchBuffer();
    for (const [group, index] of this.state.indexes) {
      const base = this.state.headOf(group).base.index;
      for (const run of runsOf(index.inSegment(segment.number))) {
        const read = [];
        for (const span of spansOf(run)) read.push(await readSpan(segment, group, span));
        buffer.addGroup({ group, entries: read.flat().filter((entry) => entry.index > base) }, RecordKind.carried);
      }
    }
    const places = await this.append(buffer);
    for (const [at, { group }] of buffer.records.entries()) {
      const place = places[at];
      if (place !== undefined) this.state.indexOf(group).replace(place);
    }
  }

  /**
   * Leaves nothing of a batch that failed, if that can be had. The segments of the state stay open.
   */
  async close(): Promise<void> {
    if (this.#failed) {
      await this.switch(0).catch((error: unknown) => {
        if (!(error instanceof LogStoreWriteError)) throw error;
      });
    }
    await this.#next?.file.close();
  }
}

function placeOf({ firstIndex, count, at, length }: BatchRecord, segment: number, batchAt: number): Place | undefined {
  return count === 0 ? undefined : { firstIndex, count, segment, offset: batchAt + at, length };
}
