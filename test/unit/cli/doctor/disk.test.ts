/** What `craft doctor` finds of the disk. */

import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { diskFact } from '../../../../services/cli/doctor/collect/disk.js';
import { probeDisk } from '../../../../services/cli/doctor/collect/disk-probe.js';
import { DISK_CHECKS } from '../../../../services/cli/doctor/disk.js';
import { examine } from '../../../../services/cli/doctor/examine.js';
import { HEALTHY, value } from './facts.js';
import { itFinds } from './sightings.js';

itFinds(DISK_CHECKS, [
  ['disk-volatile', value('disk', { fileSystem: 'tmpfs' }), /^\/data: it is a tmpfs.*set CRAFT_DATA_DIR/],
  ['disk-not-local', value('disk', { fileSystem: 'nfs' }), /it is on nfs.*local disk/],
  ['disk-full', value('disk', { freeBytes: 3 * 1024 ** 2 }), /3 MiB of 102400 MiB are free; make room/],
  [
    'disk-full',
    value('disk', { freeBytes: 9 * 1024 ** 3, totalBytes: 4 * 1024 ** 4 }),
    /9216 MiB of 4194304 MiB are free/,
  ],
  [
    'disk-slow',
    value('disk', { writes: { syncMs: [1, 2, 101, 250, 300] } }),
    /^\/data: 3 of 5 fsyncs took more than 100 ms \(median 101\.0 ms, longest 300\.0 ms\).*faster disk/,
  ],
  ['disk-slow', value('disk', { writes: { syncMs: [1_600] } }), /1 of 1 fsyncs took/],
]);

describe('a disk', () => {
  it('of which a small part is free has enough when that is much', () => {
    const large = value('disk', { freeBytes: 150 * 1024 ** 3, totalBytes: 4 * 1024 ** 4 });
    expect(examine({ ...HEALTHY, ...large })).toEqual([]);
  });

  it('that takes no file is known all the same', async () => {
    const facts = await probeDisk('/proc/1/task');
    expect(facts).toMatchObject({ totalBytes: expect.any(Number), writes: { why: expect.stringMatching(/\w/) } });
  });

  it.each([undefined, ''])('that is not given is not looked at: %o', async (folder) => {
    const said = await diskFact(folder, {});
    expect(said).toMatchObject({ is: 'not given', remedy: expect.stringContaining('CRAFT_DATA_DIR') });
    // There, the log store has no folder.
    expect(await diskFact(folder, { CRAFT_LOG_STORE: 'jetstream' })).toEqual({ is: 'skipped' });
  });

  it('whose folder is not there yet is looked at above it, and leaves nothing', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'craft-doctor-'));
    try {
      const { path, writes, freeBytes, totalBytes } = await probeDisk(join(folder, 'not', 'yet'));
      const { syncMs } = writes as { syncMs: readonly number[] };
      expect(path).toBe(folder);
      expect(syncMs.length).toBeGreaterThan(0);
      expect(syncMs).toEqual([...syncMs].sort((a, b) => a - b));
      expect(freeBytes).toBeLessThanOrEqual(totalBytes);
      expect(await readdir(folder)).toEqual([]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
