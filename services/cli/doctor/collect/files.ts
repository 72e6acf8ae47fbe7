/** Whether the files that settings name can be read. */
import { access, constants } from 'node:fs/promises';
import type { Facts, UnreadableFile } from '../facts.js';
import { FILE_SETTINGS } from '../settings.js';

export async function unreadableFiles(environment: Facts['environment']): Promise<UnreadableFile[]> {
  const looks = FILE_SETTINGS.map(async (variable): Promise<UnreadableFile[]> => {
    const path = environment[variable];
    if (!path) return [];
    try {
      await access(path, constants.R_OK);
      return [];
    } catch (error) {
      const why =
        (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : (error as Error).message;
      return [{ variable, path, why }];
    }
  });
  return (await Promise.all(looks)).flat();
}
