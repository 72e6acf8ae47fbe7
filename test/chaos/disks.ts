/**
 * A small file system of its own (tmpfs) for each server's log store, so that it can be full while
 * nothing else is.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, open, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { isLock } from '../../shared/log-store/segments/lock.js';

const run = promisify(execFile);

/** Much more than logs that are compacted need. */
const SIZE = '256m';
const CHUNK = Buffer.alloc(256 * 1024);
const SMALL = Buffer.alloc(512);

export class Disks {
  private readonly folders = new Map<string, string>();

  private constructor(private readonly dataDir: string) {}

  /**
   * Mounts one at the folder of each server's log, below `dataDir`, before the servers start.
   * Undefined when this process may not mount; then nothing is left of the attempt.
   */
  static async mount(dataDir: string, servers: readonly string[]): Promise<Disks | undefined> {
    const disks = new Disks(dataDir);
    try {
      for (const server of servers) await disks.add(server);
      return disks;
    } catch {
      await disks.unmount();
      return undefined;
    }
  }

  /** One more, for a server that joins. */
  async add(server: string): Promise<void> {
    const folder = join(this.dataDir, server, 'log');
    await mkdir(folder, { recursive: true });
    await run('mount', ['-t', 'tmpfs', '-o', `size=${SIZE}`, 'craft-chaos', folder]);
    this.folders.set(server, folder);
  }

  has(server: string): boolean {
    return this.folders.has(server);
  }

  /** Leaves no byte free. */
  async fill(server: string): Promise<void> {
    const file = await open(this.filler(server), 'w');
    try {
      for (const piece of [CHUNK, SMALL]) {
        while (await fits(file.write(piece)));
      }
    } finally {
      await file.close();
    }
  }

  /** Gives the room back. */
  free(server: string): Promise<void> {
    return rm(this.filler(server), { force: true });
  }

  /**
   * After the servers have ended. What is on them stays, in the same folder: it may have to be
   * looked at. Nothing stays mounted, whatever fails; rejects with the first failure then.
   */
  async unmount(): Promise<void> {
    const failures: unknown[] = [];
    for (const [server, folder] of this.folders) {
      const kept = `${folder}.kept`;
      const note = (error: unknown) => failures.push(error);
      await this.free(server).catch(note);
      // Of a server that was killed its lock is left, a socket, which cannot be copied.
      await cp(folder, kept, { recursive: true, filter: (path) => !isLock(basename(path)) }).catch(note);
      // Lazily, should a process still be in there.
      await run('umount', ['-l', folder]).catch(note);
      await rm(folder, { recursive: true }).catch(note);
      await rename(kept, folder).catch(note);
    }
    this.folders.clear();
    if (failures.length > 0) throw failures[0];
  }

  private filler(server: string): string {
    const folder = this.folders.get(server);
    if (folder === undefined) throw new RangeError(`server ${server} has no disk of its own`);
    return join(folder, 'filler');
  }
}

async function fits(write: Promise<{ bytesWritten: number }>): Promise<boolean> {
  try {
    return (await write).bytesWritten > 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return false;
    throw error;
  }
}
