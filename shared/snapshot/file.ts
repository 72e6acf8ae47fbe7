/**
 * A snapshot in a file, for backups (T10): a line of JSON that says what it is, then the compressed
 * bytes as they are in the object store. Its position is one in the log of the cluster that it is
 * from: what is restored goes on in the log of another.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { z } from 'zod';
import { SnapshotFormatError } from '../engine/port.js';
import { NamedError } from '../errors.js';
import type { SnapshotBucket, SnapshotInfo } from './bucket.js';
import { type SnapshotFile, snapshotMetadata } from './metadata.js';

const header = snapshotMetadata.extend({
  craft: z.literal('snapshot'),
  savedAt: z.string(),
  bytes: z.number().int().nonnegative(),
  /** SHA-256 of the compressed bytes, base64url. */
  digest: z.string(),
});

/** A header is much smaller. */
const HEADER_BYTES_MAX = 64 * 1024;

/** There is something of that name already, which may be the only backup. */
export class SnapshotFileExistsError extends NamedError {
  constructor(path: string, options?: { cause?: unknown }) {
    super(`${path} exists already: give another name, or remove it`, options);
  }
}

/**
 * Writes the snapshot into a new file that only its owner may read: all rows are in it. The file is
 * there, whole and on the disk, when this resolves, and not at all when it rejects. @throws
 * SnapshotFileExistsError, also for a symbolic link.
 */
export async function saveFile(bucket: SnapshotBucket, info: SnapshotInfo, path: string): Promise<void> {
  const { server, version, format, machine, position, savedAt } = info;
  const file = await open(path, 'wx', 0o600).catch((cause: NodeJS.ErrnoException) => {
    throw cause.code === 'EEXIST' ? new SnapshotFileExistsError(path, { cause }) : cause;
  });
  try {
    const { digest, bytes, data } = await bucket.raw(info);
    const head = { craft: 'snapshot', server, version, format, machine, position, savedAt, bytes, digest };
    await file.write(`${JSON.stringify(head)}\n`);
    for await (const chunk of data) await file.write(chunk);
    await file.sync();
    await file.close();
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(path, { force: true });
    throw error;
  }
}

/** @throws SnapshotFormatError */
export async function openFile(path: string): Promise<SnapshotFile> {
  const [text, begin] = await readHeader(path);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new SnapshotFormatError(`${path} is not a snapshot`, { cause });
  }
  const parsed = header.safeParse(json);
  if (!parsed.success) throw new SnapshotFormatError(`${path} is not a snapshot: ${z.prettifyError(parsed.error)}`);
  const { server, version, format, machine, position, bytes, digest } = parsed.data;
  return {
    about: { server, version, format, machine, position },
    bytes,
    digest,
    data: checked(path, begin, bytes, digest),
  };
}

async function readHeader(path: string): Promise<[text: string, begin: number]> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEADER_BYTES_MAX), 0, HEADER_BYTES_MAX, 0);
    const end = buffer.subarray(0, bytesRead).indexOf(0x0a);
    if (end < 0) throw new SnapshotFormatError(`${path} is not a snapshot`);
    return [buffer.subarray(0, end).toString('utf8'), end + 1];
  } finally {
    await file.close();
  }
}

/** The end comes only when the sum is right. */
async function* checked(path: string, begin: number, bytes: number, digest: string): AsyncGenerator<Buffer> {
  const sum = createHash('sha256');
  let length = 0;
  for await (const chunk of createReadStream(path, { start: begin }) as AsyncIterable<Buffer>) {
    sum.update(chunk);
    length += chunk.length;
    yield chunk;
  }
  if (length !== bytes || sum.digest('base64url') !== digest) {
    throw new SnapshotFormatError(`${path} is damaged or incomplete`);
  }
}
