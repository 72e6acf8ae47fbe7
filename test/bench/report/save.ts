/** Where results are kept. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { projectRoot } from '../../../deploy/local/project.js';

/**
 * Writes JSON and picture; returns their paths without the endings. `prefix`: begins the file's
 * name, for example `leaders-`.
 */
export async function save(prefix: string, result: { readonly date: string }, picture: string): Promise<string> {
  const folder = join(projectRoot(), 'test', 'bench', 'results');
  await mkdir(folder, { recursive: true });
  // 2026-01-31T12-30
  const path = join(folder, `${prefix}${result.date.slice(0, 16).replace(':', '-')}`);
  await writeFile(`${path}.json`, `${JSON.stringify(result, undefined, 2)}\n`);
  await writeFile(`${path}.svg`, picture);
  return path;
}
