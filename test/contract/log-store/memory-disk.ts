/**
 * A disk with one folder, in memory, under the segment store. It keeps apart what a process can
 * read and what a power failure leaves. It fails when it is told to, and can be copied at any
 * moment with an operation half done.
 */
import { LogStoreWriteError } from '../../../shared/log-store/port.js';
import type { SegmentFile, SegmentFolder } from '../../../shared/log-store/segments/files.js';
import { SECTOR_BYTES } from '../../../shared/log-store/segments/record.js';

interface Inode {
  /** What a process reads: the page cache. */
  seen: Buffer;
  /** What is on the platter; as long as the durable size. */
  durable: Buffer;
}

type Names = ReadonlyMap<string, Inode>;

export type Operation =
  | { readonly type: 'create' | 'rename' | 'remove' | 'list' | 'sync folder'; readonly name: string }
  | { readonly type: 'sync'; readonly inode: Inode }
  | { readonly type: 'write'; readonly inode: Inode; readonly offset: number; readonly bytes: Buffer };

/** Part of a write that is there: from its beginning to a byte, or some of its sectors. */
export type Part = { readonly bytes: number } | { readonly sectors: (number: number) => boolean };

export interface MemoryDiskOptions {
  /**
   * Called before each operation that changes something. What it throws is how the operation fails.
   */
  readonly onOperation?: (operation: Operation) => void;
  /** Planted defects: what is synced is not. */
  readonly ignoresFolderSync?: boolean;
  readonly ignoresFileSync?: boolean;
}

export class MemoryDisk implements SegmentFolder {
  readonly path = '/disk';
  /**
   * States of the folder since the last sync of it: the first is durable, a crash may leave any,
   * the last is what a process sees.
   */
  #folders: Names[];

  constructor(
    private readonly options: MemoryDiskOptions = {},
    names: Names = new Map(),
  ) {
    this.#folders = [names];
  }

  get files(): ReadonlyMap<string, Inode> {
    return this.#folders[this.#folders.length - 1] ?? new Map();
  }

  async list(): Promise<string[]> {
    return [...this.files.keys()];
  }

  async create(name: string, size: number): Promise<SegmentFile> {
    this.#begin({ type: 'create', name });
    const inode: Inode = { seen: Buffer.alloc(size), durable: Buffer.alloc(0) };
    this.#folders.push(new Map(this.files).set(name, inode));
    return this.#file(inode);
  }

  async open(name: string): Promise<SegmentFile> {
    const inode = this.files.get(name);
    if (inode === undefined) throw new LogStoreWriteError(`there is no ${name}`);
    return this.#file(inode);
  }

  async rename(from: string, to: string): Promise<void> {
    this.#begin({ type: 'rename', name: to });
    const names = new Map(this.files);
    const inode = names.get(from);
    if (inode === undefined) throw new LogStoreWriteError(`there is no ${from}`);
    names.delete(from);
    this.#folders.push(names.set(to, inode));
  }

  async remove(name: string): Promise<void> {
    this.#begin({ type: 'remove', name });
    const names = new Map(this.files);
    if (!names.delete(name)) throw new LogStoreWriteError(`there is no ${name}`);
    this.#folders.push(names);
  }

  async sync(): Promise<void> {
    this.#begin({ type: 'sync folder', name: '' });
    if (!this.options.ignoresFolderSync) this.#folders = [this.files];
  }

  #file(inode: Inode): SegmentFile {
    return {
      size: inode.seen.length,
      write: async (bytes, offset) => {
        this.#begin({ type: 'write', inode, offset, bytes: Buffer.from(bytes) });
        bytes.copy(inode.seen, offset);
        if (!this.options.ignoresFileSync) copyPart(bytes, inode.durable, offset, { bytes: bytes.length });
      },
      sync: async () => {
        this.#begin({ type: 'sync', inode });
        inode.durable = Buffer.concat([inode.durable, Buffer.alloc(inode.seen.length - inode.durable.length)]);
        // What was written before the size was durable went with it.
        if (!this.options.ignoresFileSync) inode.seen.copy(inode.durable);
      },
      read: async (offset, length) => Buffer.from(inode.seen.subarray(offset, offset + length)),
      close: async () => undefined,
    };
  }

  /** A write that fails: all of it can be read, and `part` is durable. */
  writeInPart({ inode, offset, bytes }: Operation & { type: 'write' }, part: Part): void {
    bytes.copy(inode.seen, offset);
    copyPart(bytes, inode.durable, offset, part);
  }

  #begin(operation: Operation): void {
    this.options.onOperation?.(operation);
  }

  /**
   * What the machine finds after a power failure now; `write` is under way, and `part` of it is
   * there. One disk for each state of the folder.
   */
  powerFailures(options: MemoryDiskOptions, write?: Operation & { type: 'write' }, part?: Part): MemoryDisk[] {
    return this.#folders.map((names) => {
      const left = (inode: Inode): Inode => {
        const durable = Buffer.from(inode.durable);
        if (write?.inode === inode && part !== undefined) copyPart(write.bytes, durable, write.offset, part);
        return { seen: Buffer.from(durable), durable };
      };
      return new MemoryDisk(options, new Map([...names].map(([name, inode]) => [name, left(inode)])));
    });
  }

  /**
   * What the next process finds when this one is killed now. The machine goes on: what is not
   * durable stays so.
   */
  killed(options: MemoryDiskOptions, write?: Operation & { type: 'write' }, part?: Part): MemoryDisk {
    const copies = new Map<Inode, Inode>();
    const copied = (inode: Inode): Inode => {
      const copy = copies.get(inode) ?? { seen: Buffer.from(inode.seen), durable: Buffer.from(inode.durable) };
      copies.set(inode, copy);
      return copy;
    };
    const disk = new MemoryDisk(options);
    disk.#folders = this.#folders.map((names) => new Map([...names].map(([name, inode]) => [name, copied(inode)])));
    if (write !== undefined && part !== undefined) {
      copyPart(write.bytes, copied(write.inode).seen, write.offset, part);
    }
    return disk;
  }
}

function copyPart(bytes: Buffer, target: Buffer, offset: number, part: Part): void {
  if ('bytes' in part) {
    bytes.subarray(0, part.bytes).copy(target, offset);
    return;
  }
  for (let at = 0; at < bytes.length; ) {
    const next = Math.min(bytes.length, at + SECTOR_BYTES - ((offset + at) % SECTOR_BYTES));
    if (part.sectors(Math.floor((offset + at) / SECTOR_BYTES))) bytes.copy(target, offset + at, at, next);
    at = next;
  }
}
