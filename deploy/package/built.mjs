/**
 * Builds what a command of this clone needs, when that was never done: `npm run craft` works after
 * `npm ci` alone.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
if (!existsSync(`${root}/dist/services/cli/main.js`)) {
  // Standard output belongs to the command.
  const { status } = spawnSync('npm run --silent build', { cwd: root, shell: true, stdio: ['ignore', 2, 2] });
  process.exitCode = status ?? 1;
}
