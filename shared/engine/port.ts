/**
 * StorageEngine: what the applier drives. One engine instance holds the materialised state of one server.
 */
import { type GroupId, type Index, LOG_START, type LogPosition, type ServerId, type Timestamp } from '../raft/entry.js';
import type { CommandOutcome } from './state-machine.js';

/** One command of the merged log, decoded. */
export interface MergedCommand {
  readonly mergedIndex: Index;
  readonly group: GroupId;
  /** Index in the group's log, and the term in which it was appended there. */
  readonly index: Index;
  readonly term: number;
  readonly timestamp: Timestamp;
  readonly name: string;
  /** JSON text. */
  readonly payload: Uint8Array;
  readonly id: string;
  readonly server: ServerId;
  readonly reply: string;
  readonly traceparent: string;
  readonly replyFormat: 'json' | 'protobuf';
}

/** How far an engine is: the last merged index applied, and the running checksum of the merged log there (T4). */
export interface EnginePosition {
  readonly mergedIndex: Index;
  readonly checksum: string;
  readonly timestamp: Timestamp;
  /** Running checksum over the outcomes of all commands up to here; the same on every server. */
  readonly resultsChecksum: string;
  /** For each group the place, in its log, of its last command up to here; LOG_START, or no element, for none (T6, T10). */
  readonly positions: readonly LogPosition[];
}

export interface EngineBatch {
  /** Consecutive; the first one directly after the engine's position. */
  readonly commands: readonly MergedCommand[];
  /** The running checksum after the last command. */
  readonly checksum: string;
}

/** The outcome of a command and where it first took effect: for a duplicate (T8), the place of the original. */
export interface Applied {
  readonly mergedIndex: Index;
  readonly group: GroupId;
  readonly timestamp: Timestamp;
  readonly outcome: CommandOutcome;
  readonly duplicate: boolean;
}

/** The running checksum over the outcomes at a round merged index, which servers compare (T4). */
export interface ResultsCheckpoint {
  readonly mergedIndex: Index;
  readonly resultsChecksum: string;
}

export interface AppliedBatch {
  /** One element per command. */
  readonly applied: readonly Applied[];
  /** One for every multiple of CHECKPOINT_INTERVAL within the batch. */
  readonly checkpoints: readonly ResultsCheckpoint[];
}

/** A consistent state of an engine as bytes (T10). */
export interface EngineSnapshot {
  readonly position: EnginePosition;
  /** Which engine and version of its tables the bytes are of; `restore` refuses any other. */
  readonly format: string;
  /** Can be read once. Abandoning it (`return`) frees what it holds. */
  readonly data: AsyncIterable<Uint8Array>;
}

export interface StorageEngine {
  /** Prepares the schema and takes the fence: every older instance fails with FencedError at its next batch. */
  open(): Promise<EnginePosition>;
  /**
   * Applies a batch in one transaction together with the new position and the results by id; the promise resolves when it is
   * committed. On any rejection but the two below nothing is known to have been applied, and the same batch is to be given
   * again: if the first try did take effect after all, the second one finds that out and returns the same answer.
   * @throws FencedError when another instance has taken over: final.
   * @throws PositionError when the state is not where the batch begins: go on from where it says.
   */
  apply(batch: EngineBatch): Promise<AppliedBatch>;
  /**
   * Runs a query on the stored state, which must hold at least `atLeast` (for each group the index of its last command).
   * @throws CraftError UNKNOWN_COMMAND or INVALID_ARGUMENT; PositionError when the state is behind: a crash of the database has
   * taken back what was applied (T8 makes that safe, T6 must not show it).
   */
  query(name: string, input: unknown, atLeast?: readonly Index[]): Promise<unknown>;
  /** The stored position. @throws PositionError when it is behind `atLeast`. */
  locate(atLeast: readonly Index[]): Promise<EnginePosition>;
  /** The committed state as it is now, while writes go on. At most one at a time; a second call rejects. */
  snapshot(): Promise<EngineSnapshot>;
  /**
   * Replaces the whole state, results by id and position included, in one transaction; nothing has changed when it rejects. `as`: the
   * state counts as that of the position that this gives for the one before, since it goes on in another log; what it throws is thrown.
   * @throws SnapshotFormatError when it is of another engine or version, or damaged; FencedError when another instance has taken over.
   */
  restore(snapshot: EngineSnapshot, as?: (before: EnginePosition) => EnginePosition): Promise<EnginePosition>;
  /** Reads it to its end. @throws SnapshotFormatError when `restore` would not take it; the rows themselves only `restore` looks at. */
  verify(snapshot: EngineSnapshot): Promise<void>;
  close(): Promise<void>;
}

/** Another instance has taken over this engine's state; this one must stop. */
export class FencedError extends Error {
  readonly code = 'FENCED';
  constructor(message: string) {
    super(message);
    this.name = 'FencedError';
  }
}

/** The engine's state is at another position than the one given: its database was restored, or forgot its tail in a crash. */
export class PositionError extends Error {
  readonly code = 'POSITION';
  constructor(
    message: string,
    /** Where the state is now. */
    readonly position: EnginePosition,
  ) {
    super(message);
    this.name = 'PositionError';
  }
}

/** These bytes are not a snapshot that this engine can take over: of another engine or version, cut off, or altered. */
export class SnapshotFormatError extends Error {
  readonly code = 'SNAPSHOT_FORMAT';
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'SnapshotFormatError';
  }
}

/** Gives up what is left of a snapshot; whoever has one does this or reads it to the end. */
export async function abandon({ data }: Pick<EngineSnapshot, 'data'>): Promise<void> {
  await data[Symbol.asyncIterator]().return?.();
}

/** @throws PositionError when `found` is behind `atLeast` in any group. */
export function requirePositions(found: EnginePosition, atLeast: readonly Index[]): void {
  if (atLeast.every((index, group) => (found.positions[group]?.index ?? 0) >= index)) return;
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
export function indexesOf(positions: readonly LogPosition[]): Index[] {
  return positions.map(({ index }) => index);
}
