/**
 * A look at all rows of the state (T4): one transaction that sees one state of all tables, on a
 * connection of its own, while batches go on.
 *
 * The digest of a row is that of its text form in UTF-8, under PLAIN_SETTINGS. It depends neither
 * on the version of Postgres nor on locale, encoding, or where the row lies. Each table is locked
 * only while it is read, and gives way to what waits for it: a handler that truncates a table is
 * not held up for long.
 */
import type { RowsCheck, TableChecksum } from '../../../shared/engine/port.js';
import { checksumText, inByteOrder } from '../../../shared/engine/rows-checksum.js';
import { lockTable, RESULT_TABLES, readCatalog, type Scope, type StateTable, unlockTable } from './catalog.js';
import { Connection } from './connection.js';
import { type FencedPosition, plainPosition, READ_POSITION, readPosition, SHARE_STATE } from './position.js';
import type { QueryPool } from './query-pool.js';
import { NO_TIMEOUTS, PLAIN_SETTINGS } from './settings.js';
import { requireTables } from './state-tables.js';
import type { Transaction } from './transaction.js';

/** A large table takes long: only then is the connection given up (milliseconds). */
const STUCK_MS_MAX = 6 * 3_600_000;
/** The beginning holds up the next batch (milliseconds). */
const BEGIN_MS_MAX = 120_000;
/** Between two looks for a session that waits (milliseconds). */
const LOOK_MS = 1_000;
/** How long the end may take while the database does not answer (milliseconds). */
const END_MS_MAX = 1_000;

const BEGIN = `begin isolation level repeatable read read only; ${NO_TIMEOUTS}; ${SHARE_STATE}; ${PLAIN_SETTINGS}`;

/** Whether another session waits for a lock that process $1 has. */
const IS_WAITED_FOR = `select exists (select from pg_stat_activity
  where wait_event_type = 'Lock' and datname = current_database() and $1::integer = any(pg_blocking_pids(pid)))`;

const SEQUENCES_OID = "select 'craft.sequences'::regclass::oid::bigint::text";
/** No part of a snapshot's tables, which has the values in another form. */
const sequencesTable = (oid: unknown): StateTable => ({
  oid: Number(oid),
  name: 'craft.sequences',
  plainName: 'craft.sequences',
  columns: 'name,last_value,is_called',
  isBinary: false,
});

export class RowsChecker {
  private readonly connection: Connection;
  private backend: string | undefined;
  private finished: Promise<void> | undefined;

  /** `onOver` is called once: when all is computed, or it has failed. */
  constructor(
    url: string,
    name: string,
    private readonly pool: QueryPool,
    private readonly onOver: () => void,
  ) {
    this.connection = new Connection({ url, name, stuckMsMax: STUCK_MS_MAX });
  }

  /**
   * Resolves when the state is fixed. `require` throws when the position found is not one to look
   * at.
   */
  async begin(scope: Scope, require: (found: FencedPosition) => void): Promise<RowsCheck> {
    const late = setTimeout(() => void this.end(), BEGIN_MS_MAX).unref();
    try {
      const transaction = await this.connection.begin(BEGIN);
      const found = readPosition(await transaction.run(READ_POSITION, []));
      require(found);
      await requireTables(transaction);
      const { tables } = await readCatalog(transaction, scope);
      const [sequences] = scope === 'search-path' ? await transaction.run(SEQUENCES_OID, []) : [];
      const [process] = await transaction.run('select pg_backend_pid()::text', []);
      this.backend = String(process?.[0]);
      const computed = this.compute(
        transaction,
        sequences === undefined ? tables : [...tables, sequencesTable(sequences[0])],
      );
      // It may fail before it is awaited.
      computed.catch(() => undefined);
      return { position: plainPosition(found), tables: computed };
    } catch (error) {
      await this.finish();
      throw error;
    } finally {
      clearTimeout(late);
    }
  }

  /** Ends it, wherever it is. */
  async end(): Promise<void> {
    const { backend } = this;
    if (this.finished === undefined && backend !== undefined) {
      const ending = this.pool.use((other) => other.run('select pg_terminate_backend($1::integer)', [backend]));
      await Promise.race([
        ending.catch(() => undefined),
        new Promise((resolve) => setTimeout(resolve, END_MS_MAX).unref()),
      ]);
    }
    await this.finish();
  }

  private async compute(transaction: Transaction, tables: readonly StateTable[]): Promise<readonly TableChecksum[]> {
    const looking = setInterval(() => void this.giveWay(), LOOK_MS).unref();
    try {
      const checksums: TableChecksum[] = [];
      for (const table of tables) {
        // Their rows are no state of the machine: the borders of batches, and when rows go, are
        // each server's own.
        if (!RESULT_TABLES.includes(table.name)) checksums.push(await checksumOf(transaction, table));
      }
      await transaction.commit();
      return inByteOrder(checksums);
    } finally {
      clearInterval(looking);
      await this.finish();
    }
  }

  private async giveWay(): Promise<void> {
    const backend = this.backend ?? '';
    const [row] = await this.pool.use((other) => other.run(IS_WAITED_FOR, [backend])).catch(() => []);
    if (row?.[0] === true) await this.end();
  }

  /**
   * Closes the connection once. Each caller waits until `onOver` was called: what the caller tells
   * comes after it.
   */
  private finish(): Promise<void> {
    this.finished ??= this.connection.close().finally(() => this.onOver());
    return this.finished;
  }
}

async function checksumOf(transaction: Transaction, table: StateTable): Promise<TableChecksum> {
  const { name, plainName, columns } = table;
  const row = columns === '' ? "''" : `row(${columns})::text`;
  const digest = `('x' || left(md5(convert_to(${row}, 'UTF8')), 16))::bit(64)::bigint`;
  await lockTable(transaction, table);
  const [found] = await transaction.run(`select count(*)::text, coalesce(sum(${digest}), 0)::text from ${name}`, []);
  await unlockTable(transaction);
  return { name: plainName, rows: Number(found?.[0]), checksum: checksumText(BigInt(String(found?.[1]))) };
}
