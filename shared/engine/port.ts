/**
 * StorageEngine: what the applier drives. One engine instance holds the materialised state of one
 * server.
 */

import { NamedError } from '../errors.js';
import {
  type GroupId,
  LOG_START,
  type LogIndex,
  type LogPosition,
  type MergedIndex,
  type Timestamp,
} from '../raft/entry.js';
import type { CommandFields } from '../wire/command.js';
import type { CommandOutcome, MachineVersion } from './state-machine.js';
import { FIRST_VERSION } from './switch.js';

/** One command of the merged log, decoded. */
export interface MergedCommand extends CommandFields, LogPosition {
  readonly mergedIndex: MergedIndex;
  readonly group: GroupId;
}

/**
 * Something that was sent to the database, and when (microseconds since the Unix epoch). For
 * tracing.
 */
export interface DatabaseCall {
  /** SQL, with placeholders where it has parameters. */
  readonly text: string;
  readonly startUs: number;
  readonly endUs: number;
  /** SQLSTATE, or the code of the error; absent when all went well. */
  readonly error?: string;
}
export type OnDatabaseCall = (call: DatabaseCall) => void;

/**
 * How far an engine is: the last merged index applied, and the running checksum of the merged log
 * there (T4).
 */
export interface EnginePosition {
  readonly mergedIndex: MergedIndex;
  readonly checksum: string;
  readonly timestamp: Timestamp;
  /** Running checksum over the outcomes of all commands up to here; the same on every server. */
  readonly resultsChecksum: string;
  /**
   * For each group the place, in its log, of its last command up to here; LOG_START, or no element,
   * for none (T6, T10).
   */
  readonly positions: readonly LogPosition[];
  /**
   * The version of the state machine that executes what comes next (T12); absent for the first one.
   */
  readonly version?: number | undefined;
}

/** The version in force at a position. */
export function versionAt({ version = FIRST_VERSION }: Pick<EnginePosition, 'version'>): number {
  return version;
}

/** The same as a field of a position. */
export function versionField(version: number): Pick<EnginePosition, 'version'> {
  return version === FIRST_VERSION ? {} : { version };
}

export interface EngineBatch {
  /** Consecutive; the first one directly after the engine's position. */
  readonly commands: readonly MergedCommand[];
  /** The running checksum after the last command. */
  readonly checksum: string;
}

/**
 * The outcome of a command and where it first took effect: for a duplicate (T8), the place of the
 * original.
 */
export interface Applied extends KeptOutcome {
  readonly group: GroupId;
  readonly duplicate: boolean;
}

/** The running checksum over the outcomes at a round merged index, which servers compare (T4). */
export interface ResultsCheckpoint {
  readonly mergedIndex: MergedIndex;
  readonly resultsChecksum: string;
}

export interface AppliedBatch {
  /** One element per command. */
  readonly applied: readonly Applied[];
  /** One for every multiple of CHECKPOINT_INTERVAL within the batch. */
  readonly checkpoints: readonly ResultsCheckpoint[];
  /** The running checksum over the outcomes after the batch. */
  readonly resultsChecksum: string;
  /** The version in force after the batch, where that is another one than before (T12). */
  readonly version?: number;
}

/** A consistent state of an engine as bytes (T10). */
export interface EngineSnapshot {
  readonly position: EnginePosition;
  /** Which engine and version of its tables the bytes are of; `restore` refuses any other. */
  readonly format: string;
  /**
   * The state machine whose state it is; absent from snapshots that were taken before states said
   * so.
   */
  readonly machine?: string | undefined;
  /** Can be read once. Abandoning it (`return`) frees what it holds. */
  readonly data: AsyncIterable<Uint8Array>;
}

/**
 * An outcome that is kept. The timestamp tells a command of this log from one of a log that a file
 * was restored from.
 */
interface KeptOutcome {
  readonly mergedIndex: MergedIndex;
  readonly timestamp: Timestamp;
  readonly outcome: CommandOutcome;
}

export interface KeptOutcomes {
  /** How far the state was before it was looked at: outcomes beyond may be missing. */
  readonly appliedIndex: MergedIndex;
  readonly outcomes: readonly KeptOutcome[];
}

/** The rows of one table at one position. */
export interface TableChecksum {
  /** With its schema, where that is not the default one. */
  readonly name: string;
  readonly rows: number;
  /** Over the rows in any order: 16 hexadecimal digits. */
  readonly checksum: string;
}

