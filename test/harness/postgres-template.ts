/**
 * What Postgres servers of a run share. One is initialised for all: each begins with a copy of its
 * files. The copies lie in memory where there is room: to make a database of some hundred files can
 * take 0.3 s of processor time on a disk. Both are in the folder that `TEST_POSTGRES` names (set by
 * `test/run.mjs`); without it, each server initialises its own, beside its log.
 */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readlink, rename, rm, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../deploy/local/ports.js';
import { startPostgres } from '../../deploy/local/postgres.js';

const { TEST_POSTGRES } = process.env;

/** `dataDir` is that of `startPostgres`, and empty. */
export async function preparePostgres(dataDir: string): Promise<void> {
  if (TEST_POSTGRES === undefined) return;
  const template = await templateIn(TEST_POSTGRES);
  const copy = join(TEST_POSTGRES, randomUUID());
  // With its owner: the server may run as another user.
  await promisify(execFile)('cp', ['-Rp', join(template, 'data'), copy]);
  await mkdir(dataDir, { recursive: true });
  await symlink(copy, join(dataDir, 'data'));
}

/** The server has ended. Does nothing where a test has replaced its files. */
export async function removePostgres(dataDir: string): Promise<void> {
  if (TEST_POSTGRES === undefined) return;
  const copy = await readlink(join(dataDir, 'data')).catch(() => undefined);
  if (copy !== undefined) await rm(copy, { recursive: true, force: true });
}

/**
 * Made under another name and moved into place in one step: of several that make one at the same
 * time, the first one is taken.
 */
async function templateIn(folder: string): Promise<string> {
  const template = join(folder, 'template');
  const isThere = await stat(template).then(
    () => true,
    () => false,
  );
  if (isThere) return template;
  const work = await mkdtemp(join(folder, 'unfinished-'));
  try {
    await chmod(work, 0o755);
    const server = await startPostgres({ dataDir: work, port: await freePort() });
    await server.stop();
    await rename(work, template).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return template;
}
