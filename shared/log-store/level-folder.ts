/**
 * The folder of a LevelDB database, looked at before LevelDB opens it and mended after a write that failed. LevelDB takes
 * a folder without its CURRENT file for a new one and goes on without a journal that has vanished; here both are damage.
 */
import { open, readdir, readFile, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { findDamage, readJournal } from './level-journal.js';
import { applyEdit, emptyManifest, type Manifest } from './level-manifest.js';
import { decodeWriteNumber, WRITE_KEY } from './level-record.js';
import { tableDamage } from './level-table.js';
import { LogStoreCorruptError } from './port.js';

const FIRST_MANIFEST = 'MANIFEST-000001';
export const PROBE_FILE = 'space.probe';

/**
 * Whether the folder holds a database. Throws LogStoreCorruptError when one was there and is damaged in a way that LevelDB
 * itself would pass over.
 */
export async function checkFolder(folder: string): Promise<'new' | 'existing'> {
  const files = await listFiles(folder);
  if (!files.includes('CURRENT')) {
    // A crash while LevelDB makes its first files leaves the first manifest alone.
    const remains = files.find((file) => /^(MANIFEST-|\d+\.(log|ldb|sst)$)/.test(file) && file !== FIRST_MANIFEST);
    if (remains === undefined) return 'new';
    throw new LogStoreCorruptError(join(folder, 'CURRENT'), `the file is missing, though ${remains} is there`);
  }
  const current = (await readFile(join(folder, 'CURRENT'), 'latin1')).trim();
  const manifest = await readManifest(folder, current);
  const journals = journalsOf(files);
  if (current !== FIRST_MANIFEST && !journals.some(({ number }) => number === manifest.journal)) {
    throw new LogStoreCorruptError(join(folder, `${padded(manifest.journal)}.log`), 'the journal is missing');
  }
  await checkJournals(
    folder,
    journals.filter(({ number }) => number >= manifest.journal),
  );
  await checkTables(folder, manifest);
  return 'existing';
}

/** Tables that the manifest does not name are remains of a merge that a crash has ended; LevelDB removes them. */
async function checkTables(folder: string, { tables }: Manifest): Promise<void> {
  for (const [number, size] of tables) {
    const path = join(folder, `${padded(number)}.ldb`);
    const bytes = await readFile(path).catch((cause: NodeJS.ErrnoException) => {
      throw cause.code === 'ENOENT' ? new LogStoreCorruptError(path, 'the table is missing', { cause }) : cause;
    });
    const damage = bytes.length === size ? tableDamage(bytes) : `its size, which should be ${size} bytes`;
    if (damage !== undefined) throw new LogStoreCorruptError(path, `the table is damaged: ${damage}`);
  }
}

async function checkJournals(folder: string, journals: readonly JournalFile[]): Promise<void> {
  let mayBeTorn = true;
  // From the newest: only the one written last may end in an unfinished write.
  for (const { file } of journals.toReversed()) {
    const path = join(folder, file);
    const bytes = await readFile(path);
    const damage = findDamage(bytes, mayBeTorn);
    if (damage !== undefined) throw new LogStoreCorruptError(`${path} at byte ${damage}`, 'the journal is damaged');
    if (bytes.length > 0) mayBeTorn = false;
  }
}

async function readManifest(folder: string, current: string): Promise<Manifest> {
  const path = join(folder, current);
  if (!/^MANIFEST-\d+$/.test(current)) {
    throw new LogStoreCorruptError(join(folder, 'CURRENT'), 'the file does not name a manifest');
  }
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new LogStoreCorruptError(path, 'the manifest cannot be read', { cause });
  });
  const damage = findDamage(bytes, true);
  if (damage !== undefined) throw new LogStoreCorruptError(`${path} at byte ${damage}`, 'the manifest is damaged');
  const manifest = emptyManifest();
  for (const { start, data } of readJournal(bytes).records) {
    if (applyEdit(manifest, data)) continue;
    throw new LogStoreCorruptError(`${path} at byte ${start}`, 'the manifest cannot be decoded');
  }
  return manifest;
}

interface JournalFile {
  readonly file: string;
  readonly number: number;
}

function journalsOf(files: readonly string[]): JournalFile[] {
  return files
    .filter((file) => /^\d+\.log$/.test(file))
    .map((file) => ({ file, number: Number.parseInt(file, 10) }))
    .sort((a, b) => a.number - b.number);
}

const padded = (number: number): string => number.toString().padStart(6, '0');

async function listFiles(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
}

/**
 * Removes from a closed database what was written after write number `acknowledged`: a write that failed may stand in the
 * journal all the same, whole or in part, and would come back at the next opening.
 */
export async function dropWritesAfter(folder: string, acknowledged: number): Promise<void> {
  const newest = await newestWritten(folder);
  if (newest === undefined) return;
  const { path, bytes } = newest;
  const { records, brokenAt } = readJournal(bytes);
  const unwanted = records.find(({ data }) => writeNumberOf(data, path) > acknowledged);
  const keep = unwanted?.start ?? brokenAt;
  if (keep === undefined) return;
  const file = await open(path, 'r+');
  try {
    await file.truncate(keep);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The newest journal with anything in it: LevelDB may have begun another after the write that failed, to empty its buffer. */
async function newestWritten(folder: string): Promise<{ path: string; bytes: Buffer } | undefined> {
  for (const { file } of journalsOf(await listFiles(folder)).toReversed()) {
    const path = join(folder, file);
    const bytes = await readFile(path);
    if (bytes.length > 0) return { path, bytes };
  }
  return undefined;
}

/** The write number in a LevelDB batch: sequence (8), count (4), then the first operation, which puts it (level.ts). */
function writeNumberOf(batch: Uint8Array, path: string): number {
  const keyStart = 12 + 2;
  const keyEnd = keyStart + WRITE_KEY.length;
  const isPut = batch[12] === 1 && batch[13] === WRITE_KEY.length;
  if (!isPut || Buffer.from(batch.subarray(keyStart, keyEnd)).toString('latin1') !== WRITE_KEY) {
    throw new LogStoreCorruptError(path, 'a write in the journal does not begin with its number');
  }
  // The value is shorter than 128 bytes, so its length is one byte.
  return decodeWriteNumber(batch.subarray(keyEnd + 1, keyEnd + 1 + (batch[keyEnd] ?? 0)));
}

/**
 * Tries whether the disk takes as much as reopening writes (the journals again, as tables) and `bytes` more. Rejects with
 * the error of the file system when it does not.
 */
export async function probeSpace(folder: string, bytes: number): Promise<void> {
  let needed = bytes;
  for (const { file } of journalsOf(await listFiles(folder))) needed += (await stat(join(folder, file))).size;
  const path = join(folder, PROBE_FILE);
  const probe = await open(path, 'w');
  try {
    await probe.writeFile(Buffer.alloc(needed));
    await probe.sync();
  } finally {
    await probe.close();
    await unlink(path);
  }
}
