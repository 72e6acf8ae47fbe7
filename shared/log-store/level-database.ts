/**
 * The LevelDB handle of the level adapter: opens a checked folder, writes synchronously, reads, and can be closed and
 * opened again under its readers after a failed write. LevelDB's errors leave here as those of the port.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type BatchOperation, ClassicLevel } from 'classic-level';
import { LogStoreLockedError } from './errors.js';
import { checkFolder, dropWritesAfter, PROBE_FILE, probeSpace } from './level-folder.js';
import { LogStoreCorruptError, LogStoreWriteError } from './port.js';

type Level = ClassicLevel<string, Uint8Array>;
export type Operation = BatchOperation<Level, string, Uint8Array>;
export type KeyValue = readonly [key: string, value: Uint8Array];

/**
 * A larger buffer than LevelDB's own 4 MiB makes fewer and larger tables: a log is written in order and read back seldom, so
 * merging it often is work for nothing. It bounds the journal, and with it the time that opening takes.
 */
const WRITE_BUFFER_BYTES = 16 * 1024 * 1024;
const READ_AHEAD_BYTES_MAX = 16 * 1024 * 1024;

export class LevelDatabase {
  #level: Level | undefined;
  #reopening: Promise<void> | undefined;
  #isClosing = false;
  /** Reads and compactions that use the handle, which is not closed under them. */
  readonly #users = new Set<Promise<unknown>>();

  private constructor(
    readonly folder: string,
    level: Level,
  ) {
    this.#level = level;
  }

  /**
   * Opens or creates the database.
   * @throws LogStoreLockedError, LogStoreCorruptError, or LogStoreWriteError when the file system refuses.
   */
  static async open(folder: string): Promise<LevelDatabase> {
    await rm(join(folder, PROBE_FILE), { force: true });
    return new LevelDatabase(folder, await openChecked(folder));
  }

  /** Writes all operations or none, durably. Rejects as LogStoreWriteError or LogStoreCorruptError. */
  async write(operations: Operation[]): Promise<void> {
    if (this.#level === undefined) throw new LogStoreWriteError(`the log store in ${this.folder} is not open`);
    try {
      await this.#level.batch(operations, { sync: true });
    } catch (cause) {
      throw portError(this.folder, 'the write failed', cause);
    }
  }

  /**
   * Gives `use` a reader of the keys in [first, last], front to back, as of now: each call of it reads at most `count` pairs
   * and stops after the one with which `bytesMax` bytes are exceeded; none are left when it gives none.
   */
  async read<T>(
    first: string,
    last: string,
    bytesMax: number,
    use: (next: (count: number) => Promise<KeyValue[]>) => Promise<T>,
  ): Promise<T> {
    return this.#use((level) => this.#readFrom(level, first, last, bytesMax, use));
  }

  /** The keys in [first, last], front to back, `limit` of them at most. */
  keys(first: string, last: string, limit = Number.POSITIVE_INFINITY): Promise<string[]> {
    return this.#use(async (level) => {
      try {
        return await level.keys({ gte: first, lte: last, limit: Number.isFinite(limit) ? limit : -1 }).all();
      } catch (cause) {
        throw portError(this.folder, 'the read failed', cause);
      }
    });
  }

  /**
   * Gives the space of deleted values under the keys in [first, last] back to the file system, if they take at least about
   * `bytesMin` in tables. Returns at once, having done nothing, when the database is being closed or opened again.
   */
  async compact(first: string, last: string, bytesMin: number): Promise<void> {
    if (this.#level === undefined || this.#isClosing || this.#reopening !== undefined) return;
    await this.#use(async (level) => {
      if ((await level.approximateSize(first, last)) < bytesMin) return;
      if (!this.#isClosing && this.#reopening === undefined) await level.compactRange(first, last);
    });
  }

  async #use<T>(work: (level: Level) => Promise<T>): Promise<T> {
    while (this.#reopening !== undefined) await this.#reopening.catch(() => undefined);
    if (this.#level === undefined) throw new LogStoreWriteError(`the log store in ${this.folder} is not open`);
    const using = work(this.#level);
    this.#users.add(using);
    try {
      return await using;
    } finally {
      this.#users.delete(using);
    }
  }

  async #readFrom<T>(
    level: Level,
    first: string,
    last: string,
    bytesMax: number,
    use: (next: (count: number) => Promise<KeyValue[]>) => Promise<T>,
  ): Promise<T> {
    const highWaterMarkBytes = Math.max(1, Math.min(bytesMax, READ_AHEAD_BYTES_MAX));
    const iterator = level.iterator({ gte: first, lte: last, highWaterMarkBytes });
    try {
      return await use((count) => iterator.nextv(count));
    } catch (cause) {
      // What `use` itself throws is no error of LevelDB and goes on as it is.
      throw levelCode(cause) === undefined ? cause : portError(this.folder, 'the read failed', cause);
    } finally {
      await iterator.close();
    }
  }

  /** The value under one key, without the tables' Bloom filters: a damaged one would hide the key. */
  get(key: string): Promise<Uint8Array | undefined> {
    return this.read(key, key, 1, async (next) => (await next(1))[0]?.[1]);
  }

  /**
   * Makes the database usable after a failed write. LevelDB's journal writer is out of step then: what it appended next
   * would be acknowledged and yet unreadable. So the database is closed, the journal is cut back to write number
   * `acknowledged`, and opening starts a new journal. Rejects with LogStoreWriteError while the disk does not take `bytes` more;
   * reads go on until then.
   */
  async reopen(acknowledged: number, bytes: number): Promise<void> {
    try {
      await probeSpace(this.folder, bytes);
    } catch (cause) {
      throw new LogStoreWriteError(`the disk of ${this.folder} does not take writes`, { cause });
    }
    this.#reopening = this.#reopen(acknowledged);
    try {
      await this.#reopening;
    } finally {
      this.#reopening = undefined;
    }
  }

  async #reopen(acknowledged: number): Promise<void> {
    await Promise.allSettled(this.#users);
    await this.#level?.close();
    this.#level = undefined;
    await dropWritesAfter(this.folder, acknowledged);
    this.#level = await openChecked(this.folder);
  }

  /** Waits for what uses the database. */
  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#reopening?.catch(() => undefined);
    await Promise.allSettled(this.#users);
    await this.#level?.close();
    this.#level = undefined;
  }
}

