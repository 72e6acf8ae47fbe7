/**
 * Switching the machine to another version (T12): the migrations of that version run in the
 * transaction of the `craft.machine` entry, in a savepoint. One that fails is undone with all
 * before it, and the version before stays in force: that is the command's outcome, on every server
 * alike. A fault of the environment is none; the entry is tried again.
 */
import type { MergedCommand } from '../../../shared/engine/port.js';
import { VersionMissingError } from '../../../shared/engine/port.js';
import type { CommandOutcome, MachineVersion } from '../../../shared/engine/state-machine.js';
import { switched, switchOf } from '../../../shared/engine/switch.js';
import type { Machine } from './handler-batch.js';
import { FailedMigrationError, migrateMachine } from './migrate.js';
import { SET_VERSION } from './position.js';
import { isEnvironment, postgresErrorOf } from './sqlstate.js';
import { listTables } from './state-tables.js';
import type { Transaction } from './transaction.js';
import { sourceOf } from './version.js';

/** Most of a statement that a failure tells (characters). */
const STATEMENT_LENGTH_MAX = 200;

/** What a `craft.machine` came to. */
export interface SwitchResult {
  readonly outcome: CommandOutcome;
  /** The version that is in force from here on; undefined when nothing has changed. */
  readonly version?: number;
  readonly error?: unknown;
}

/** @throws VersionMissingError when it is to be switched to a version that `versions` has not. */
export async function switchMachine(
  transaction: Transaction,
  { payload, mergedIndex }: MergedCommand,
  inForce: MachineVersion,
  versions: ReadonlyMap<number, Machine>,
): Promise<SwitchResult> {
  const decided = switchOf(payload, inForce, mergedIndex);
  if ('outcome' in decided) return decided;
  const version = decided.to;
  const machine = versions.get(version);
  if (machine === undefined) throw new VersionMissingError(inForce.name, version);
  const source = sourceOf(machine);
  try {
    await transaction.savepoint(async () => {
      if (source !== undefined) {
        await migrateMachine(transaction, source);
        await listTables(transaction, 'search-path');
      }
      await transaction.run(SET_VERSION, [String(version)]);
    });
    return { outcome: switched({ name: inForce.name, version }), version };
  } catch (error) {
    if (isEnvironment(error)) throw error;
    const message = `version ${inForce.version} stays in force: ${describe(error)}`;
    return { outcome: { ok: false, message, failed: true }, error };
  }
}

/**
 * For the operator: what the database says, which may be in other words on another server, and of
 * which statement.
 */
function describe(error: unknown): string {
  if (!(error instanceof FailedMigrationError)) return error instanceof Error ? error.message : String(error);
  const cause = postgresErrorOf(error);
  const why = cause === undefined ? '' : `: ${cause.message} (SQLSTATE ${cause.code})`;
  const text = error.statement.trim().replaceAll(/\s+/g, ' ');
  const statement = text.length > STATEMENT_LENGTH_MAX ? `${text.slice(0, STATEMENT_LENGTH_MAX)}…` : text;
  return `migration ${error.tag} failed${why}; its statement: ${statement}`;
}