/** A look at all rows of the machine's tables, as of one position. */
export interface RowsCheck {
  readonly position: EnginePosition;
  /**
   * In the byte order of their names. Rejects when they could not be computed: that says nothing
   * about the rows.
   */
  readonly tables: Promise<readonly TableChecksum[]>;
}

/**
 * Whatever works on the state may also throw one of three errors. FencedError is final.
 * DamagedError ends only with `restore` or an emptied database. After ReplacedError, `open` may be
 * called again.
 */
export interface StorageEngine {
  /**
   * Why this state counts as different from the other servers'; known once it is open, and kept
   * with the state until `restore`.
   */
  readonly divergence: string | undefined;
  /**
   * The state machine whose state this is, and the version that executes what comes next; known
   * once it is open.
   */
  readonly machine: MachineVersion;
  /**
   * Prepares the schema and takes the fence: every older instance fails with FencedError at its
   * next batch. May be called again, as after ReplacedError: it gives the position of what is there
   * then.
   * @throws NondeterministicSchemaError when the machine's tables give other values on every server
   *   by themselves; OtherMachineError or OtherClusterError when this is the state of another
   *   machine or cluster.
   */
  open(): Promise<EnginePosition>;
  /**
   * Applies a batch in one transaction together with the new position and the results by id; the
   * promise resolves when it is committed. On any rejection but those below nothing is known to
   * have been applied, and the same batch is to be given again. If the first try did take effect
   * after all, the second one finds that out and returns the same answer. A `craft.machine` is a
   * batch of its own: the migrations of its version run in the same transaction.
   * @throws FencedError when another instance has taken over: final.
   * @throws VersionMissingError when the version that is to execute the batch, or that it switches
   *   to, is not loaded.
   * @throws ReplacedError when the database was emptied or replaced: open it again.
   * @throws DamagedError when a part of the state is missing: only `restore`, or an emptied
   *   database, helps. `onCall` hears of what is sent to the database meanwhile; without it nothing
   *   is measured.
   * @throws PositionError when the state is not where the batch begins: go on from where it says.
   */
  apply(batch: EngineBatch, onCall?: OnDatabaseCall): Promise<AppliedBatch>;
  /**
   * Runs a query on the stored state, which must hold at least `atLeast` (for each group the index
   * of its last command). `onCall` as for `apply`.
   * @throws CraftError UNKNOWN_COMMAND or INVALID_ARGUMENT; PositionError when the state is behind.
   *   Then a crash of the database has taken back what was applied (T8 makes that safe, T6 must not
   *   show it).
   */
  query(name: string, input: unknown, atLeast?: readonly LogIndex[], onCall?: OnDatabaseCall): Promise<unknown>;
  /**
   * The stored position. @throws PositionError when it is behind `atLeast`; DamagedError also when
   * no batch and no query has met it yet.
   */
  locate(atLeast: readonly LogIndex[]): Promise<EnginePosition>;
  /**
   * What became of the commands from merged index `from` to `to`, as far as it is kept: that of
   * commands with an id, for the window of duplicates. One that repeated an id has no outcome of
   * its own.
   */
  outcomes(from: MergedIndex, to: MergedIndex): Promise<KeptOutcomes>;
  /**
   * The committed state as it is now, while writes go on. At most one at a time; a second call
   * rejects.
   */
  snapshot(): Promise<EngineSnapshot>;
  /**
   * Replaces the whole state, results by id and position included, in one transaction; nothing has
   * changed when it rejects. `as`: the state counts as that of the position that this gives for the
   * one before, since it goes on in another log; what it throws is thrown. The version that it was
   * taken with is in force then; tables that are missing, or of another version, are made anew by
   * its migrations. A state that had diverged, or was damaged, is whole again.
   * @throws SnapshotFormatError when it is of another engine or machine, or damaged;
   *   VersionMissingError; FencedError when another instance has taken over.
   */
  restore(snapshot: EngineSnapshot, as?: (before: EnginePosition) => EnginePosition): Promise<EnginePosition>;
  /**
   * Keeps in the state that it differs from the other servers', and why. @throws FencedError when
   * another instance has taken over.
   */
  markDiverged(reason: string): Promise<void>;
  /**
   * Resolves when the state to be looked at is fixed: batches may be applied while the checksums
   * are computed. At most one at a time, until `tables` settles; a second call rejects. `restore`
   * and `close` end it.
   */
  checkRows(): Promise<RowsCheck>;
  /**
   * Reads it to its end.
   * @throws SnapshotFormatError, VersionMissingError when `restore` would not take it; the rows
   *   themselves only `restore` looks at.
   */
  verify(snapshot: EngineSnapshot): Promise<void>;
  /**
   * What the work under way waits for, where the engine can tell: a session of the database that
   * holds a lock.
   */
  heldBy?(): Promise<{ readonly pid: number; readonly what: string } | undefined>;
  close(): Promise<void>;
}

