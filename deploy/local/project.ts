/** Where this project's files are, whether this runs from its sources or from what was built of them. */
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder with package.json. */
export function projectRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error('this file does not lie in the project any more');
    folder = parent;
  }
  return folder;
}

/** Whether this runs as a package of another project, not from a clone. */
export function isInstalled(): boolean {
  return basename(dirname(projectRoot())) === 'node_modules';
}

/** The built program of the services. Throws when the project has not been built. */
export function servicesProgram(): string {
  const program = join(projectRoot(), 'dist', 'services', 'main.js');
  if (!existsSync(program)) throw new Error(`${program} is missing: run "npm run build" first`);
  return program;
}
