/**
 * The command `craft.restore` (T10): at its place in the log the whole state becomes that of a
 * file, in one transaction with the position.
 *
 * Rows and results by id are the file's; the log goes on, and with it positions and checksums. So a
 * server that was away, or lost its database, comes to the same state as the others, by the log or
 * by a snapshot of later. The version that the file was taken with is in force from there on (T12).
 */

import {
  type AppliedBatch,
  abandon,
  type EngineBatch,
  type EnginePosition,
  PositionError,
  positionsAfter,
  SnapshotFormatError,
  type StorageEngine,
  versionAt,
} from '../../shared/engine/port.js';
import { EMPTY_RESULTS_CHECKSUM, ResultsChecksum } from '../../shared/engine/results-checksum.js';
import { CHECKPOINT_INTERVAL } from '../../shared/merge/merge.js';
import { itemAt } from '../../shared/raft/lists.js';
import type { StoredFile } from '../../shared/snapshot/bucket.js';
import type { RestoreInput } from '../../shared/wire/restore.js';

/** Opens a file in the bucket of the snapshots. @throws SnapshotFormatError when it is gone. */
export type OpenFile = (object: string) => Promise<StoredFile>;

/**
 * Applies it; may be given again after any rejection but FencedError.
 * @throws PositionError when the state is not where the batch begins; SnapshotFormatError when
 *   there is no such file (any more), or another one.
 */
export async function applyRestoring(
  engine: Pick<StorageEngine, 'restore'>,
  open: OpenFile,
  batch: EngineBatch,
  { object, digest }: RestoreInput,
): Promise<AppliedBatch> {
  const snapshot = await open(object);
  if (snapshot.digest !== digest) {
    await abandon(snapshot);
    throw new SnapshotFormatError(`the file ${object} is not the one that was to be restored`);
  }
  const done = restoredBy(batch, digest);
  const restored = await engine.restore(snapshot, (before) => positionRestored(before, batch, done.resultsChecksum));
  return { ...done, version: versionAt(restored) };
}

/**
 * What a `craft.restore` comes to. The checksum of the outcomes begins anew: servers whose outcomes
 * differed before have the same state from here on.
 */
export function restoredBy({ commands }: EngineBatch, digest: string): AppliedBatch {
  const { mergedIndex, group, timestamp } = itemAt(commands, 0);
  const outcome = { ok: true, json: JSON.stringify({ restored: digest }) } as const;
  const results = new ResultsChecksum(EMPTY_RESULTS_CHECKSUM);
  results.add(mergedIndex, mergedIndex, outcome);
  const resultsChecksum = results.toString();
  const checkpoints = mergedIndex % CHECKPOINT_INTERVAL === 0 ? [{ mergedIndex, resultsChecksum }] : [];
  return { applied: [{ mergedIndex, group, timestamp, outcome, duplicate: false }], checkpoints, resultsChecksum };
}

/**
 * Where the state counts as being once it is that of the file.
 * @throws PositionError when it is not directly before the command: a commit whose answer was lost
 *   shows up as a state that is one further.
 */
export function positionRestored(
  before: EnginePosition,
  { commands, checksum }: EngineBatch,
  resultsChecksum: string,
): EnginePosition {
  const { mergedIndex, timestamp } = itemAt(commands, 0);
  if (before.mergedIndex !== mergedIndex - 1) {
    throw new PositionError(`the state is at merged index ${before.mergedIndex}, given ${mergedIndex}`, before);
  }
  const positions = positionsAfter(before.positions, commands);
  return { mergedIndex, checksum, timestamp, resultsChecksum, positions };
}
