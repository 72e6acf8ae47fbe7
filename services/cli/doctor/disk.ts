/** What is wrong with the disk of the log store. Pure. */

import { itemAt, lastOf } from '../../../shared/raft/lists.js';
import type { Check } from './check.js';
import { factOf } from './facts.js';

/** Every command waits for one such write at a majority of the servers (milliseconds). */
const SYNC_MS_MAX = 100;
/** A single slow write says nothing: any disk has one now and then. */
const SLOW_WRITES_MIN = 3;
const FREE_BYTES_MIN = 1024 ** 3;
/**
 * A part of a large disk is much: below this part there is little space only when there is less
 * than this, too.
 */
const FREE_PART_MIN = 0.05;
const FREE_BYTES_AMPLE = 10 * 1024 ** 3;
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
      const isLittle = freeBytes < Math.min(totalBytes * FREE_PART_MIN, FREE_BYTES_AMPLE);
      if (freeBytes >= FREE_BYTES_MIN && !isLittle) return [];
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
    about: `Several fsyncs take more than ${SYNC_MS_MAX} ms.`,
    find: ({ disk }) => {
      const known = factOf(disk);
      if (known === undefined || !('syncMs' in known.writes)) return [];
      const { syncMs } = known.writes;
      const slow = syncMs.filter((ms) => ms > SYNC_MS_MAX).length;
      // A disk that is slow throughout gets through few of them.
      if (slow === 0 || slow < Math.min(SLOW_WRITES_MIN, syncMs.length)) return [];
      const [median, longest] = [itemAt(syncMs, syncMs.length >> 1), lastOf(syncMs)];
      const what =
        `${slow} of ${syncMs.length} fsyncs took more than ${SYNC_MS_MAX} ms (median ${median.toFixed(1)} ms, ` +
        `longest ${longest.toFixed(1)} ms), and every command waits for one`;
      return [{ where: known.path, what, remedy: 'use a faster disk, and no other program on it' }];
    },
  },
];

const mebibytes = (bytes: number): string => `${Math.floor(bytes / 1024 ** 2)} MiB`;