async function openChecked(folder: string): Promise<Level> {
  let createIfMissing: boolean;
  try {
    createIfMissing = (await checkFolder(folder)) === 'new';
  } catch (error) {
    // A journal that another process is writing right now may look damaged.
    if (error instanceof LogStoreCorruptError) await demandUnlocked(folder);
    throw error instanceof LogStoreCorruptError ? error : portError(folder, 'opening failed', error);
  }
  const level: Level = new ClassicLevel(folder, { keyEncoding: 'utf8', valueEncoding: 'view' });
  try {
    await level.open({ createIfMissing, writeBufferSize: WRITE_BUFFER_BYTES });
    return level;
  } catch (cause) {
    throw portError(folder, 'opening failed', cause);
  }
}

/** LevelDB takes its lock before it looks for an existing database, so this opening fails either way and changes nothing. */
async function demandUnlocked(folder: string): Promise<void> {
  const level = new ClassicLevel(folder);
  try {
    await level.open({ createIfMissing: false, errorIfExists: true });
    await level.close();
  } catch (cause) {
    if (levelCode(cause) === 'LEVEL_LOCKED') throw new LogStoreLockedError(folder, { cause });
  }
}

/** The innermost code of a LevelDB error: abstract-level wraps those of opening. */
function levelCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const inner = levelCode(error.cause);
  if (inner !== undefined) return inner;
  const code = 'code' in error ? error.code : undefined;
  return typeof code === 'string' && code.startsWith('LEVEL_') ? code : undefined;
}

function portError(folder: string, message: string, cause: unknown): Error {
  const code = levelCode(cause);
  if (code === 'LEVEL_LOCKED') return new LogStoreLockedError(folder, { cause });
  const reason = innermostMessage(cause);
  if (code === 'LEVEL_CORRUPTION') return new LogStoreCorruptError(folder, `${message}: ${reason}`, { cause });
  return new LogStoreWriteError(`${message}: ${reason} (${folder})`, { cause });
}

function innermostMessage(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : innermostMessage(error.cause);
}
