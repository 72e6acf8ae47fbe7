/**
 * Batches of a user's state machine: one transaction, each command in a savepoint of it.
 *
 * A handler says no by throwing Reject; Postgres says no for it with an error of class 22 or 23, which depends on nothing but the
 * data. Both are recorded as the command's result. Everything else is nobody's answer: the batch is rolled
 * back and tried again, and no entry is ever skipped.
 */
import type { EngineBatch, EnginePosition, MergedCommand } from '../../../shared/engine/port.js';
import { readInput } from '../../../shared/engine/registry.js';
import { originsOf, type SettledBatch, settle } from '../../../shared/engine/results.js';
import {
  type BatchCommand,
  type CommandOutcome,
  Reject,
  type StateMachine,
} from '../../../shared/engine/state-machine.js';
import { textArray } from './array.js';
import type { Connection } from './connection.js';
import { drizzleOf, type PostgresTransaction } from './drizzle.js';
import {
  explainPosition,
  LOCK_POSITION,
  MOVE_PARAMETERS,
  MOVE_POSITION,
  moveParameters,
  readPosition,
} from './position.js';
import { seededRandom } from './random.js';
import { LOOK_UP_RESULTS, readResults, resultKeys, resultParameters, storeResults } from './results.js';
import { describeRejection, isDeterministic } from './sqlstate.js';
import type { Transaction } from './transaction.js';

/** Deferred constraints are checked by the statement that breaks them: at commit it would be the whole batch's failure. */
const BEGIN = 'begin; set local synchronous_commit = off; set constraints all immediate';

const WRITE_RESULTS = `with moved as (${MOVE_POSITION}), stored as (${storeResults('moved', MOVE_PARAMETERS + 1)})
  select exists (select from moved)`;

export type Machine = StateMachine<PostgresTransaction>;

/** `onSettled` hears the outcomes before they are committed, with the position that they lead to. */
export async function applyHandlerBatch(
  connection: Connection,
  machine: Machine,
  { commands }: EngineBatch,
  epoch: number,
  before: EnginePosition,
  windowUs: number,
  onSettled: (settled: SettledBatch) => EnginePosition,
): Promise<SettledBatch> {
  return connection.transaction(BEGIN, async (transaction) => {
    const found = readPosition(await transaction.run(LOCK_POSITION, []));
    if (found.epoch !== epoch || found.mergedIndex !== before.mergedIndex) {
      explainPosition(found, epoch, before.mergedIndex);
    }
    const keys = resultKeys(commands);
    const stored = readResults(keys.length === 0 ? [] : await transaction.run(LOOK_UP_RESULTS, [textArray(keys)]));
    const origins = originsOf(commands, windowUs, (key) => stored.get(key));
    const fresh = commands.filter((_, at) => origins[at] === 'new');
    const outcomes = await execute(transaction, machine, fresh);
    const settled = settle(commands, origins, outcomes, before.resultsChecksum);
    const after = onSettled(settled);
    await transaction.run(WRITE_RESULTS, [
      ...moveParameters(epoch, before.mergedIndex, after),
      ...resultParameters(settled.results),
    ]);
    return settled;
  });
}

async function execute(
  transaction: Transaction,
  machine: Machine,
  commands: readonly MergedCommand[],
): Promise<CommandOutcome[]> {
  const tx = drizzleOf(transaction);
  const read = commands.map((command) => readCommand(machine, command));
  if (machine.applyBatch !== undefined) {
    const valid = read.filter((command) => typeof command !== 'string');
    const outcomes = valid.length === 0 ? [] : await machine.applyBatch(tx, valid);
    if (outcomes.length !== valid.length) {
      throw new Error(`applyBatch of ${machine.name} gave ${outcomes.length} outcomes for ${valid.length} commands`);
    }
    let next = 0;
    return read.map((command) => {
      const outcome = typeof command === 'string' ? { ok: false as const, message: command } : outcomes[next++];
      if (outcome === undefined) throw new Error('applyBatch gave too few outcomes');
      return outcome;
    });
  }
  const outcomes: CommandOutcome[] = [];
  for (const command of read) {
    outcomes.push(
      typeof command === 'string' ? { ok: false, message: command } : await handle(transaction, tx, machine, command),
    );
  }
  return outcomes;
}

/** A string says why the input is refused: the entry got past another version's validation. */
function readCommand(machine: Machine, command: MergedCommand): BatchCommand | string {
  const { name, payload, mergedIndex: index, timestamp, id } = command;
  const read = readInput(machine, name, payload);
  if ('refused' in read) return read.refused;
  return { name, input: read.input, context: { index, timestamp, id, random: seededRandom(index, timestamp) } };
}

async function handle(
  transaction: Transaction,
  tx: PostgresTransaction,
  machine: Machine,
  { name, input, context }: BatchCommand,
): Promise<CommandOutcome> {
  const definition = machine.commands[name];
  if (definition === undefined) throw new Error(`no handler of ${name}`);
  try {
    const result = await transaction.savepoint(() => definition.handle(tx, input, context));
    return { ok: true, json: JSON.stringify(result ?? null) };
  } catch (error) {
    if (error instanceof Reject) return { ok: false, message: error.message };
    if (isDeterministic(error)) return { ok: false, message: describeRejection(error) };
    throw error;
  }
}
