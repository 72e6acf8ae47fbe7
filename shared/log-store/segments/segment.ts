/**
 * One segment file: how it is made, how it is told that the next one goes on, and what is at its
 * front and its end.
 *
 *   checkpoint   batch*   zeros   end (in the last sector)
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { LogStoreCorruptError } from '../port.js';
import type { SegmentFile, SegmentFolder } from './files.js';
import { type Checkpoint, decodeJson, type End, encodeJson, type SegmentEntry } from './payload.js';
import {
  HEADER_BYTES,
  ID_BYTES,
  RecordKind,
  readHeader,
  readPayload,
  recordLength,
  SECTOR_BYTES,
  sealRecord,
} from './record.js';
import { tailOf } from './tail.js';

/** A segment is made under this name, and gets its own when all of it is durable. */
const UNFINISHED = 'segment.unfinished';
const NAME = /^(\d{12})\.segment$/;

export const fileOf = (number: number): string => `${number.toString().padStart(12, '0')}.segment`;

/** Of the segments among `files`, in order. */
export function numbersOf(files: readonly string[]): number[] {
  return files
    .flatMap((file) => NAME.exec(file)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

/** Files that a LevelDB database has. */
const LEVELDB_FILE = /^(CURRENT|MANIFEST-\d+)$/;

export const isLevelDb = (files: readonly string[]): boolean => files.some((file) => LEVELDB_FILE.test(file));

/** Whether a store is there, of this version or of one before it. */
export const holdsStore = (files: readonly string[]): boolean => isLevelDb(files) || numbersOf(files).length > 0;

export class Segment {
  /** Where the next batch goes, and the number of the last one. */
  end: number;
  sequence: number;
  /** Bytes of the records that hold an entry which may still be read. */
  live = 0;

  private constructor(
    private readonly folder: SegmentFolder,
    readonly file: SegmentFile,
    readonly id: Buffer,
    readonly checkpoint: Checkpoint,
    /** Where the first batch begins. */
    readonly start: number,
  ) {
    this.end = start;
    this.sequence = checkpoint.sequence;
  }

  /**
   * Makes a segment that begins with `checkpoint`. It has its name only when it is whole and
   * durable. Rejects with LogStoreWriteError; what is left then is replaced by the next attempt.
   */
  static async create(folder: SegmentFolder, checkpoint: Checkpoint): Promise<Segment> {
    const id = randomBytes(ID_BYTES);
    const record = recordOf(RecordKind.checkpoint, encodeJson(checkpoint), id, 0, checkpoint.sequence);
    const file = await folder.create(UNFINISHED, checkpoint.size);
    try {
      await file.write(record, 0);
      await file.sync();
      await folder.rename(UNFINISHED, fileOf(checkpoint.number));
      await folder.sync();
    } catch (error) {
      await file.close();
      throw error;
    }
    return new Segment(folder, file, id, checkpoint, record.length);
  }

  /** Rejects with LogStoreCorruptError when there is no such segment in that file. */
  static async open(folder: SegmentFolder, number: number): Promise<Segment> {
    const file = await folder.open(fileOf(number));
    try {
      const damaged = (what: string) => new LogStoreCorruptError(join(folder.path, fileOf(number)), what);
      let bytes = await file.read(0, 4 * SECTOR_BYTES);
      const id = Buffer.from(bytes.subarray(0, ID_BYTES));
      const header = readHeader(bytes, 0, id, 0);
      if (header?.kind !== RecordKind.checkpoint) throw damaged('the segment has no intact beginning');
      if (header.length > bytes.length) bytes = await file.read(0, header.length);
      const payload = readPayload(bytes, 0, header);
      const checkpoint = payload && decodeJson<Checkpoint>(payload);
      if (checkpoint === undefined) throw damaged('the checkpoint of the segment is damaged');
      if (checkpoint.number !== number) throw damaged(`the file holds segment ${checkpoint.number}`);
      if (checkpoint.size !== file.size) throw damaged(`the file has ${file.size} bytes, not ${checkpoint.size}`);
      return new Segment(folder, file, id, checkpoint, header.length);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  get number(): number {
    return this.checkpoint.number;
  }

  get path(): string {
    return join(this.folder.path, fileOf(this.number));
  }

  /** Bytes that batches may still take. */
  get room(): number {
    return this.endAt - this.end;
  }

  get entry(): SegmentEntry {
    const { number, id, file, end, sequence } = this;
    return { number, id: id.toString('hex'), size: file.size, end, sequence };
  }

  private get endAt(): number {
    return this.file.size - SECTOR_BYTES;
  }

  /** Everything before the last sector. */
  readAll(): Promise<Buffer> {
    return this.file.read(0, this.endAt);
  }

  /**
   * Makes it durable that `next` goes on where this one ends. May be repeated after a failure, with
   * the same one only.
   */
  writeEnd(next: Segment): Promise<void> {
    const end: End = { number: next.number, id: next.id.toString('hex') };
    return this.file.write(recordOf(RecordKind.end, encodeJson(end), this.id, this.endAt, this.sequence), this.endAt);
  }

  /**
   * Which segment goes on, or undefined when none does: also when the end was being written at a
   * crash.
   */
  async readEnd(): Promise<End | undefined> {
    const sector = await this.file.read(this.endAt, SECTOR_BYTES);
    const header = readHeader(sector, 0, this.id, this.endAt);
    const payload = header?.kind === RecordKind.end ? readPayload(sector, 0, header) : undefined;
    const end = payload && decodeJson<End>(payload);
    if (end !== undefined) return end;
    const tail = tailOf(sector, 0, { id: this.id, shift: this.endAt, sequence: header?.sequence ?? 0 });
    if (tail !== 'damaged') return undefined;
    throw new LogStoreCorruptError(`${this.path} at byte ${this.endAt}`, 'the end of the segment is damaged');
  }

  /** Not durable: after a crash it may be there again. */
  async remove(): Promise<void> {
    await this.file.close();
    await this.folder.remove(fileOf(this.number));
  }
}

function recordOf(kind: RecordKind, payload: Buffer, id: Buffer, offset: number, sequence: number): Buffer {
  const length = recordLength(payload.length);
  const record = Buffer.alloc(length);
  payload.copy(record, HEADER_BYTES + 4);
  sealRecord(record, 0, payload.length, id, { kind, sequence, offset, length, following: 0, mask: 0 });
  return record;
}

/** Removes what an unfinished segment has left. */
export async function removeUnfinished(folder: SegmentFolder, files: readonly string[]): Promise<void> {
  if (files.includes(UNFINISHED)) await folder.remove(UNFINISHED);
}
