/** What a snapshot says of itself, in the object store and in a file. */
import { z } from 'zod';

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
