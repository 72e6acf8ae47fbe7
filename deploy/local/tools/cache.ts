/** The folder that fetched tools are kept in, shared by every checkout of one user. */
import { chmod, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** `CRAFT_TOOLS_DIR`, else `~/.cache/craft/tools`. */
export function toolsDir(environment: NodeJS.ProcessEnv = process.env): string {
  return environment['CRAFT_TOOLS_DIR'] || join(homedir(), '.cache', 'craft', 'tools');
}

/**
 * Puts a program into the cache. `produce` gets an empty folder on the same file system and returns
 * the program's path in it. The program is moved into place in one step, so that concurrent
 * installs cannot see each other's halves: the last one wins.
 */
export async function installTool(
  cacheDir: string,
  name: string,
  produce: (workDir: string) => Promise<string>,
): Promise<string> {
  await mkdir(cacheDir, { recursive: true });
  const workDir = await mkdtemp(join(cacheDir, `.${name}-`));
  try {
    const program = await produce(workDir);
    await chmod(program, 0o755);
    const target = join(cacheDir, name);
    await rename(program, target);
    return target;
  } finally {
    await rm(workDir, { recursive: true, force: true });
  }
}