/** Another instance has taken over this engine's state; this one must stop. */
export class FencedError extends NamedError {
  readonly code = 'FENCED';
}

/**
 * The database was emptied or replaced while the engine was at work. `open` takes over what is
 * there now.
 */
export class ReplacedError extends NamedError {
  readonly code = 'REPLACED';
}

/**
 * A part of this server's state is missing. Final for this state, until `restore` or until the
 * database has been emptied.
 */
export class DamagedError extends NamedError {
  readonly code = 'DAMAGED';
}

/**
 * The tables of a state machine would not be the same on every server: a default reads a clock,
 * say. Final until that is mended.
 */
export class NondeterministicSchemaError extends NamedError {
  readonly code = 'NONDETERMINISTIC_SCHEMA';
}

/**
 * The state is that of another state machine. Final until the right machine, or another database,
 * is given.
 */
export class OtherMachineError extends NamedError {
  readonly code = 'OTHER_MACHINE';
  constructor(found: string, given: string) {
    super(
      `this is the state of the state machine ${JSON.stringify(found)}, and CRAFT_STATE_MACHINE has ${JSON.stringify(given)}: ` +
        'give the machine that the cluster runs, or another database',
    );
  }
}

/**
 * The version of the state machine that is needed is not loaded here. Final until the server is
 * started with it, or `restore` leads past.
 */
export class VersionMissingError extends NamedError {
  readonly code = 'VERSION_MISSING';
  constructor(name: string, version: number) {
    super(
      `version ${version} of the state machine ${JSON.stringify(name)} is needed, and this server has not loaded it: ` +
        'start it with a module that has this version',
    );
  }
}

/**
 * The engine's state is at another position than the one given: its database was restored, or
 * forgot its tail in a crash.
 */
export class PositionError extends NamedError {
  readonly code = 'POSITION';
  constructor(
    message: string,
    /** Where the state is now. */
    readonly position: EnginePosition,
  ) {
    super(message);
  }
}

/**
 * These bytes are not a snapshot that this engine can take over: of another engine or version, cut
 * off, or altered.
 */
export class SnapshotFormatError extends NamedError {
  readonly code = 'SNAPSHOT_FORMAT';
}

/** Gives up what is left of a snapshot: each one is given up, or read to its end. */
export async function abandon({ data }: Pick<EngineSnapshot, 'data'>): Promise<void> {
  await data[Symbol.asyncIterator]().return?.();
}

/**
 * The position of a state in the log of one group. An engine has none for the groups that it has
 * had no command of: there it is before the first entry.
 */
export function positionIn(positions: readonly LogPosition[], group: GroupId): LogPosition {
  return positions[group] ?? LOG_START;
}

/** @throws PositionError when `found` is behind `atLeast` in any group. */
export function requirePositions(found: EnginePosition, atLeast: readonly LogIndex[]): void {
  if (atLeast.every((index, group) => positionIn(found.positions, group).index >= index)) return;
  throw new PositionError(`the state has gone back to merged index ${found.mergedIndex}`, found);
}

/** The positions after `commands`, given those before. */
export function positionsAfter(
  before: readonly LogPosition[],
  commands: readonly MergedCommand[],
): readonly LogPosition[] {
  const positions = [...before];
  for (const { group, index, term, timestamp } of commands) {
    while (positions.length <= group) positions.push(LOG_START);
    positions[group] = { index, term, timestamp };
  }
  return positions;
}

/** The indexes of positions: what a read barrier compares with. */
export function indexesOf(positions: readonly LogPosition[]): LogIndex[] {
  return positions.map(({ index }) => index);
}
