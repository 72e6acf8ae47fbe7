/** What a segment begins with: all that the store needs to know but for entries. Pure. */
import { randomBytes } from 'node:crypto';
import type { LogStoreIdentity } from '../errors.js';
import { type Checkpoint, FORMAT } from './payload.js';
import { SECTOR_BYTES } from './record.js';
import type { Segment } from './segment.js';
import type { StoreState } from './state.js';

export interface SegmentOptions extends LogStoreIdentity {
  /** Of an ordinary segment; a batch that needs more gets a larger one. Default 16 MiB. */
  readonly segmentBytes?: number;
}

const SEGMENT_BYTES = 16 * 1024 * 1024;

export const segmentBytesOf = ({ segmentBytes = SEGMENT_BYTES }: SegmentOptions): number => segmentBytes;

/**
 * Of the segment after `current`, or of the first one of a new store, with room for a batch of
 * `bytes`.
 */
export function nextCheckpoint(
  options: SegmentOptions,
  { promiseLimit, heads, segments }: StoreState,
  current: Segment | undefined,
  bytes: number,
): Checkpoint {
  const { cluster, server, groups } = options;
  const needed = [...segments.values()].filter((segment) => segment.live > 0 || segment === current);
  const checkpoint = {
    identity: { format: FORMAT, cluster, server, groups },
    store: current?.checkpoint.store ?? randomBytes(16).toString('hex'),
    // The first segment has the number 1, and no batch before it.
    number: (current?.number ?? 0) + 1,
    sequence: current?.sequence ?? 0,
    promiseLimit,
    heads: [...heads],
    segments: needed.map(({ entry }) => entry),
  };
  return { ...checkpoint, size: sizeFor(options, bytes + JSON.stringify(checkpoint).length) };
}

/**
 * Room for so many bytes, and, if that is much, for as much as in an ordinary segment beside it.
 */
function sizeFor(options: SegmentOptions, bytes: number): number {
  const needed = bytes + 4 * SECTOR_BYTES;
  const ordinary = segmentBytesOf(options);
  return Math.ceil((2 * needed <= ordinary ? ordinary : ordinary + needed) / SECTOR_BYTES) * SECTOR_BYTES;
}
