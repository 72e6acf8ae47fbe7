/**
 * The state in the database as this engine's own. It has what `open` found there, the epoch that
 * the engine writes under, and what an error says about the state.
 */

import {
  DamagedError,
  type EnginePosition,
  FencedError,
  PositionError,
  ReplacedError,
  requirePositions,
} from '../../../shared/engine/port.js';
import type { LogIndex } from '../../../shared/raft/entry.js';
import type { Connection } from './connection.js';
import { KnownState } from './known-state.js';
import {
  explainPosition,
  type FencedPosition,
  MARK_DIVERGED,
  READ_POSITION,
  readPosition,
  requireOwn,
} from './position.js';
import type { Prepared } from './prepare.js';
import type { QueryPool } from './query-pool.js';
import { BEGIN_PLAIN } from './settings.js';
import { isMissingTable } from './sqlstate.js';
import { requireTables } from './state-tables.js';

export class OwnState {
  readonly known = new KnownState();
  private tables: Prepared = { path: 'public', kvTable: 'kv', damage: undefined };
  private raisedEpoch = 0;
  private divergedFor: string | undefined;

  constructor(private readonly pool: Pick<QueryPool, 'use'>) {}

  /** Where its tables are, and what was missing when it was opened. */
  get prepared(): Prepared {
    return this.tables;
  }

  get epoch(): number {
    return this.raisedEpoch;
  }

  /** What the database says, and the engine's callers may know. */
  get divergence(): string | undefined {
    return this.divergedFor;
  }

  /** Its fence has been taken: nothing that was known before counts. */
  opened(prepared: Prepared, found: FencedPosition): EnginePosition {
    this.tables = prepared;
    this.raisedEpoch = found.epoch;
    this.divergedFor = found.divergence;
    this.known.dropAttempt();
    const position = this.known.moveTo(found);
    this.known.forgetContents();
    return position;
  }

  /** It has been replaced by a whole one. */
  replaced(position: EnginePosition): EnginePosition {
    this.tables = { ...this.tables, damage: undefined };
    this.divergedFor = undefined;
    this.known.dropAttempt();
    return this.known.moveTo(position);
  }

  requireOpen(): EnginePosition {
    const { position } = this.known;
    if (position === undefined) throw new Error('the engine is not open');
    return position;
  }

  /**
   * For what only reads. A database that has gone back is applied to from where it is now.
   * @throws ReplacedError, PositionError
   */
  require(found: FencedPosition, atLeast: readonly LogIndex[]): void {
    requireOwn(found, this.epoch);
    try {
      requirePositions(found, atLeast);
    } catch (error) {
      this.known.moveTo(found);
      throw error;
    }
  }

  async markDiverged(reason: string): Promise<void> {
    this.requireOpen();
    // What text in Postgres cannot hold.
    const text = Buffer.from(reason.replaceAll('\0', '')).toString();
    await this.read(async (connection) => {
      const [rows] = await connection.together(BEGIN_PLAIN, [MARK_DIVERGED, [String(this.epoch), text]]);
      if (rows?.[0]?.[1] === true) return;
      const found = readPosition(await connection.run(READ_POSITION, []));
      explainPosition(found, this.epoch, found.mergedIndex);
    });
    this.divergedFor = text;
  }

  /** As `explained`, on a connection of the pool. */
  read<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    return this.explained(() => this.pool.use(work));
  }

  /** Does `work`; rejects with what its error means. */
  async explained<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw await this.explain(error);
    }
  }

  /**
   * What an error means: a table that is not there may be gone with the whole database, or by
   * itself.
   */
  async explain(error: unknown): Promise<unknown> {
    if (error instanceof PositionError) this.known.moveTo(error.position);
    if (!(error instanceof DamagedError) && (isAboutState(error) || !isMissingTable(error))) return error;
    try {
      await this.pool.use(async (connection) => {
        requireOwn(readPosition(await connection.run(READ_POSITION, [])), this.epoch);
        await requireTables(connection);
      });
      return error;
    } catch (reason) {
      if (isMissingTable(reason)) {
        return new ReplacedError("the engine's tables are gone: the database was emptied or replaced");
      }
      return isAboutState(reason) ? reason : error;
    }
  }
}

/** Whether an error says what the state is, and not what became of a try. */
export function isAboutState(error: unknown): boolean {
  return (
    error instanceof FencedError ||
    error instanceof ReplacedError ||
    error instanceof DamagedError ||
    error instanceof PositionError
  );
}
