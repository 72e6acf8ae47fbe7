import { type FileHandle, mkdir, open, readdir, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  LogStoreFormatError,
  LogStoreIdentityError,
  LogStoreLegacyError,
  LogStoreLockedError,
} from '../../../shared/log-store/errors.js';
import { LogStoreWriteError } from '../../../shared/log-store/port.js';
import { NodeFolder, type SegmentFile, type SegmentFolder } from '../../../shared/log-store/segments/files.js';
import { FORMAT } from '../../../shared/log-store/segments/payload.js';
import { Segment } from '../../../shared/log-store/segments/segment.js';
import { SegmentLogStore } from '../../../shared/log-store/segments/store.js';
import { type Child, start } from './child.js';
import { MemoryDisk } from './memory-disk.js';
import { entries } from './model.js';
import { Folders, IDENTITY, openSegments } from './subject.js';

const folders = new Folders();
const children: Child[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.process.kill('SIGKILL');
    await child.ended;
  }
  await folders.cleanUp();
});

async function stored(): Promise<string> {
  const folder = await folders.make();
  const store = await openSegments(folder);
  await store.load();
  await store.write({ groups: [{ group: 0, entries: entries(1, 3, 1) }] });
  await store.close();
  return folder;
}

async function writing(folder: string): Promise<Child> {
  const child = start('./writer.child.ts', [folder, '7', '100']);
  children.push(child);
  await child.line((line) => line === 'acknowledged 1');
  return child;
}

/** What the handles of this process inherit. */
async function handles(folder: string): Promise<FileHandle> {
  const handle = await open(folder);
  await handle.close();
  return Object.getPrototypeOf(handle) as FileHandle;
}

/** Paths that this process has open below `folder`. */
async function openIn(folder: string): Promise<string[]> {
  const all = await readdir('/proc/self/fd');
  const paths = await Promise.all(all.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')));
  return paths.filter((path) => path.startsWith(folder));
}

describe('the files of a segment store', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('are closed when the opening fails half-way', async () => {
    const folder = await stored();
    vi.spyOn(await handles(folder), 'stat').mockRejectedValue(new Error('no such device'));
    await expect(openSegments(folder)).rejects.toThrow('opening failed: no such device');
    expect(await openIn(folder)).toEqual([]);
    vi.restoreAllMocks();
    await (await openSegments(folder)).close();
  });

  it('that cannot be closed do not keep the folder locked', async () => {
    const path = await stored();
    const folder = await NodeFolder.open(path);
    const close = () => Promise.reject(new Error('the disk is gone'));
    const unclosable = async (opening: Promise<SegmentFile>): Promise<SegmentFile> => {
      const file = await opening;
      return {
        size: file.size,
        write: (bytes, offset) => file.write(bytes, offset),
        sync: () => file.sync(),
        read: (offset, length) => file.read(offset, length),
        close: () => file.close().then(close),
      };
    };
    const failing: SegmentFolder = {
      path,
      list: () => folder.list(),
      create: (name, size) => unclosable(folder.create(name, size)),
      open: (name) => unclosable(folder.open(name)),
      rename: (from, to) => folder.rename(from, to),
      remove: (name) => folder.remove(name),
      sync: () => folder.sync(),
    };
    const release = vi.fn(() => Promise.resolve());
    const store = await SegmentLogStore.openIn(failing, IDENTITY, release);
    await store.close().catch(() => undefined);
    expect(release).toHaveBeenCalledOnce();
    expect(await openIn(path)).toEqual([]);
  });
});

