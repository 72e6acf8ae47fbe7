/**
 * How much of the disk the store takes. A segment of which no entry can be read any more is
 * dropped. A group that is written seldom would hold on to old segments. Therefore, when less than
 * half of all segments is live, the live entries of the emptiest one are written again. Then it is
 * dropped, too. Pure.
 */

/** Segments that may lie about beside twice what is live. */
const SPARE_SEGMENTS = 3;
/**
 * A segment is not emptied when this much of it is live (bytes): what is written again at once is
 * bounded.
 */
const CARRIED_BYTES_MAX = 4 * 1024 * 1024;

export interface SegmentUse {
  readonly live: number;
  readonly file: { readonly size: number };
}

/**
 * The one of the older segments that is to be emptied, if any. `sizeBytes` is that of an ordinary
 * segment.
 */
export function segmentToEmpty<S extends SegmentUse>(segments: readonly S[], sizeBytes: number): S | undefined {
  const size = segments.reduce((sum, { file }) => sum + file.size, 0);
  const live = segments.reduce((sum, segment) => sum + segment.live, 0);
  if (size <= 2 * live + SPARE_SEGMENTS * sizeBytes) return undefined;
  const [emptiest] = [...segments].sort((a, b) => a.live / a.file.size - b.live / b.file.size);
  return emptiest !== undefined && emptiest.live <= CARRIED_BYTES_MAX ? emptiest : undefined;
}
