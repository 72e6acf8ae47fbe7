/** A database with one state, as far as the parts of the Postgres engine ask for where it is. */
import postgres from 'postgres';
import type { Connection } from '../../../services/applier/postgres/connection.js';
import { OwnState } from '../../../services/applier/postgres/own-state.js';
import {
  type FencedPosition,
  MARK_DIVERGED,
  READ_POSITION,
  readPosition,
} from '../../../services/applier/postgres/position.js';
import type { Rows, Statement } from '../../../services/applier/postgres/rows.js';
import type { EnginePosition } from '../../../shared/engine/port.js';
import { EMPTY_RESULTS_CHECKSUM } from '../../../shared/engine/results-checksum.js';
import { EMPTY_CHECKSUM } from '../../../shared/merge/checksum.js';

export function postgresError(code: string): Error {
  return new postgres.PostgresError({ message: `error ${code}`, code } as never);
}

export class FakeDatabase {
  epoch = 1;
  position = { mergedIndex: 0, checksum: EMPTY_CHECKSUM, resultsChecksum: EMPTY_RESULTS_CHECKSUM };
  /** Tables of the state that are gone. */
  missing: string[] = [];
  /** Nothing is there any more. */
  isEmptied = false;
  /** How often a session was given up. */
  renewed = 0;
  onCall: Connection['onCall'];

  readonly pool = { use: <T>(work: (connection: Connection) => Promise<T>) => work(this as unknown as Connection) };

  /** The state of an engine that has just opened it. */
  open(): OwnState {
    const state = new OwnState(this.pool);
    state.opened({ path: 'public', kvTable: 'public.kv', damage: undefined }, this.found());
    return state;
  }

  /** What is stored. */
  found(): FencedPosition {
    return readPosition(this.row());
  }

  /** Moves on, as a batch does that leads to `after`. */
  commit({ mergedIndex, checksum, resultsChecksum }: EnginePosition): void {
    this.position = { mergedIndex, checksum, resultsChecksum };
  }

  async run(text: string): Promise<Rows> {
    if (this.isEmptied) throw postgresError('42P01');
    return text === READ_POSITION ? this.row() : this.missing.map((name) => [name]);
  }

  async together(_begin: string, ...statements: readonly Statement[]): Promise<Rows[]> {
    return statements.map(([text, [epoch]]) => (text === MARK_DIVERGED ? [['on', epoch === String(this.epoch)]] : []));
  }

  renew(): void {
    this.renewed += 1;
  }

  private row(): Rows {
    const { mergedIndex, checksum, resultsChecksum } = this.position;
    return [[this.epoch, mergedIndex, checksum, resultsChecksum, 0, '{}', '{}', '{}', null, 'kv', 1, null]];
  }
}
