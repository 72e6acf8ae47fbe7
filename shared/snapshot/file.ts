/**
 * A snapshot in a file, for backups (T10): a line of JSON that says what it is, then the compressed bytes as they are in the object
 * store. What was restored begins a new log: positions are those of a cluster, not of its data.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { z } from 'zod';
import { type EngineSnapshot, SnapshotFormatError } from '../engine/port.js';
import type { SnapshotBucket, SnapshotInfo } from './bucket.js';
import { snapshotMetadata } from './metadata.js';

const header = snapshotMetadata.extend({
  craft: z.literal('snapshot'),
  savedAt: z.string(),
  bytes: z.number().int().nonnegative(),
  /** SHA-256 of the compressed bytes, base64url. */
  digest: z.string(),
});

/** A header is much smaller. */
const HEADER_BYTES_MAX = 64 * 1024;

/** Writes the snapshot; the file is there, whole and on the disk, when this resolves, and not at all when it rejects. */
export async function saveFile(bucket: SnapshotBucket, info: SnapshotInfo, path: string): Promise<void> {
  const { server, version, format, position, savedAt } = info;
  const { digest, bytes, data } = await bucket.raw(info);
  const part = `${path}.part`;
  const file = await open(part, 'w');
  try {
    const head = { craft: 'snapshot', server, version, format, position, savedAt, bytes, digest };
    await file.write(`${JSON.stringify(head)}\n`);
    for await (const chunk of data) await file.write(chunk);
    await file.sync();
    await file.close();
    await rename(part, path);
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(part, { force: true });
    throw error;
  }
}

/** The snapshot of a file, with the SHA-256 of its data, which tells it from every other one. */
export interface FileSnapshot extends EngineSnapshot {
  readonly digest: string;
}

/** To be read once; its data ends with an error when it is damaged. @throws SnapshotFormatError */
export async function openFile(path: string): Promise<FileSnapshot> {
  const [text, begin] = await readHeader(path);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new SnapshotFormatError(`${path} is no snapshot`, { cause });
  }
  const parsed = header.safeParse(json);
  if (!parsed.success) throw new SnapshotFormatError(`${path} is no snapshot: ${z.prettifyError(parsed.error)}`);
  const { format, position, bytes, digest } = parsed.data;
  return { position, format, digest, data: contents(path, begin, bytes, digest) };
}

async function readHeader(path: string): Promise<[text: string, begin: number]> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEADER_BYTES_MAX), 0, HEADER_BYTES_MAX, 0);
    const end = buffer.subarray(0, bytesRead).indexOf(0x0a);
    if (end < 0) throw new SnapshotFormatError(`${path} is no snapshot`);
    return [buffer.subarray(0, end).toString('utf8'), end + 1];
  } finally {
    await file.close();
  }
}

async function* contents(path: string, begin: number, bytes: number, digest: string): AsyncGenerator<Uint8Array> {
  const gunzip = createGunzip();
  const feeding = pipeline(Readable.from(checked(path, begin, bytes, digest), { objectMode: false }), gunzip);
  feeding.catch(() => undefined);
  try {
    for await (const chunk of gunzip) yield chunk as Uint8Array;
    await feeding;
  } finally {
    gunzip.destroy();
  }
}

/** Whoever restores commits only after the end, which comes only when the sum is right. */
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
