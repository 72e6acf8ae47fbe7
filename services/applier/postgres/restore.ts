/**
 * Taking over a snapshot (T10): one transaction, on a connection of its own, that empties all
 * tables of the state, fills them from the bytes and moves the position. It excludes readers and
 * writers until it ends: a state half replaced is nobody's to see.
 *
 * Everything in it can be undone: also the sequences, which get new storage before their value is
 * set.
 */
import type { MigrationSource } from '../../../shared/engine/migrations.js';
import {
  type EnginePosition,
  type EngineSnapshot,
  SnapshotFormatError,
  versionAt,
} from '../../../shared/engine/port.js';
import { type Frame, framesOf, wrongFormat } from '../../../shared/engine/snapshot-frames.js';
import { type Catalog, readCatalog, type Scope, type StateTable } from './catalog.js';
import { Connection } from './connection.js';
import type { CopyIn } from './copy.js';
import {
  EXCLUDE_ALL,
  explainPosition,
  positionParameters,
  READ_POSITION,
  readPosition,
  SET_POSITION,
  SET_VERSION,
} from './position.js';
import { replaceSequences, type SequenceValue } from './sequences.js';
import { NO_TIMEOUTS, PLAIN_SETTINGS } from './settings.js';
import { isDeterministic } from './sqlstate.js';
import { createTables, missingTables, requireTables } from './state-tables.js';
import type { Transaction } from './transaction.js';
import { alignTables } from './version.js';

/** How long readers and batches under way may hold up the beginning (milliseconds). */
const LOCK_MS_MAX = 30_000;
/**
 * The last statements check and index everything that was written: they may take long
 * (milliseconds).
 */
const STUCK_MS_MAX = 30 * 60_000;

const BEGIN = `begin isolation level read committed; ${NO_TIMEOUTS}; set local lock_timeout = ${LOCK_MS_MAX}; ${EXCLUDE_ALL}; ${PLAIN_SETTINGS}`;

/**
 * As a replica's, rows fire no triggers and are not checked against keys that hold already. Only
 * superusers may say so.
 */
const AS_REPLICA = `select set_config('session_replication_role', 'replica', true)
  where current_setting('is_superuser') = 'on'`;

/**
 * The tables' own triggers that are on, and in which sense (`tgenabled`): what they do is in the
 * snapshot already.
 */
const TRIGGERS = `select t.tgrelid::bigint::text, quote_ident(t.tgname), t.tgenabled::text from pg_trigger t
  where not t.tgisinternal and t.tgenabled <> 'D'`;
const ENABLING: Readonly<Record<string, string>> = { O: 'enable', A: 'enable always', R: 'enable replica' };

/** Where a state is replaced, and by what. */
export interface RestoreSession {
  readonly url: string;
  /** Shown in pg_stat_activity. */
  readonly name: string;
  readonly scope: Scope;
  readonly epoch: number;
  /**
   * The engine's migrations, and those of the version that the snapshot was taken with, if it has
   * some.
   */
  readonly sources: readonly [MigrationSource, ...MigrationSource[]];
}

/**
 * Replaces the state of the database at `url` by the snapshot, which counts as of the position that
 * `as` gives for the one before. Tables that are missing, or of another version, are made anew by
 * the migrations of `sources`.
 * @throws SnapshotFormatError, FencedError, ReplacedError, DamagedError; ConnectionLostError: look
 *   at the position to know what became of it.
 */
export async function restoreSnapshot(
  { url, name, scope, epoch, sources }: RestoreSession,
  snapshot: EngineSnapshot,
  as: (before: EnginePosition) => EnginePosition,
): Promise<void> {
  const connection = new Connection({ url, name, stuckMsMax: STUCK_MS_MAX });
  try {
    await connection.transaction(BEGIN, async (transaction) => {
      const found = readPosition(await transaction.run(READ_POSITION, []));
      if (found.epoch !== epoch) explainPosition(found, epoch, found.mergedIndex);
      const position = as(found);
      const [, own] = sources;
      if (own !== undefined) await alignTables(transaction, own);
      await repair(transaction, scope, sources);
      const catalog = await readCatalog(transaction, scope);
      if (snapshot.format !== catalog.format) throw wrongFormat(snapshot.format, catalog.format);
      await new Restore(transaction, catalog).run(snapshot);
      await transaction.run(SET_POSITION, positionParameters(position));
      await transaction.run(SET_VERSION, [String(versionAt(snapshot.position))]);
    });
  } finally {
    await connection.close();
  }
}

/** Undoes a transaction that was only to find something out. */
class Undone extends Error {}

/**
 * The format of a state of another version than the one in force: its tables are made, looked at,
 * and undone. Writers and readers wait meanwhile.
 */
export async function formatOf({ url, name, scope, sources: [, own] }: RestoreSession): Promise<string> {
  const connection = new Connection({ url, name, stuckMsMax: STUCK_MS_MAX });
  let format = '';
  try {
    await connection.transaction(BEGIN, async (transaction) => {
      if (own !== undefined) await alignTables(transaction, own);
      ({ format } = await readCatalog(transaction, scope));
      throw new Undone();
    });
  } catch (error) {
    if (!(error instanceof Undone)) throw error;
  } finally {
    await connection.close();
  }
  return format;
}

