/**
 * The migrations of the engine's own tables, those of the schema `craft` and of the built-in
 * machine.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The table in schema `craft` that lists what of them has run. */
export const ENGINE_MIGRATIONS = 'migrations';

/** `migrations/` of the project, beside the sources or above the compiled code. */
export function migrationsFolder(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const candidate = join(folder, 'migrations');
    if (existsSync(join(candidate, 'meta', '_journal.json'))) return candidate;
    if (dirname(folder) === folder) throw new Error('the migrations folder is missing');
  }
}
