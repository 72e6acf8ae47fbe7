/** How fast a disk is, by small durable writes to a file that has no name any more. */
import { constants, existsSync } from 'node:fs';
import { open, statfs, unlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { messageOf } from '../../../../shared/errors.js';
import type { DiskFacts } from '../facts.js';

/**
 * Space that is zeroed before: as the log store does, so that a write changes no metadata (bytes).
 */
const FILE_BYTES = 256 * 1024;
const WRITE_BYTES = 4 * 1024;
/** As many writes as come to their end in this time (milliseconds), and no more than these. */
const PROBE_MS_MAX = 1_500;
const WRITES_MAX = 64;

/** Magic numbers of statfs(2). */
const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  61267: 'ext4',
  1481003842: 'xfs',
  2435016766: 'btrfs',
  16914836: 'tmpfs',
  2240043254: 'ramfs',
  2035054128: 'overlay',
  26985: 'nfs',
  4266872130: 'smb',
  1702057286: 'fuse',
  16914839: '9p',
};

/**
 * @param folder the data folder; where it does not exist yet, the nearest one above it. Rejects as
 *   the file system does, but for the writes: a disk that is full, or a folder that this user may
 *   not write to, is a fact.
 */
export async function probeDisk(folder: string): Promise<DiskFacts> {
  const path = existing(resolve(folder));
  const { type, bavail, blocks, bsize } = await statfs(path);
  return {
    path,
    fileSystem: FILE_SYSTEMS[type],
    freeBytes: bavail * bsize,
    totalBytes: blocks * bsize,
    writes: await syncTimes(path).then(
      (syncMs) => ({ syncMs }),
      (error: unknown) => ({ why: whyNot(error) }),
    ),
  };
}

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'there is no space left',
  EDQUOT: 'the quota of this user is used up',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'the file system may only be read',
};

function whyNot(error: unknown): string {
  const { code = '' } = error as NodeJS.ErrnoException;
  return REASONS[code] ?? messageOf(error);
}

function existing(path: string): string {
  const parent = dirname(path);
  return existsSync(path) || parent === path ? path : existing(parent);
}

async function syncTimes(folder: string): Promise<number[]> {
  const path = join(folder, `.craft-doctor-${process.pid}`);
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
  const file = await open(path, flags, 0o600);
  try {
    // Whatever becomes of this process, nothing is left.
    await unlink(path);
    await file.write(Buffer.alloc(FILE_BYTES), 0, FILE_BYTES, 0);
    await file.sync();
    const times: number[] = [];
    const endMs = performance.now() + PROBE_MS_MAX;
    while (times.length < WRITES_MAX && performance.now() < endMs) {
      const startMs = performance.now();
      await file.write(Buffer.alloc(WRITE_BYTES, 1), 0, WRITE_BYTES, (times.length * WRITE_BYTES) % FILE_BYTES);
      await file.datasync();
      times.push(performance.now() - startMs);
    }
    return times.sort((a, b) => a - b);
  } finally {
    await file.close();
  }
}
