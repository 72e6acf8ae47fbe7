/**
 * One process at a time may have a folder. Node.js has no file locks. Therefore the lock is a
 * socket in the folder, on which its holder listens. The kernel closes it with the process, however
 * that ends. It works between containers that share the folder. (Not between machines: a folder on
 * a network file system must not be given to two.)
 *
 * Each process makes a socket under a name of its own, and only then looks for others. Of two
 * processes one has made its socket before the other looks, so at least one sees the other. A
 * socket that does not answer belongs to a process that is gone; its name is never used again, so
 * removing it removes nothing else.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { type FileHandle, open, readdir, rename, unlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../../errors.js';
import { LogStoreLockedError } from '../errors.js';
import { LogStoreWriteError } from '../port.js';

/** `.new` until it listens: a socket that does not yet would look like one that is left over. */
const NAME = /^lock\.[0-9a-f]{16}(\.new)?$/;
export const isLock = (file: string): boolean => NAME.test(file);

/**
 * Two that start at the same moment see each other and step back; one of them is first at the next
 * try.
 */
const TRIES = 3;
const PAUSE_MS = [20, 80] as const;

/**
 * Returns what gives the lock back. Rejects with LogStoreLockedError, or LogStoreWriteError when
 * there can be no lock.
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  for (let tries = 1; ; tries++) {
    const release = await announce(folder);
    try {
      if (!(await othersAnswer(folder, release.file))) return release.release;
    } catch (error) {
      await release.release();
      throw error;
    }
    await release.release();
    if (tries === TRIES) throw new LogStoreLockedError(folder);
    await delay(randomInt(...PAUSE_MS));
  }
}

interface Announced {
  readonly file: string;
  release(): Promise<void>;
}

async function announce(folder: string): Promise<Announced> {
  const file = `lock.${randomBytes(8).toString('hex')}`;
  const server = createServer((socket) => socket.destroy()).unref();
  try {
    await withShortPath(folder, (short) => listen(server, join(short, `${file}.new`)));
    await rename(join(folder, `${file}.new`), join(folder, file));
  } catch (cause) {
    server.close();
    const reason = messageOf(cause);
    throw new LogStoreWriteError(`${folder} cannot be locked: ${reason}`, { cause });
  }
  return {
    file,
    release: async () => {
      await unlink(join(folder, file)).catch(() => undefined);
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path, exclusive: true }, () => {
      server.off('error', reject);
      // Not being able to greet one more process is no reason to stop.
      server.on('error', () => undefined);
      resolve();
    });
  });
}

async function othersAnswer(folder: string, own: string): Promise<boolean> {
  const files = (await readdir(folder)).filter((file) => isLock(file) && file !== own);
  return withShortPath(folder, async (short) => {
    let answers = false;
    for (const file of files) {
      if (await isAlive(join(short, file))) answers = true;
      else await unlink(join(folder, file)).catch(() => undefined);
    }
    return answers;
  });
}

/** Whether a process listens there. In doubt one does. */
function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT' && error.code !== 'ENOTSOCK');
    });
  });
}

/** Longest path of a socket in bytes, less a file name; the kernel takes 107 at most. */
const SOCKET_FOLDER_BYTES_MAX = 80;

/** A path to the folder that is short enough for a socket in it. */
async function withShortPath<T>(folder: string, work: (short: string) => Promise<T>): Promise<T> {
  if (Buffer.byteLength(folder) <= SOCKET_FOLDER_BYTES_MAX) return work(folder);
  let handle: FileHandle | undefined;
  try {
    handle = await open(folder, 'r');
    return await work(`/proc/self/fd/${handle.fd}`);
  } finally {
    await handle?.close();
  }
}
