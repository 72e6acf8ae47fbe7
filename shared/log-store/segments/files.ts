/**
 * The few things that the segment store asks of a file system, and what each guarantees. One
 * adapter is Node.js; tests have another that crashes.
 */
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../errors.js';
import { LogStoreWriteError } from '../port.js';

/** Rejections are LogStoreWriteError. */
export interface SegmentFile {
  /** Fixed when the file is made. What has not been written is zeros. */
  readonly size: number;
  /**
   * Durable when it resolves. After a crash before that any sector may have its old content or its
   * new one. One write at a time. When it rejects, nothing is known of these bytes: also a later
   * write of others does not make them durable.
   */
  write(bytes: Buffer, offset: number): Promise<void>;
  /** Makes the size durable. */
  sync(): Promise<void>;
  /** Fewer bytes at the end of the file. */
  read(offset: number, length: number): Promise<Buffer>;
  close(): Promise<void>;
}

/**
 * Names are durable after `sync`; until then a crash may bring back the old ones. Rejections are
 * LogStoreWriteError.
 */
export interface SegmentFolder {
  readonly path: string;
  list(): Promise<string[]>;
  /** Replaces a file of that name. */
  create(name: string, size: number): Promise<SegmentFile>;
  open(name: string): Promise<SegmentFile>;
  rename(from: string, to: string): Promise<void>;
  remove(name: string): Promise<void>;
  sync(): Promise<void>;
}

/**
 * Blocks are allocated and zeroed this far ahead of a small write, so that most writes change no
 * metadata of the file. A sync is then one write to the disk instead of two. A larger write is
 * worth its own allocation.
 */
const AHEAD_BYTES = 256 * 1024;
const SMALL_BYTES = 32 * 1024;
const ZEROS = Buffer.alloc(AHEAD_BYTES);

/**
 * With this flag a write and its sync are one system call and one trip to the thread pool.
 * Elsewhere it may leave out the disk's cache.
 */
const SYNC_FLAG = process.platform === 'linux' ? constants.O_DSYNC : 0;

export class NodeFolder implements SegmentFolder {
  private constructor(readonly path: string) {}

  /** Makes the folder when it is missing. */
  static async open(path: string): Promise<NodeFolder> {
    await attempt(path, 'the folder cannot be made', mkdir(path, { recursive: true }));
    return new NodeFolder(path);
  }

  list(): Promise<string[]> {
    return attempt(this.path, 'the folder cannot be listed', readdir(this.path));
  }

  async create(name: string, size: number): Promise<SegmentFile> {
    const path = join(this.path, name);
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC | SYNC_FLAG;
    const handle = await attempt(path, 'the file cannot be made', open(path, flags, 0o644));
    try {
      await attempt(path, 'the file cannot be made', handle.truncate(size));
    } catch (error) {
      await handle.close();
      throw error;
    }
    return new NodeFile(path, handle, size, 0);
  }

  async open(name: string): Promise<SegmentFile> {
    const path = join(this.path, name);
    const handle = await attempt(path, 'opening failed', open(path, constants.O_RDWR | SYNC_FLAG));
    try {
      const { size } = await attempt(path, 'opening failed', handle.stat());
      return new NodeFile(path, handle, size, size);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  rename(from: string, to: string): Promise<void> {
    return attempt(this.path, `renaming ${from} failed`, rename(join(this.path, from), join(this.path, to)));
  }

  remove(name: string): Promise<void> {
    return attempt(this.path, `removing ${name} failed`, unlink(join(this.path, name)));
  }

  async sync(): Promise<void> {
    const handle = await attempt(this.path, 'opening failed', open(this.path, constants.O_RDONLY));
    try {
      await attempt(this.path, 'the sync failed', handle.sync());
    } finally {
      await handle.close();
    }
  }
}

class NodeFile implements SegmentFile {
  /** `zeroedTo`: up to here the file has its blocks. */
  constructor(
    private readonly path: string,
    private readonly handle: FileHandle,
    readonly size: number,
    private zeroedTo: number,
  ) {}

  write(bytes: Buffer, offset: number): Promise<void> {
    return attempt(this.path, 'the write failed', this.#write(bytes, offset));
  }

  async #write(bytes: Buffer, offset: number): Promise<void> {
    const end = offset + bytes.length;
    const isSmall = end > this.zeroedTo && bytes.length <= SMALL_BYTES;
    const zeros = ZEROS.subarray(0, isSmall ? this.size - end : 0);
    let { bytesWritten } = isSmall
      ? await this.handle.writev([bytes, zeros], offset)
      : await this.handle.write(bytes, 0, bytes.length, offset);
    // Short after a signal, or when the disk has become full: the rest says which.
    while (bytesWritten < bytes.length) {
      const rest = bytes.length - bytesWritten;
      bytesWritten += (await this.handle.write(bytes, bytesWritten, rest, offset + bytesWritten)).bytesWritten;
    }
    if (SYNC_FLAG === 0) await this.handle.datasync();
    this.zeroedTo = Math.max(this.zeroedTo, end + zeros.length);
  }

  sync(): Promise<void> {
    return attempt(this.path, 'the sync failed', this.handle.sync());
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafe(length);
    let end = 0;
    while (end < length) {
      const reading = this.handle.read(buffer, end, length - end, offset + end);
      const { bytesRead } = await attempt(this.path, 'the read failed', reading);
      if (bytesRead === 0) break;
      end += bytesRead;
    }
    return buffer.subarray(0, end);
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

async function attempt<T>(path: string, problem: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    const reason = messageOf(cause);
    throw new LogStoreWriteError(`${problem}: ${reason} (${path})`, { cause });
  }
}
