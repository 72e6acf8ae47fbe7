/** Servers that begin with different backups are told apart (T4). */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { restoreFile } from '../../../services/applier/restore-file.js';
import type { EnginePosition } from '../../../shared/engine/port.js';
import { EMPTY_RESULTS_CHECKSUM } from '../../../shared/engine/results-checksum.js';
import { temporaryFolder } from '../../harness/index.js';

it('begins the checksum over outcomes with what is in the file', async () => {
  const folder = await temporaryFolder('restore');
  try {
    const begin = async (name: string, digest: string): Promise<EnginePosition | undefined> => {
      const path = join(folder.path, name);
      const position = { mergedIndex: 9, checksum: 'c', timestamp: 9, resultsChecksum: 'r', positions: [] };
      const head = {
        craft: 'snapshot',
        server: 's1',
        version: '1',
        format: 'f',
        position,
        savedAt: '',
        bytes: 0,
        digest,
      };
      await writeFile(path, `${JSON.stringify(head)}\n`);
      let beginning: EnginePosition | undefined;
      await restoreFile(
        {
          restore: async (_, as) => {
            beginning = as;
            return position;
          },
        },
        path,
      );
      return beginning;
    };
    const one = await begin('one', 'a');
    expect(one).toMatchObject({ mergedIndex: 0, timestamp: 0, positions: [] });
    expect(one?.resultsChecksum).toMatch(/^[0-9a-f]{16}$/);
    expect(one?.resultsChecksum).not.toBe(EMPTY_RESULTS_CHECKSUM);
    expect((await begin('copy', 'a'))?.resultsChecksum).toBe(one?.resultsChecksum);
    expect((await begin('other', 'b'))?.resultsChecksum).not.toBe(one?.resultsChecksum);
  } finally {
    await folder.remove();
  }
});
