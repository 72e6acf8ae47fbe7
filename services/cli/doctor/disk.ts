/** What is wrong with the disk of the log store. Pure. */
import type { Check } from './check.js';
import { type DiskFacts, factOf } from './facts.js';

/** Every command waits for one such write at a majority of the servers (milliseconds). */
const SYNC_MS_P99_MAX = 100;
const FREE_BYTES_MIN = 1024 ** 3;
const FREE_PART_MIN = 0.05;
const VOLATILE: readonly string[] = ['tmpfs', 'ramfs'];
const REMOTE: readonly string[] = ['nfs', 'smb', 'fuse', '9p', 'overlay'];

export const DISK_CHECKS: readonly Check[] = [
  {
    code: 'disk-volatile',
    level: 'error',
    about: 'The data folder is in memory: an fsync there keeps nothing.',
    find: ({ disk }) => {
      const known = factOf(disk);
      if (known?.fileSystem === undefined || !VOLATILE.includes(known.fileSystem)) return [];
      const what = `it is a ${known.fileSystem}: what was acknowledged is lost with the machine`;
      return [{ where: known.path, what, remedy: 'set CRAFT_DATA_DIR to a folder on a local disk' }];
    },
  },
  {
    code: 'disk-not-local',
    level: 'warning',
    about: 'The data folder is on a file system that may lose or delay an fsync: network, FUSE, a container layer.',
    find: ({ disk }) => {
      const known = factOf(disk);
      if (known?.fileSystem === undefined || !REMOTE.includes(known.fileSystem)) return [];
      const what = `it is on ${known.fileSystem}, where an fsync may not reach a disk`;
      return [
        { where: known.path, what, remedy: 'set CRAFT_DATA_DIR to a folder on a local disk, or mount one there' },
      ];
    },
  },
  {
    code: 'disk-full',
    level: 'warning',
    about: 'There is little space for the log store.',
    find: ({ disk }) => {
      const known = factOf(disk);
      if (known === undefined) return [];
      const { freeBytes, totalBytes, path } = known;
      if (freeBytes >= FREE_BYTES_MIN && freeBytes >= totalBytes * FREE_PART_MIN) return [];
      return [
        {
          where: path,
          what: `${mebibytes(freeBytes)} of ${mebibytes(totalBytes)} are free`,
          remedy: 'make room, or use a larger disk',
        },
      ];
    },
  },
  {
    code: 'disk-slow',
    level: 'warning',
    about: `An fsync takes more than ${SYNC_MS_P99_MAX} ms (99th percentile).`,
    find: ({ disk }) => {
      const known = factOf(disk);
      if (known === undefined) return [];
      const { p50, p99 } = syncTimes(known);
      if (p99 <= SYNC_MS_P99_MAX) return [];
      const what = `an fsync takes ${p50.toFixed(1)} ms (p50), ${p99.toFixed(1)} ms (p99), and every command waits for one`;
      return [{ where: known.path, what, remedy: 'use a faster disk, and no other program on it' }];
    },
  },
];

/** Milliseconds. */
export function syncTimes({ syncMs }: Pick<DiskFacts, 'syncMs'>): { readonly p50: number; readonly p99: number } {
  const at = (part: number) => syncMs[Math.min(syncMs.length - 1, Math.floor(syncMs.length * part))] ?? 0;
  return { p50: at(0.5), p99: at(0.99) };
}

const mebibytes = (bytes: number): string => `${Math.floor(bytes / 1024 ** 2)} MiB`;
