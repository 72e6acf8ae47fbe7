/**
 * A snapshot of a large state takes its time at every server: one saves it, and all add up their
 * rows. Therefore the log between two snapshots grows with them (dissertation, section 5.1.3).
 */

/** So many times the bytes of the newest snapshot, which are compressed. */
const GROWTH = 2;
/** Nothing of this is counted: a small snapshot costs little, however often it is taken (bytes). */
const SMALL_BYTES = 4 * 1024 * 1024;

/** Bytes of commands before which no other snapshot is due than by age. */
export function commandBytesUntilNext(snapshotBytes: number): number {
  return Math.max(0, GROWTH * snapshotBytes - SMALL_BYTES);
}
