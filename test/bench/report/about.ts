/** What a result was measured with and on. */
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { projectRoot } from '../../../deploy/local/project.js';
import { runCommand } from '../../../deploy/local/tools/command.js';
import { findNatsServer } from '../../../deploy/local/tools/nats-server.js';

const GIT_MS_MAX = 10_000;
const GIB = 2 ** 30;

/** `more`: what only the caller knows. */
export async function versions(more: Readonly<Record<string, string>>): Promise<Record<string, string>> {
  const { version } = JSON.parse(readFileSync(join(projectRoot(), 'package.json'), 'utf8')) as { version: string };
  const commit = await commitOf(projectRoot());
  const nats = await findNatsServer();
  return {
    craft: commit === undefined ? version : `${version} (${commit})`,
    node: process.version.slice(1),
    'nats-server': nats.version,
    ...more,
    kernel: release(),
  };
}

export function machine(): Record<string, string | number> {
  const all = cpus();
  return { cores: all.length, processor: all[0]?.model ?? '', 'memory GiB': Math.round(totalmem() / GIB) };
}

/** Undefined outside of a repository. */
function commitOf(folder: string): Promise<string | undefined> {
  const options = { timeoutMs: GIT_MS_MAX, cwd: folder };
  return runCommand('git', ['describe', '--always', '--dirty', '--exclude=*'], options).then(
    (output) => output.trim(),
    () => undefined,
  );
}