describe('the folder of a segment store', () => {
  it.each([
    ['cluster', { ...IDENTITY, cluster: 'other' }],
    ['server', { ...IDENTITY, server: 's2' }],
    ['number of groups', { ...IDENTITY, groups: 5 }],
  ])('of another %s is refused, both named', async (_name, expected) => {
    const folder = await stored();
    const error: unknown = await SegmentLogStore.open({ ...expected, folder }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(LogStoreIdentityError);
    expect(error).toMatchObject({ code: 'LOG_STORE_IDENTITY', folder, expected, found: IDENTITY });
    for (const part of [folder, ...Object.values(expected), ...Object.values(IDENTITY)]) {
      expect(String(error)).toContain(String(part));
    }
    // Nothing stays locked, and the right one may still open it.
    await (await openSegments(folder)).close();
  });

  it('of a later format is refused', async () => {
    const disk = new MemoryDisk();
    const about = { store: 'x', number: 1, size: 8_192, sequence: 0, promiseLimit: 0, heads: [], segments: [] };
    await Segment.create(disk, { ...about, identity: { ...IDENTITY, format: FORMAT + 1 } });
    await expect(SegmentLogStore.openIn(disk, IDENTITY)).rejects.toThrow(LogStoreFormatError);
  });

  it('with a log in LevelDB is refused with the way out, and left as it is', async () => {
    const folder = await folders.make();
    const files = ['000005.log', 'CURRENT', 'LOCK', 'LOG', 'MANIFEST-000004'];
    for (const file of files) await writeFile(join(folder, file), file);
    const opening = openSegments(folder);
    await expect(opening).rejects.toThrow(LogStoreLegacyError);
    await expect(opening).rejects.toThrow(/Replace a server.*craft snapshot save.*craft snapshot restore/);
    expect((await readdir(folder)).sort()).toEqual(files);
  });

  it('is made when it is missing, also with a name that is too long for a socket', async () => {
    const folder = join(await folders.make(), 'a'.repeat(120), 'b');
    const store = await openSegments(folder);
    await expect(openSegments(folder)).rejects.toThrow(LogStoreLockedError);
    await store.close();
    expect((await readdir(folder)).every((file) => file.endsWith('.segment'))).toBe(true);
  });

  it('that cannot be one rejects, and can be tried again', async () => {
    const folder = join(await folders.make(), 'log');
    await writeFile(folder, 'in the way');
    await expect(openSegments(folder)).rejects.toThrow(LogStoreWriteError);
  });

  it('loses nothing to what an opening that was cut off has left there', async () => {
    const folder = await stored();
    await writeFile(join(folder, 'segment.unfinished'), 'half');
    await writeFile(join(folder, 'lock.0123456789abcdef.new'), '');
    const store = await openSegments(folder);
    expect((await store.load()).groups.get(0)?.lastIndex).toBe(3);
    await store.close();
    expect((await readdir(folder)).every((file) => file.endsWith('.segment'))).toBe(true);
  });
});

describe('the lock of a segment store', () => {
  it('refuses a second store of this process', async () => {
    const folder = await stored();
    const store = await openSegments(folder);
    await expect(openSegments(folder)).rejects.toThrow(LogStoreLockedError);
    await store.close();
    await (await openSegments(folder)).close();
  });

  it('refuses another process at any moment, and does not disturb the first', async () => {
    const folder = await folders.make();
    const child = await writing(folder);
    for (let attempt = 0; attempt < 5; attempt++) {
      await expect(openSegments(folder)).rejects.toThrow(LogStoreLockedError);
    }
    const seen = child.lines.length;
    await child.line((line) => line === `acknowledged ${seen + 20}`);
  });

  it('is kept by a process that stands still, and goes with one that is killed', async () => {
    const folder = await folders.make();
    const child = await writing(folder);
    child.process.kill('SIGSTOP');
    await expect(openSegments(folder)).rejects.toThrow(LogStoreLockedError);
    child.process.kill('SIGKILL');
    await child.ended;
    const store = await openSegments(folder);
    expect((await store.load()).promiseLimit).toBeGreaterThan(0);
    await store.close();
  });

  it('is held by one at most when many want it at once', async () => {
    const folder = await folders.make();
    await mkdir(folder, { recursive: true });
    for (let round = 0; round < 5; round++) {
      const attempts = Array.from({ length: 6 }, () => openSegments(folder).catch((error: unknown) => error));
      const opened = (await Promise.all(attempts)).filter((each) => {
        if (each instanceof SegmentLogStore) return true;
        expect(each).toBeInstanceOf(LogStoreLockedError);
        return false;
      }) as SegmentLogStore[];
      expect(opened.length).toBeLessThanOrEqual(1);
      for (const store of opened) await store.close();
    }
    await (await openSegments(folder)).close();
  });
});
