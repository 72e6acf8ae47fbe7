/**
 * COPY in both directions, through the driver, with what the driver's own streams leave open closed
 * here:
 *
 *  - Its promise settles when the stream begins. What the server says at the end of the statement
 *    is then not heard (an error after the last byte would be waited for without end). So the
 *    settling functions of its query are replaced before it is sent.
 *  - It pauses its socket when a reader is slow and leaves it paused when the copy ends meanwhile.
 *    So it is resumed at the end.
 *
 * The bytes are those of the server, in pieces without meaning; a reader or writer holds a few of
 * them at most.
 */

import { Readable, Writable } from 'node:stream';
import type { PendingQuery, Sql } from 'postgres';
import { InvariantError } from '../../../shared/raft/assert.js';

/**
 * What the driver calls: once with the stream, once with the result; or with an error at any time.
 */
interface Settling {
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

interface Begun {
  readonly stream: Readable | Writable;
  /** Resolves with the number of rows when the statement is over. */
  readonly done: Promise<number>;
}

function begin(client: Sql, text: string): Promise<Begun> {
  return new Promise((resolve, reject) => {
    const query = client.unsafe(text) as PendingQuery<never[]> & Settling;
    let end: (rows: number) => void = () => undefined;
    let fail: (error: unknown) => void = () => undefined;
    const done = new Promise<number>((onEnd, onFail) => {
      end = onEnd;
      fail = onFail;
    });
    // It may fail before the caller waits for it.
    done.catch(() => undefined);
    query.resolve = (value) => {
      if (value instanceof Readable || value instanceof Writable) {
        // The error comes through `done`, with the server's words.
        value.on('error', () => undefined);
        resolve({ stream: value, done });
      } else end(Number((value as { count?: unknown }).count));
    };
    query.reject = (error) => {
      fail(error);
      reject(error);
    };
    query.simple().execute();
  });
}

/** What `copy … to stdout` sends. */
export class CopyOut {
  private readonly chunks: AsyncIterator<Buffer>;
  private rowCount: number | undefined;

  private constructor(
    private readonly stream: Readable,
    private readonly done: Promise<number>,
  ) {
    this.chunks = stream[Symbol.asyncIterator]();
  }

  static async begin(client: Sql, text: string): Promise<CopyOut> {
    const { stream, done } = await begin(client, text);
    if (!(stream instanceof Readable)) throw new InvariantError('this statement does not send anything');
    return new CopyOut(stream, done);
  }

  /** How many rows there were, once everything has been read; undefined before. */
  get rows(): number | undefined {
    return this.rowCount;
  }

  /** The next bytes, undefined after the last ones. Rejects as the driver does. */
  async next(): Promise<Buffer | undefined> {
    const next = await this.chunks.next().catch(() => undefined);
    if (next !== undefined && next.done !== true) return next.value;
    if (next !== undefined) this.resume();
    this.rowCount = await this.done;
    return undefined;
  }

  private resume(): void {
    try {
      // What the driver gave as `read` does nothing but resume its socket.
      this.stream._read(0);
    } catch {
      // There is no socket any more: the statement was over before.
    }
  }
}

/** What `copy … from stdin` takes. */
export class CopyIn {
  private constructor(
    private readonly stream: Writable,
    private readonly done: Promise<number>,
  ) {}

  static async begin(client: Sql, text: string): Promise<CopyIn> {
    const { stream, done } = await begin(client, text);
    if (!(stream instanceof Writable)) throw new InvariantError('this statement does not take anything');
    return new CopyIn(stream, done);
  }

  /** Resolves when the bytes are with the operating system. Rejects as the driver does. */
  async write(bytes: Uint8Array): Promise<void> {
    const failure = await new Promise<unknown>((resolve) => this.stream.write(bytes, resolve));
    if (failure) await this.done;
  }

  /** All has been written; resolves with the number of rows when the server has taken them. */
  end(): Promise<number> {
    this.stream.end();
    return this.done;
  }

  /** Undoes the statement; resolves when the server has done so. */
  async abort(): Promise<void> {
    this.stream.destroy(new Error('abandoned'));
    await this.done.catch(() => undefined);
  }
}
