/**
 * Writes batches exactly once (T8). Each batch begins where the state is. When the outcome of a try
 * is unknown, it is looked up before the next try.
 */

import {
  type AppliedBatch,
  type EngineBatch,
  type EnginePosition,
  type OnDatabaseCall,
  PositionError,
} from '../../../shared/engine/port.js';
import type { BatchRunner } from './batch-runner.js';
import type { Connection } from './connection.js';
import type { OwnState } from './own-state.js';
import { explainPosition, READ_POSITION, readPosition } from './position.js';
import type { Pruner } from './pruner.js';
import { ResultStore } from './result-store.js';
import type { Statement } from './rows.js';
import { BEGIN_PLAIN } from './settings.js';
import { isReadOnly } from './sqlstate.js';

/** Failed tries after which the session is given up. */
const RENEW_EVERY = 3;

export interface BatchWriterOptions {
  readonly state: OwnState;
  readonly connection: Pick<Connection, 'run' | 'together' | 'renew' | 'onCall'>;
  readonly runner: Pick<BatchRunner, 'run'>;
  readonly pruner: Pick<Pruner, 'prune'>;
  readonly windowUs: number;
  /** How many ids of the window are remembered, unless the default. */
  readonly idsMax: number | undefined;
}

export class BatchWriter {
  /** Tries that failed since the last one that did not. */
  private failedTries = 0;

  constructor(private readonly options: BatchWriterOptions) {}

  async write(batch: EngineBatch, onCall?: OnDatabaseCall): Promise<AppliedBatch> {
    const { connection } = this.options;
    connection.onCall = onCall;
    try {
      return await this.writeOnce(batch);
    } finally {
      connection.onCall = undefined;
    }
  }

  private async writeOnce(batch: EngineBatch): Promise<AppliedBatch> {
    const { state, runner, pruner } = this.options;
    const { known, prepared } = state;
    const before = state.requireOpen();
    const first = batch.commands[0];
    if (first === undefined) return { applied: [], checkpoints: [], resultsChecksum: before.resultsChecksum };
    if (prepared.damage !== undefined) throw await state.explain(prepared.damage);
    const repeated = await this.settleUncertain(batch);
    if (repeated !== undefined) return repeated;
    const from = known.position ?? before;
    if (first.mergedIndex !== from.mergedIndex + 1) {
      // What was applied may have been forgotten in a crash: the caller knows more than this engine
      // then.
      const found = await this.findPosition();
      if (first.mergedIndex !== found.mergedIndex + 1) {
        const message = `the state is at merged index ${found.mergedIndex}, given ${first.mergedIndex}`;
        throw new PositionError(message, found);
      }
      return this.writeOnce(batch);
    }
    try {
      const results = known.results ?? (await this.loadResults(from));
      const settled = await runner.run(batch, from, results);
      known.confirm();
      this.failedTries = 0;
      results.stored();
      if (known.position !== undefined) pruner.prune(results, known.position, state.epoch);
      return settled;
    } catch (error) {
      this.maybeRenew(error);
      throw await state.explain(error);
    }
  }

  /** Those of the state at `position`; kept only if the state is there when they are read. */
  async loadResults(position: EnginePosition): Promise<ResultStore> {
    const { state, connection, windowUs, idsMax } = this.options;
    const send = (...statements: readonly Statement[]) => connection.together(BEGIN_PLAIN, ...statements);
    const results = await ResultStore.load(send, position.timestamp, windowUs, idsMax);
    state.known.loaded(results, position);
    return results;
  }

  /**
   * The answer of the batch when the try before, whose outcome is unknown, turns out to have been
   * committed.
   */
  private async settleUncertain({ commands, checksum }: EngineBatch): Promise<AppliedBatch | undefined> {
    const { known } = this.options.state;
    const attempt = known.uncertain;
    if (attempt === undefined) return undefined;
    const found = await this.findPosition();
    known.dropAttempt();
    const last = commands[commands.length - 1];
    const isSame = attempt.after.mergedIndex === last?.mergedIndex && attempt.after.checksum === checksum;
    const isThere = found.mergedIndex === attempt.after.mergedIndex && found.checksum === attempt.after.checksum;
    return isSame && isThere ? attempt.settled : undefined;
  }

  /** The stored position, which is this engine's from now on. @throws FencedError, ReplacedError */
  private async findPosition(): Promise<EnginePosition> {
    const { state, connection } = this.options;
    const found = readPosition(await state.explained(() => connection.run(READ_POSITION, [])));
    if (found.epoch !== state.epoch) explainPosition(found, state.epoch, found.mergedIndex);
    return state.known.moveTo(found);
  }

  /**
   * A session that may only read, or fails again and again, is of no use: another one may meet
   * other settings, or another server.
   */
  private maybeRenew(error: unknown): void {
    this.failedTries += 1;
    if (!isReadOnly(error) && this.failedTries % RENEW_EVERY !== 0) return;
    this.options.connection.renew();
  }
}
