/** A backup as the beginning of a new cluster (T10). */
import { createHash } from 'node:crypto';
import type { EnginePosition, StorageEngine } from '../../shared/engine/port.js';
import { EMPTY_RESULTS_CHECKSUM } from '../../shared/engine/results-checksum.js';
import { EMPTY_CHECKSUM } from '../../shared/merge/checksum.js';
import { openFile } from '../../shared/snapshot/file.js';

/**
 * Every server of the new cluster begins with the same file, before its first command. The checksum over the outcomes begins with what is in the
 * file: a server that was forgotten, or given another one, stops at the first checkpoint (T4). @throws SnapshotFormatError
 */
export async function restoreFile(engine: Pick<StorageEngine, 'restore'>, path: string): Promise<EnginePosition> {
  const { digest, ...snapshot } = await openFile(path);
  const beginning = {
    mergedIndex: 0,
    checksum: EMPTY_CHECKSUM,
    timestamp: 0,
    resultsChecksum: createHash('sha256').update(digest).digest('hex').slice(0, EMPTY_RESULTS_CHECKSUM.length),
    positions: [],
  };
  return engine.restore(snapshot, beginning);
}
