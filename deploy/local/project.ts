/**
 * Where this project's files are, whether this runs from its sources or from what was built of
 * them.
 */
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { packageRoot } from '../../shared/config/package-root.js';

export { packageRoot as projectRoot };

/** Whether this runs as a package of another project, not from a clone. */
export function isInstalled(): boolean {
  return basename(dirname(packageRoot())) === 'node_modules';
}

/** The built program of the services. Throws when the project has not been built. */
export function servicesProgram(): string {
  const program = join(packageRoot(), 'dist', 'services', 'main.js');
  if (!existsSync(program)) throw new Error(`${program} is missing: run "npm run build" first`);
  return program;
}
