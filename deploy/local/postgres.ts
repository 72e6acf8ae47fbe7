/**
 * One Postgres server for one machine, and a database in it for each craft server. The server is
 * the embedded one, or one that runs already (`DATABASE_URL`).
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chown, mkdir, mkdtemp, readFile, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import postgres from 'postgres';
import { ManagedProcess, ProcessFailedError } from './managed-process.js';
import type { PidFolder } from './pid-file.js';
import {
  isOpenTo,
  PostgresUnavailableError,
  postgresBinaries,
  privateFolder,
  type SystemUser,
} from './postgres-binaries.js';
import { runCommand } from './tools/command.js';

const POSTGRES_USER = 'craft';
const POSTGRES_PASSWORD = 'craft';

export interface LocalPostgresOptions {
  /** The cluster of databases lives in `data` below this folder, the log beside it. */
  readonly dataDir: string;
  readonly port: number;
  readonly pidFolder?: PidFolder;
  readonly print?: boolean;
  /**
   * What it has written survives its own end, but not that of the machine: for tests, which then
   * begin again (default false).
   */
  readonly isVolatile?: boolean;
}

const INIT_TIMEOUT_MS = 120_000;
const READY_TIMEOUT_MS = 60_000;
/** After a crash the dead server's children may hold its shared memory for a moment. */
const START_ATTEMPTS = 5;

const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '200',
  shared_buffers: '128MB',
  // Fewer, larger checkpoints: the applier rewrites the same pages again and again.
  max_wal_size: '2GB',
  checkpoint_timeout: '15min',
  log_min_messages: 'warning',
};

const VOLATILE = { fsync: 'off', full_page_writes: 'off' };

/** Address of one database of the local server. */
export function localDatabaseUrl(port: number, database: string): string {
  return `postgres://${POSTGRES_USER}:${POSTGRES_PASSWORD}@127.0.0.1:${port}/${database}`;
}

/** The same server, another database. */
export function withDatabase(url: string, database: string): string {
  const changed = new URL(url);
  changed.pathname = `/${database}`;
  return changed.toString();
}

/**
 * Starts the embedded Postgres, initialised when `dataDir` is empty, and resolves when it accepts
 * connections. Run by root, the server runs as `postgres` or `nobody`, because Postgres refuses to
 * run as root. Rejects with PostgresUnavailableError or ProcessFailedError.
 */
export async function startPostgres(options: LocalPostgresOptions): Promise<ManagedProcess> {
  await mkdir(options.dataDir, { recursive: true });
  const user = await serverUser(options.dataDir);
  const binaries = await postgresBinaries(user);
  const dataDir = await clusterFolder(options.dataDir, user);
  if (!existsSync(join(dataDir, 'PG_VERSION'))) await initialise(binaries, dataDir, user);
  for (let attempt = 1; ; attempt++) {
    const server = await ManagedProcess.start({
      name: 'postgres',
      command: join(binaries, 'bin', 'postgres'),
      args: ['-D', dataDir, '-p', String(options.port), ...settings(options.isVolatile === true ? VOLATILE : {})],
      ...(user && { uid: user.uid, gid: user.gid }),
      environment: serverEnvironment(),
      cwd: '/',
      logFile: join(options.dataDir, 'postgres.log'),
      // Its fast shutdown: clients are disconnected, everything is written.
      stopSignal: 'SIGINT',
      stopTimeoutMs: 20_000,
      pidFolder: options.pidFolder,
      print: options.print ?? false,
    });
    try {
      await server.ready(() => accepts(localDatabaseUrl(options.port, 'postgres'), dataDir), READY_TIMEOUT_MS);
      return server;
    } catch (error) {
      const endedByItself = !server.isRunning;
      await server.stop();
      if (!(error instanceof ProcessFailedError && endedByItself && attempt < START_ATTEMPTS)) throw error;
      await delay(attempt * 200);
    }
  }
}

/**
 * Creates the databases that do not exist yet. `url` is any database of the server that the user
 * may connect to.
 */
export async function createDatabases(url: string, names: readonly string[]): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    const present = new Set((await sql`select datname from pg_database`).map((row) => String(row['datname'])));
    for (const name of names) {
      if (!present.has(name)) await sql`create database ${sql(name)}`;
    }
  } finally {
    await sql.end({ timeout: 5 });
  }
}

function settings(more: Readonly<Record<string, string>>): string[] {
  return Object.entries({ ...SETTINGS, ...more }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

/** Nothing of the launcher's own environment may change how the server behaves. */
function serverEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], TZ: 'UTC', LC_ALL: 'C' };
}

/**
 * Who the server must run as: undefined for this user; else, for root, the owner of existing data
 * or an unprivileged user.
 */
async function serverUser(dataDir: string): Promise<SystemUser | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const users = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  const known = users.map(([name = '', , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }));
  const owner = await stat(join(dataDir, 'data')).catch(() => undefined);
  if (owner && owner.uid !== 0) {
    return known.find(({ uid }) => uid === owner.uid) ?? { name: `user ${owner.uid}`, uid: owner.uid, gid: owner.gid };
  }
  const user = known.find(({ name }) => name === 'postgres') ?? known.find(({ name }) => name === 'nobody');
  if (user === undefined || user.uid === 0) {
    throw new PostgresUnavailableError('Postgres does not run as root, and there is no user postgres or nobody here');
  }
  return user;
}

/**
 * The folder of the databases, owned by the user that runs the server. When that user may not enter
 * `parent`, the data lie in a folder of their own elsewhere, and `parent/data` is a link to it.
 */
async function clusterFolder(parent: string, user: SystemUser | undefined): Promise<string> {
  const folder = join(parent, 'data');
  if (!existsSync(folder)) {
    // A link whose target someone has cleared away.
    await rm(folder, { force: true });
    if (user === undefined || (await isOpenTo(resolve(parent), user))) {
      await mkdir(folder, { mode: 0o700 });
    } else {
      const place = await privateFolder('/var/tmp/craft-postgres');
      const target = join(place, createHash('sha256').update(resolve(parent)).digest('hex').slice(0, 16));
      await mkdir(target, { recursive: true, mode: 0o700 });
      await symlink(target, folder);
    }
    if (user) await chown(folder, user.uid, user.gid);
  }
  return realpath(folder);
}

async function initialise(binaries: string, dataDir: string, user: SystemUser | undefined): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), 'craft-initdb-'));
  const passwordFile = join(work, 'password');
  try {
    await writeFile(passwordFile, `${POSTGRES_PASSWORD}\n`, { mode: 0o600 });
    if (user) for (const path of [work, passwordFile]) await chown(path, user.uid, user.gid);
    const args = ['-D', dataDir, `--username=${POSTGRES_USER}`, `--pwfile=${passwordFile}`, '--auth=scram-sha-256'];
    await runCommand(join(binaries, 'bin', 'initdb'), [...args, '--encoding=UTF8', '--locale=C', '--data-checksums'], {
      timeoutMs: INIT_TIMEOUT_MS,
      environment: serverEnvironment(),
      cwd: '/',
      ...(user && { uid: user.uid, gid: user.gid }),
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/**
 * True when a server answers and it is the one with these data, not another one that has the port.
 */
async function accepts(url: string, dataDir: string): Promise<boolean> {
  const sql = postgres(url, { max: 1, connect_timeout: 2, onnotice: () => {} });
  try {
    const [row] = await sql`show data_directory`;
    return row?.['data_directory'] === dataDir;
  } catch {
    return false;
  } finally {
    await sql.end({ timeout: 1 });
  }
}
