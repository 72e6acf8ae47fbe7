/**
 * Batches of a user's state machine: one transaction, each command in a savepoint of it.
 *
 * A handler says no by throwing Reject; Postgres says no for it with an error of class 22 or 23,
 * which depends on nothing but the data. Both are recorded as the command's result. A fault of the
 * environment (sqlstate.ts) is no result: the batch is rolled back and tried again, and no entry is
 * skipped. Everything else is a failure of the command: its writes are undone, the failure is its
 * result, and the next command runs.
 */

import { asHandler } from '../../../shared/engine/handler-context.js';
import type { EngineBatch, EnginePosition, MergedCommand } from '../../../shared/engine/port.js';
import { readInput } from '../../../shared/engine/registry.js';
import { originsOf, resultKeysOf, type SettledBatch, settle } from '../../../shared/engine/results.js';
import {
  type BatchCommand,
  type CommandOutcome,
  rejectOf,
  type StateMachine,
} from '../../../shared/engine/state-machine.js';
import { VERIFY_COMMAND, VERIFY_OUTCOME } from '../../../shared/engine/verify.js';
import { InvariantError } from '../../../shared/raft/assert.js';
import type { Connection } from './connection.js';
import { drizzleOf, type PostgresTransaction } from './drizzle.js';
import {
  explainPosition,
  MOVE_PARAMETERS,
  MOVE_POSITION,
  moveParameters,
  READ_POSITION,
  readPosition,
} from './position.js';
import { seededRandom } from './random.js';
import type { ResultStore, Storing } from './result-store.js';
import type { Rows } from './rows.js';
import { BatchSequences, LOCK_STATE, replaceSequences, sequenceParameters, storeSequences } from './sequences.js';
import { inSchemas, NO_TIMEOUTS, NO_TRANSACTION_TIMEOUT, PLAIN_FORMS } from './settings.js';
import { describeFailure, describeRejection, isDeterministic, isEnvironment } from './sqlstate.js';
import { listTables, requireTables } from './state-tables.js';
import type { Transaction } from './transaction.js';

/**
 * Whatever role and database preset. Deferred constraints are checked by the statement that breaks
 * them: at commit it would be the whole batch's failure.
 */
const BEGIN = `begin isolation level read committed; set local synchronous_commit = off; ${NO_TIMEOUTS}; ${NO_TRANSACTION_TIMEOUT}; ${PLAIN_FORMS};
  select set_config('session_replication_role', 'origin', true) where current_setting('session_replication_role') <> 'origin';
  set constraints all immediate`;

/** With the part that stores results, and that which stores `hasMoved` sequences. */
function writeResults(storing: Storing | undefined, hasMoved: boolean): string {
  let next = MOVE_PARAMETERS + 1;
  let text = `with moved as (${MOVE_POSITION})`;
  if (storing !== undefined) {
    text += `, stored as (${storing.text('moved', next)})`;
    next += storing.parameterCount;
  }
  if (hasMoved) text += `, numbered as (${storeSequences('moved', next)})`;
  return `${text} select place from moved`;
}

export type Machine = StateMachine<PostgresTransaction>;

/**
 * Hears of a command that failed, with what its handler threw. A batch that is tried again says so
 * again.
 */
export type OnFailure = (command: MergedCommand, error: unknown) => void;

/** Where and from what a batch is applied. */
export interface HandlerSession {
  readonly connection: Connection;
  readonly run: Execute;
  /** Where the row of the position was last. */
  readonly place: string;
  readonly epoch: number;
  readonly before: EnginePosition;
  readonly windowUs: number;
  /** The state's schemas, as SQL has them. */
  readonly path: string;
  readonly results: ResultStore;
  /** Hears the outcomes before they are committed, and gives the position that they lead to. */
  readonly onSettled: (settled: SettledBatch) => EnginePosition;
  /** Hears where the row of the position is, once the batch is written. */
  readonly onMoved: (place: string) => void;
}

/** Executes the commands that are no duplicates; gives an outcome for each. */
export type Execute = (
  transaction: Transaction,
  commands: readonly MergedCommand[],
  sequences: BatchSequences,
) => Promise<CommandOutcome[]>;

/** Executes them with the handlers of a machine. */
export function executeWith(machine: Machine, onFailure: OnFailure): Execute {
  return (transaction, commands, sequences) => execute(transaction, machine, commands, sequences, onFailure);
}

export async function applyHandlerBatch(
  { commands }: EngineBatch,
  { connection, run, place, epoch, before, windowUs, path, results, onSettled, onMoved }: HandlerSession,
): Promise<SettledBatch> {
  return connection.transaction(`${BEGIN}; ${inSchemas(path)}`, async (transaction) => {
    const locked = await transaction.run(LOCK_STATE, [place, String(epoch), String(before.mergedIndex)]);
    // No row: it was changed, and so moved, while its lock was waited for.
    const found = readPosition(locked.length > 0 ? locked : await transaction.run(READ_POSITION, []));
    if (locked.length === 0 || found.epoch !== epoch || found.mergedIndex !== before.mergedIndex) {
      explainPosition(found, epoch, before.mergedIndex);
    }
    const sequences = BatchSequences.of(locked);
    const keys = resultKeysOf(commands);
    const lookUp = results.lookUp(keys, commands[0]?.timestamp ?? before.timestamp);
    const answers: Rows[] = [];
    for (const [text, parameters] of lookUp.statements) answers.push(await transaction.run(text, parameters));
    const stored = lookUp.read(answers);
    const origins = originsOf(commands, windowUs, (key) => stored.get(key), keys);
    const fresh = commands.filter((_, at) => origins[at] === 'new');
    const outcomes = await run(transaction, fresh, sequences);
    if (transaction.missedTable) await requireTables(transaction);
    if (transaction.mayHaveChangedTables) {
      await listTables(transaction, 'search-path');
      await replaceSequences(transaction, sequences.all);
    }
    const settled = settle(commands, origins, outcomes, before.resultsChecksum, keys);
    const after = onSettled(settled);
    const storing = results.storing(settled);
    const { moved } = sequences;
    const [written] = await transaction.run(writeResults(storing, moved.length > 0), [
      ...moveParameters({ place, epoch, before, after }),
      ...(storing?.parameters ?? []),
      ...(moved.length === 0 ? [] : sequenceParameters(moved)),
    ]);
    // The commands themselves have changed the position.
    if (written === undefined)
      explainPosition(readPosition(await transaction.run(READ_POSITION, [])), epoch, before.mergedIndex);
    onMoved(String(written[0]));
    return settled;
  });
}

