/**
 * The command `craft.restore` (T10): at its place in the log the whole state becomes that of a file, in one transaction with the position.
 *
 * Rows and results by id are the file's; the log goes on, and with it positions and checksums. So a server that was away, or lost its
 * database, comes to the same state as the others, by the log or by a snapshot of later.
 */
import {
  type AppliedBatch,
  abandon,
  type EngineBatch,
  type EnginePosition,
  type MergedCommand,
  PositionError,
  positionsAfter,
  SnapshotFormatError,
  type StorageEngine,
} from '../../shared/engine/port.js';
import { ResultsChecksum } from '../../shared/engine/results-checksum.js';
import { CHECKPOINT_INTERVAL } from '../../shared/merge/merge.js';
import type { StoredFile } from '../../shared/snapshot/bucket.js';
import { RESTORE_COMMAND, type RestoreInput, restoreInput } from '../../shared/wire/restore.js';

/** Opens a file in the bucket of the snapshots. @throws SnapshotFormatError when it is gone. */
export type OpenFile = (object: string) => Promise<StoredFile>;

/** What the batch restores; undefined for any other batch, and for one that every engine has to refuse: its input is none, or there is a state. */
export function restoringOf({ commands }: EngineBatch): RestoreInput | undefined {
  const [command] = commands;
  if (command?.name !== RESTORE_COMMAND || commands.length > 1) return undefined;
  let input: RestoreInput | undefined;
  try {
    input = restoreInput.safeParse(JSON.parse(new TextDecoder().decode(command.payload))).data;
  } catch {
    return undefined;
  }
  return input?.replace === true || command.mergedIndex === 1 ? input : undefined;
}

/**
 * Applies it; may be given again after any rejection but FencedError.
 * @throws PositionError when the state is not where the batch begins; SnapshotFormatError when there is no such file (any more), or another one.
 */
export async function applyRestoring(
  engine: Pick<StorageEngine, 'restore'>,
  open: OpenFile,
  { commands, checksum }: EngineBatch,
  { object, digest }: RestoreInput,
): Promise<AppliedBatch> {
  const [command] = commands;
  if (command === undefined) throw new Error('an empty batch');
  const { mergedIndex, group, timestamp } = command;
  const outcome = { ok: true, json: JSON.stringify({ restored: digest }) } as const;
  const snapshot = await open(object);
  if (snapshot.digest !== digest) {
    await abandon(snapshot);
    throw new SnapshotFormatError(`the file ${object} is not the one that was to be restored`);
  }
  const { resultsChecksum } = await engine.restore(snapshot, (before) => {
    requireBefore(before, command);
    const results = new ResultsChecksum(before.resultsChecksum);
    results.add(mergedIndex, mergedIndex, outcome);
    const positions = positionsAfter(before.positions, commands);
    return { mergedIndex, checksum, timestamp, resultsChecksum: results.toString(), positions };
  });
  const checkpoints = mergedIndex % CHECKPOINT_INTERVAL === 0 ? [{ mergedIndex, resultsChecksum }] : [];
  return { applied: [{ mergedIndex, group, timestamp, outcome, duplicate: false }], checkpoints };
}

/** A commit that nobody confirmed shows up here as a state that is one command further. */
function requireBefore(before: EnginePosition, { mergedIndex }: MergedCommand): void {
  if (before.mergedIndex === mergedIndex - 1) return;
  throw new PositionError(`the state is at merged index ${before.mergedIndex}, given ${mergedIndex}`, before);
}
