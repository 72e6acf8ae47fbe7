/**
 * Taking a snapshot (T10): one transaction that sees one state of all tables, on a connection of
 * its own, read as fast as the caller takes it. Writes go on meanwhile.
 *
 * Sequences are not of any transaction's state: their values are those of craft.sequences.
 */
import type { EnginePosition, EngineSnapshot } from '../../../shared/engine/port.js';
import { FrameWriter } from '../../../shared/engine/snapshot-frames.js';
import { type Catalog, lockTable, readCatalog, type Scope, unlockTable } from './catalog.js';
import { Connection } from './connection.js';
import type { CopyOut } from './copy.js';
import { type FencedPosition, plainPosition, READ_POSITION, readPosition, SHARE_STATE } from './position.js';
import type { QueryPool } from './query-pool.js';
import { readSequences, type SequenceValue } from './sequences.js';
import { NO_TIMEOUTS, PLAIN_SETTINGS } from './settings.js';
import { requireTables } from './state-tables.js';
import type { Transaction } from './transaction.js';

/** Rows are gathered into pieces of about so many bytes. */
const PIECE_BYTES = 64 * 1024;

const BEGIN = `begin isolation level repeatable read read only; ${NO_TIMEOUTS}; ${SHARE_STATE}; ${PLAIN_SETTINGS}`;

export class PostgresSnapshot implements EngineSnapshot {
  readonly format: string;
  readonly machine: string | undefined;
  readonly data: AsyncIterable<Uint8Array>;
  /** The one under way. */
  private copy: CopyOut | undefined;
  private isFreed = false;

  private constructor(
    readonly position: EnginePosition,
    machine: string | undefined,
    private readonly catalog: Catalog,
    private readonly sequences: readonly SequenceValue[],
    private readonly connection: Connection,
    private readonly transaction: Transaction,
    private readonly backend: string,
    private readonly pool: QueryPool,
    private readonly onFreed: () => void,
  ) {
    this.format = catalog.format;
    this.machine = machine;
    const pieces = this.pieces();
    const iterator: AsyncIterator<Uint8Array> = {
      next: () => pieces.next(),
      return: async () => {
        await this.free();
        return { done: true, value: undefined };
      },
    };
    this.data = { [Symbol.asyncIterator]: () => iterator };
  }

  /**
   * `require` throws when the position found is not one to keep. `onFreed` is called once: when the
   * last byte has been read, or the snapshot is given up.
   */
  static async take(
    url: string,
    name: string,
    pool: QueryPool,
    scope: Scope,
    require: (found: FencedPosition) => void,
    onFreed: () => void,
  ): Promise<PostgresSnapshot> {
    const connection = new Connection({ url, name });
    try {
      const begun = await begin(connection, scope, require);
      const { position, machine, catalog, sequences, transaction, backend } = begun;
      return new PostgresSnapshot(
        position,
        machine,
        catalog,
        sequences,
        connection,
        transaction,
        backend,
        pool,
        onFreed,
      );
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  /** Ends the transaction, wherever it is; the server stops sending at once. */
  async free(): Promise<void> {
    if (this.isFreed) return;
    this.isFreed = true;
    try {
      if (this.copy !== undefined) await this.cut(this.copy);
    } catch {
      // Then it is over; or the server cannot be reached, and the connection goes the same way.
    }
    await this.connection.close();
    this.onFreed();
  }

  /** A server that waits for its reader hears of nothing else than the end of its process. */
  private async cut(copy: CopyOut): Promise<void> {
    await this.pool.use((other) => other.run('select pg_terminate_backend($1::integer)', [this.backend]));
    // What is on its way: without a reader the connection would not learn of its end.
    while ((await copy.next()) !== undefined);
  }

  private async *pieces(): AsyncGenerator<Uint8Array> {
    const { catalog, position, transaction } = this;
    const writer = new FrameWriter();
    try {
      yield writer.start(catalog.format, position);
      if (this.sequences.length > 0) yield writer.other({ sequences: this.sequences });
      for (const table of catalog.tables) {
        const { name, columns, isBinary } = table;
        await lockTable(transaction, table);
        yield writer.table({ name, columns, isBinary });
        const copy = await transaction.copyOut(
          `copy ${name} (${columns}) to stdout (format ${isBinary ? 'binary' : 'text'})`,
        );
        this.copy = copy;
        for await (const piece of gathered(() => transaction.step(() => copy.next()))) yield* writer.data(piece);
        this.copy = undefined;
        writer.count(copy.rows ?? 0);
        await unlockTable(transaction);
      }
      await transaction.commit();
      yield writer.end();
    } catch (error) {
      // The connection is broken: its process may have gone, and its number be another's.
      this.copy = undefined;
      throw error;
    } finally {
      await this.free();
    }
  }
}

/** Small pieces joined to larger ones. */
async function* gathered(next: () => Promise<Buffer | undefined>): AsyncGenerator<Uint8Array> {
  let parts: Buffer[] = [];
  let length = 0;
  for (let part = await next(); part !== undefined; part = await next()) {
    parts.push(part);
    length += part.length;
    if (length < PIECE_BYTES) continue;
    yield Buffer.concat(parts, length);
    parts = [];
    length = 0;
  }
  if (length > 0) yield Buffer.concat(parts, length);
}

interface Begun {
  readonly position: EnginePosition;
  readonly machine: string | undefined;
  readonly catalog: Catalog;
  readonly sequences: readonly SequenceValue[];
  readonly transaction: Transaction;
  readonly backend: string;
}

async function begin(connection: Connection, scope: Scope, require: (found: FencedPosition) => void): Promise<Begun> {
  const transaction = await connection.begin(BEGIN);
  const found = readPosition(await transaction.run(READ_POSITION, []));
  require(found);
  await requireTables(transaction);
  const catalog = await readCatalog(transaction, scope);
  const sequences = await readSequences(transaction, catalog.sequences);
  const [process] = await transaction.run('select pg_backend_pid()::text', []);
  return {
    position: plainPosition(found),
    machine: found.machine?.name,
    catalog,
    sequences,
    transaction,
    backend: String(process?.[0]),
  };
}
