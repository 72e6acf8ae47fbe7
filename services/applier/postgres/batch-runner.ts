/**
 * Runs one try of a batch. A batch of the built-in machine is one statement. For a user's machine
 * its handlers run, or the version of the machine is switched. When a batch needs another try is up
 * to batch-writer.ts.
 */

import type { EngineBatch, EnginePosition, MergedCommand } from '../../../shared/engine/port.js';
import type { SettledBatch } from '../../../shared/engine/results.js';
import type { StateMachineContract } from '../../../shared/engine/state-machine.js';
import { MACHINE_COMMAND } from '../../../shared/wire/machine.js';
import { RESERVED_PREFIX } from '../../../shared/wire/restore.js';
import { Connection } from './connection.js';
import { applyHandlerBatch, type Execute, executeWith, type Machine, type OnFailure } from './handler-batch.js';
import { isSamePlace } from './known-state.js';
import { type KvSession, planKvBatch, rememberVersions, writeKvBatch } from './kv-batch.js';
import type { KvSender } from './kv-sender.js';
import type { MachineVersions } from './machine-versions.js';
import type { OwnState } from './own-state.js';
import { explainPosition, READ_POSITION, readPosition } from './position.js';
import type { ResultStore } from './result-store.js';
import { type SwitchResult, switchMachine } from './switch.js';

const NO_COMMANDS: StateMachineContract = { name: '', commands: {}, queries: {} };
/** How long one statement of a migration may take (milliseconds). */
const SWITCH_MS_MAX = 3_600_000;

export interface BatchRunnerOptions {
  readonly state: OwnState;
  readonly versions: MachineVersions;
  readonly connection: Connection;
  readonly kvSender: KvSender;
  /** For what needs a session of its own. */
  readonly databaseUrl: string;
  readonly server: string;
  readonly windowUs: number;
  readonly onFailure: OnFailure | undefined;
}

export class BatchRunner {
  constructor(private readonly options: BatchRunnerOptions) {}

  run(batch: EngineBatch, before: EnginePosition, results: ResultStore): Promise<SettledBatch> {
    const [first] = batch.commands;
    if (this.options.versions.isBuiltIn) return this.runKv(batch, before, results);
    if (first?.name === MACHINE_COMMAND) return this.runSwitch(batch, first, before, results);
    return this.runHandlers(batch, before, results);
  }

  private async runKv(batch: EngineBatch, before: EnginePosition, results: ResultStore): Promise<SettledBatch> {
    const { state, connection, kvSender, windowUs } = this.options;
    const { known, epoch } = state;
    const session: KvSession = {
      table: state.prepared.kvTable,
      recent: known.recent,
      results,
      send: (...statements) => kvSender.send(connection, ...statements),
    };
    const plan = await planKvBatch(batch, before, windowUs, session);
    const { after, settled } = known.attempt(batch, plan.settled);
    const place = await writeKvBatch(plan, { place: known.place, epoch, before, after }, session);
    if (place === undefined) {
      const found = readPosition(await connection.run(READ_POSITION, []));
      known.dropAttempt();
      // The try before this one was still under way in the server when it seemed to have failed,
      // and has committed since.
      const isDone = found.epoch === epoch && isSamePlace(found, after);
      if (!isDone) explainPosition(found, epoch, before.mergedIndex);
      known.moveTo(found);
      return settled;
    }
    known.place = place;
    rememberVersions(plan, session.recent);
    return settled;
  }

  private async runHandlers(batch: EngineBatch, before: EnginePosition, results: ResultStore): Promise<SettledBatch> {
    const { versions, state, connection, onFailure = () => undefined } = this.options;
    const machine = (versions.find(state.known.version) ?? this.withoutVersion(batch)) as Machine;
    return applyHandlerBatch(batch, {
      ...this.session(connection, before, results),
      run: executeWith(machine, onFailure),
      onSettled: (settled) => state.known.attempt(batch, settled).after,
    });
  }

  /** The services' own commands need no machine. @throws VersionMissingError for any other. */
  private withoutVersion({ commands }: EngineBatch): StateMachineContract {
    const { versions, state } = this.options;
    const needsNone = commands.every(({ name }) => name.startsWith(RESERVED_PREFIX));
    return needsNone ? NO_COMMANDS : versions.contractOf(state.known.version);
  }

  /** On a session of its own: a migration may leave settings behind, and may take long. */
  private async runSwitch(
    batch: EngineBatch,
    command: MergedCommand,
    before: EnginePosition,
    results: ResultStore,
  ): Promise<SettledBatch> {
    const { state, versions, databaseUrl: url, server, onFailure } = this.options;
    const connection = new Connection({ url, name: `craft switch ${server}`, stuckMsMax: SWITCH_MS_MAX });
    let result: SwitchResult | undefined;
    const run: Execute = async (transaction, [fresh]) => {
      if (fresh === undefined) return [];
      const inForce = { name: versions.name, version: state.known.version };
      result = await switchMachine(transaction, fresh, inForce, versions.machines);
      return [result.outcome];
    };
    const withVersion = (settled: SettledBatch): SettledBatch =>
      result?.version === undefined ? settled : { ...settled, version: result.version };
    const onSettled = (settled: SettledBatch) => state.known.attempt(batch, withVersion(settled)).after;
    try {
      const session = this.session(connection, before, results);
      const settled = withVersion(await applyHandlerBatch(batch, { ...session, run, onSettled }));
      if (settled.version === undefined && result?.error !== undefined) onFailure?.(command, result.error);
      return settled;
    } finally {
      await connection.close();
    }
  }

  private session(connection: Connection, before: EnginePosition, results: ResultStore) {
    const { state, windowUs } = this.options;
    const { epoch, known, prepared } = state;
    const onMoved = (to: string): void => {
      known.place = to;
    };
    return { connection, place: known.place, epoch, before, windowUs, path: prepared.path, results, onMoved };
  }
}
