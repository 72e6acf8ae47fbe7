/**
 * Builds what a package contains, before `npm pack` or `npm publish` (their `prepack` script).
 * Works on a fresh clone: it installs what the build needs when that is missing. Always builds
 * anew, so that no file of an older build is packed.
 *
 *     node deploy/package/prepare.mjs server       dist/services and dist/shared
 *     node deploy/package/prepare.mjs client       shared/client/dist
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const inRoot = (...parts) => join(root, ...parts);

/** Everything goes to standard error: on standard output npm prints the names of the packages. */
function run(command) {
  const { status } = spawnSync(command, { cwd: root, shell: true, stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new Error(`"${command}" failed`);
}

/** The version in the client's package.json is the one that all parts have. */
function requireSameVersion() {
  const [server, client] = ['package.json', 'shared/client/package.json'].map(
    (path) => JSON.parse(readFileSync(inRoot(path), 'utf8')).version,
  );
  if (server !== client) throw new Error(`package.json has version ${server}, shared/client/package.json ${client}`);
}

const PACKAGES = {
  server() {
    for (const path of ['dist/services', 'dist/shared', 'dist/deploy', 'dist/.tsbuildinfo-build']) {
      rmSync(inRoot(path), { recursive: true, force: true });
    }
    run('npm run --silent build');
  },
  client() {
    rmSync(inRoot('shared/client/dist'), { recursive: true, force: true });
    run('npm run --silent generate');
    run('npx tsc -p shared/client');
    cpSync(inRoot('shared/wire/generated'), inRoot('shared/client/dist/shared/wire/generated'), { recursive: true });
    copyFileSync(inRoot('LICENSE'), inRoot('shared/client/LICENSE'));
  },
};

const [name = ''] = process.argv.slice(2);
const build = PACKAGES[name];
if (build === undefined) {
  console.error(`usage: prepare.mjs ${Object.keys(PACKAGES).join(' | ')}`);
  process.exit(2);
}
requireSameVersion();
if (!existsSync(inRoot('node_modules/typescript'))) run('npm ci --no-audit --no-fund');
build();
