/** A backup as the beginning of a new cluster (T10). */
import type { EnginePosition, StorageEngine } from '../../shared/engine/port.js';
import { EMPTY_RESULTS_CHECKSUM } from '../../shared/engine/results-checksum.js';
import { EMPTY_CHECKSUM } from '../../shared/merge/checksum.js';
import { openFile } from '../../shared/snapshot/file.js';

/** Every server of the new cluster begins with the same file, before its first command. @throws SnapshotFormatError */
export async function restoreFile(engine: Pick<StorageEngine, 'restore'>, path: string): Promise<EnginePosition> {
  const beginning = {
    mergedIndex: 0,
    checksum: EMPTY_CHECKSUM,
    timestamp: 0,
    resultsChecksum: EMPTY_RESULTS_CHECKSUM,
    positions: [],
  };
  return engine.restore(await openFile(path), beginning);
}
