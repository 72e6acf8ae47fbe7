/**
 * Looks at the whole state while batches go on: snapshots, and checks of the rows. There is at most
 * one of each kind at a time.
 */

import type { EngineSnapshot, RowsCheck } from '../../../shared/engine/port.js';
import type { Scope } from './catalog.js';
import type { OwnState } from './own-state.js';
import { type FencedPosition, requireOwn } from './position.js';
import type { QueryPool } from './query-pool.js';
import { RowsChecker } from './rows-check.js';
import { PostgresSnapshot } from './snapshot.js';

export class Looks {
  /** The one that is being taken; `taken` is undefined before its transaction has begun. */
  private snapshotUnderWay: { taken: PostgresSnapshot | undefined } | undefined;
  private checkUnderWay: RowsChecker | undefined;

  constructor(
    private readonly state: OwnState,
    private readonly scope: Scope,
    private readonly pool: QueryPool,
    private readonly database: { readonly databaseUrl: string; readonly server: string },
  ) {}

  async snapshot(): Promise<EngineSnapshot> {
    const { state, pool, scope } = this;
    state.requireOpen();
    if (this.snapshotUnderWay !== undefined) throw new Error('a snapshot of this engine is being taken already');
    const { databaseUrl, server } = this.database;
    const current: { taken: PostgresSnapshot | undefined } = { taken: undefined };
    this.snapshotUnderWay = current;
    const onFreed = () => {
      if (this.snapshotUnderWay === current) this.snapshotUnderWay = undefined;
    };
    try {
      const name = `craft snapshot ${server}`;
      current.taken = await PostgresSnapshot.take(databaseUrl, name, pool, scope, this.requireOwn, onFreed);
      return current.taken;
    } catch (error) {
      onFreed();
      throw await state.explain(error);
    }
  }

  async checkRows(): Promise<RowsCheck> {
    const { state, pool, scope } = this;
    state.requireOpen();
    if (this.checkUnderWay !== undefined) throw new Error('the rows of this engine are being checked already');
    const { databaseUrl, server } = this.database;
    const checker = new RowsChecker(databaseUrl, `craft check ${server}`, pool, () => {
      if (this.checkUnderWay === checker) this.checkUnderWay = undefined;
    });
    this.checkUnderWay = checker;
    return state.explained(() => checker.begin(scope, this.requireOwn));
  }

  /** The check under way has ended, wherever it was. */
  async endCheck(): Promise<void> {
    await this.checkUnderWay?.end();
  }

  async close(): Promise<void> {
    await Promise.all([this.snapshotUnderWay?.taken?.free(), this.endCheck()]);
  }

  private readonly requireOwn = (found: FencedPosition) => requireOwn(found, this.state.epoch);
}
