/** The files of this project, without what is built, installed or measured. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { projectRoot } from '../../../deploy/local/project.js';

const NOT_OURS = new Set(['node_modules', 'dist', '.git', '.craft', 'coverage', 'results']);

/** Paths of all files with this ending, from the folder of the project. */
export function filesIn(folder: string, ending: string): string[] {
  return readdirSync(join(projectRoot(), folder), { withFileTypes: true }).flatMap((entry) => {
    const path = posix.join(folder, entry.name);
    if (entry.isDirectory()) return NOT_OURS.has(entry.name) ? [] : filesIn(path, ending);
    return path.endsWith(ending) ? [path] : [];
  });
}

export const read = (path: string): string => readFileSync(join(projectRoot(), path), 'utf8');