async function execute(
  transaction: Transaction,
  machine: Machine,
  commands: readonly MergedCommand[],
  sequences: BatchSequences,
  onFailure: OnFailure,
): Promise<CommandOutcome[]> {
  const tx = drizzleOf(transaction);
  const read = commands.map((command) => readCommand(machine, command));
  const together = await executeTogether(transaction, tx, machine, read, sequences);
  if (together !== undefined) return together;
  const outcomes: CommandOutcome[] = [];
  for (const [at, command] of read.entries()) {
    if ('ok' in command) {
      outcomes.push(command);
      continue;
    }
    const fail = (error: unknown) => {
      const given = commands[at];
      if (given !== undefined) onFailure(given, error);
    };
    outcomes.push(await handle(transaction, tx, machine, command, sequences, fail));
  }
  return outcomes;
}

/**
 * By the machine's `applyBatch`; undefined when it has none, or when it failed: then each command
 * is executed by itself.
 */
async function executeTogether(
  transaction: Transaction,
  tx: PostgresTransaction,
  machine: Machine,
  read: readonly (BatchCommand | CommandOutcome)[],
  sequences: BatchSequences,
): Promise<CommandOutcome[] | undefined> {
  const { applyBatch } = machine;
  if (applyBatch === undefined) return undefined;
  const valid = read.filter((command): command is BatchCommand => !('ok' in command));
  let outcomes: CommandOutcome[] = [];
  try {
    if (valid.length > 0)
      outcomes = await transaction.savepoint(async () => {
        const given = checked(await asHandler('applyBatch', () => applyBatch(tx, valid)), valid);
        await sequences.beforeReading(transaction);
        return given;
      }, sequences);
  } catch (error) {
    if (isEnvironment(error)) throw error;
    return undefined;
  }
  let next = 0;
  return read.map((command) => {
    const outcome = 'ok' in command ? command : outcomes[next++];
    if (outcome === undefined) throw new InvariantError('fewer outcomes than commands, although they were counted');
    return outcome;
  });
}

/**
 * What no handler is called for has its outcome already: the services' own, and an input that got
 * past another version's validation.
 */
function readCommand(machine: Machine, command: MergedCommand): BatchCommand | CommandOutcome {
  const { name, payload, mergedIndex: index, timestamp, id } = command;
  if (name === VERIFY_COMMAND) return VERIFY_OUTCOME;
  const read = readInput(machine, name, payload);
  if ('refused' in read) return { ok: false, message: read.refused };
  return { name, input: read.input, context: { index, timestamp, id, random: seededRandom(index, timestamp) } };
}

/** @throws TypeError when there is not one outcome for each command. */
function checked(outcomes: CommandOutcome[], commands: readonly BatchCommand[]): CommandOutcome[] {
  // A hole is found, too: an array that was made with a length.
  const given = Array.from(outcomes).filter((outcome) => outcome !== undefined).length;
  if (given === outcomes.length && given === commands.length) return outcomes;
  throw new TypeError(`applyBatch gave ${given} outcomes for ${commands.length} commands`);
}

async function handle(
  transaction: Transaction,
  tx: PostgresTransaction,
  machine: Machine,
  { name, input, context }: BatchCommand,
  sequences: BatchSequences,
  onFailure: (error: unknown) => void,
): Promise<CommandOutcome> {
  const definition = machine.commands[name];
  if (definition === undefined) throw new InvariantError(`no handler of ${name}`);
  try {
    // A result that is no JSON is found out inside the savepoint, so that its writes are undone.
    const json = await transaction.savepoint(async () => {
      const text = jsonOf(await asHandler(name, () => definition.handle(tx, input, context)));
      await sequences.beforeReading(transaction);
      return text;
    }, sequences);
    return { ok: true, json };
  } catch (error) {
    if (isEnvironment(error)) throw error;
    // A table that was dropped by hand is damage of this server, and no outcome.
    if (transaction.missedTable) await requireTables(transaction);
    const reject = rejectOf(error);
    if (reject !== undefined) return { ok: false, message: reject.message };
    if (isDeterministic(error)) return { ok: false, message: describeRejection(error) };
    onFailure(error);
    return { ok: false, message: describeFailure('command', error), failed: true };
  }
}

/** @throws TypeError for what is no JSON value: a BigInt, a function, a circle. */
function jsonOf(result: unknown): string {
  const json = JSON.stringify(result ?? null);
  if (json === undefined) throw new TypeError(`the result is a ${typeof result}, which is no JSON value`);
  return json;
}
