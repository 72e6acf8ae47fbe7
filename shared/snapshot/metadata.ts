/** What a snapshot says of itself, in the object store and in a file. */
import { z } from 'zod';
import type { EnginePosition } from '../engine/port.js';

const count = z.number().int().nonnegative();

export const snapshotMetadata = z.object({
  /** The server that took it, and its version of craft. */
  server: z.string(),
  version: z.string(),
  /** The cluster whose state it is; absent from snapshots of earlier builds. */
  cluster: z.string().optional(),
  /** Engine, and version of its tables. */
  format: z.string(),
  /** The state machine's name; absent from snapshots of earlier builds. */
  machine: z.string().optional(),
  position: z.object({
    mergedIndex: count,
    checksum: z.string(),
    timestamp: count,
    resultsChecksum: z.string(),
    positions: z.array(z.object({ index: count, term: count, timestamp: count })),
    /** Of the state machine, in force there; absent for the first one. */
    version: z.number().int().positive().optional(),
  }),
});
export interface SnapshotMetadata extends Readonly<Omit<z.output<typeof snapshotMetadata>, 'position'>> {
  readonly position: EnginePosition;
}

/** A file of `saveFile`, looked at and not read yet. */
export interface SnapshotFile {
  /** What it says of the snapshot. */
  readonly about: SnapshotMetadata;
  /**
   * Of the compressed bytes: their number, and the SHA-256 (base64url) that tells them from all
   * others.
   */
  readonly bytes: number;
  readonly digest: string;
  /** The compressed bytes, to be read once; they end with an error when the file is damaged. */
  readonly data: AsyncIterable<Uint8Array>;
}