/** The rows of the others go first: they may not fit keys that are made anew. */
async function repair(transaction: Transaction, scope: Scope, sources: readonly MigrationSource[]): Promise<void> {
  const missing = await missingTables(transaction);
  if (missing.length === 0) return;
  const { tables } = await readCatalog(transaction, scope);
  if (tables.length > 0) await transaction.execute(`truncate ${tables.map((table) => table.name).join(', ')}`);
  await createTables(transaction, missing, sources);
  await requireTables(transaction);
}

class Restore {
  private readonly missing: Map<string, StateTable>;
  private sequences: readonly SequenceValue[] = [];
  private copy: CopyIn | undefined;
  private rows = 0;

  constructor(
    private readonly transaction: Transaction,
    private readonly catalog: Catalog,
  ) {
    this.missing = new Map(catalog.tables.map((table) => [table.name, table]));
  }

  async run({ format, position, data }: EngineSnapshot): Promise<void> {
    const enable = await this.empty();
    try {
      for await (const frame of framesOf(format, position, data)) await this.take(frame);
    } catch (error) {
      const { copy } = this;
      // Refused when the copy has failed by itself: then it is over.
      if (copy !== undefined) await this.transaction.step(() => copy.abort()).catch(() => undefined);
      // The server says of bytes that are no rows of its own that they are not.
      if (isDeterministic(error)) throw new SnapshotFormatError('the snapshot is damaged: not rows', { cause: error });
      throw error;
    }
    if (this.missing.size > 0) throw damaged('a table is missing');
    await this.setSequences();
    // What keys in a circle have put off; the server changes no trigger before that is done.
    await this.transaction.execute('set constraints all immediate');
    if (enable !== '') await this.transaction.execute(enable);
  }

  /** Empties all tables; returns what makes the triggers work again. */
  private async empty(): Promise<string> {
    const { transaction, catalog } = this;
    await transaction.run(AS_REPLICA, []);
    const byOid = new Map(catalog.tables.map((table) => [table.oid, table.name]));
    const enable: string[] = [];
    for (const [oid, trigger, mode] of await transaction.run(TRIGGERS, [])) {
      const table = byOid.get(Number(oid));
      if (table === undefined) continue;
      await transaction.execute(`alter table ${table} disable trigger ${String(trigger)}`);
      enable.push(`alter table ${table} ${ENABLING[String(mode)] ?? 'enable'} trigger ${String(trigger)}`);
    }
    await transaction.execute('set constraints all deferred');
    await transaction.execute(`truncate ${catalog.tables.map((table) => table.name).join(', ')}`);
    return enable.join('; ');
  }

  private async take(frame: Frame): Promise<void> {
    if (frame.kind === 'data') {
      const { copy } = this;
      if (copy === undefined) throw damaged('rows without a table');
      await this.transaction.step(() => copy.write(frame.body));
      return;
    }
    await this.endTable();
    if (frame.kind === 'table') await this.beginTable(frame.json as Partial<StateTable>);
    else if (frame.kind === 'other') this.sequences = this.sequencesOf(frame.json);
    else if (frame.kind === 'end' && frame.rows !== this.rows) throw damaged('rows are missing');
  }

  private async beginTable({ name = '', columns, isBinary }: Partial<StateTable>): Promise<void> {
    const table = this.missing.get(name);
    if (table === undefined || table.columns !== columns) throw damaged('a table is unknown');
    this.missing.delete(name);
    const form = isBinary === true ? 'binary' : 'text';
    this.copy = await this.transaction.copyIn(`copy ${table.name} (${table.columns}) from stdin (format ${form})`);
  }

  private async endTable(): Promise<void> {
    const { copy } = this;
    if (copy === undefined) return;
    this.copy = undefined;
    this.rows += await this.transaction.step(() => copy.end());
  }

  private sequencesOf(json: unknown): readonly SequenceValue[] {
    const { sequences } = json as { sequences?: unknown };
    if (!Array.isArray(sequences)) throw damaged('no sequences');
    return (sequences as Partial<SequenceValue>[]).map(({ name = '', value = '', isCalled }) => {
      if (!this.catalog.sequences.includes(name) || !/^-?\d{1,19}$/.test(value)) throw damaged('a sequence is unknown');
      return { name, value, isCalled: isCalled === true };
    });
  }

  private async setSequences(): Promise<void> {
    for (const { name, value, isCalled } of this.sequences) {
      await this.transaction.execute(
        `alter sequence ${name} restart; select setval('${name.replaceAll("'", "''")}'::regclass, ${value}, ${isCalled})`,
      );
    }
    await replaceSequences(this.transaction, this.sequences);
  }
}

function damaged(what: string): SnapshotFormatError {
  return new SnapshotFormatError(`the snapshot is damaged: ${what}`);
}
