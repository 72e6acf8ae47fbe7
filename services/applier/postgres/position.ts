/** The one row of craft.position: the fence and how far the state is. */
import {
  type EnginePosition,
  FencedError,
  PositionError,
  ReplacedError,
  versionField,
} from '../../../shared/engine/port.js';
import { EMPTY_RESULTS_CHECKSUM } from '../../../shared/engine/results-checksum.js';
import type { MachineVersion } from '../../../shared/engine/state-machine.js';
import { FIRST_VERSION } from '../../../shared/engine/switch.js';
import { EMPTY_CHECKSUM } from '../../../shared/merge/checksum.js';
import { integerArray, integersOf } from '../../../shared/postgres/array.js';
import { LOG_START, type LogPosition } from '../../../shared/raft/entry.js';
import type { Rows } from './rows.js';

const COLUMNS =
  'epoch, merged_index, checksum, results_checksum, "timestamp", positions::text, terms::text, timestamps::text, divergence, machine, version, cluster';
/** How many there are. */
export const POSITION_COLUMNS = 12;

/** The row of a state that no engine has opened yet. */
export const CREATE_POSITION = `insert into craft.position
    (id, merged_index, checksum, results_checksum, "timestamp", positions, terms, timestamps, epoch, server)
  values (1, 0, '${EMPTY_CHECKSUM}', '${EMPTY_RESULTS_CHECKSUM}', 0, '{}', '{}', '{}', 0, '')
  on conflict (id) do nothing`;

/** Takes the fence: waits for a batch that is being written, and no older epoch writes after it. */
export const TAKE_FENCE = `update craft.position set epoch = epoch + 1, server = $1 where id = 1 returning ${COLUMNS}`;

/** No place: the row is looked for. */
export const UNKNOWN_PLACE = '(0,0)';

/**
 * The row, if it is where parameter $n says, or else wherever it is. Each move leaves an old
 * version behind, which stays for as long as a transaction that may see it. A look for the last
 * version meets all of these; a look at its place (ctid) meets none. When the row is changed while
 * its lock is waited for, it is found at neither: then the position says why.
 */
const isAtPlace = (n: number): string => `ctid = coalesce(
    (select ctid from craft.position where ctid = $${n}::tid), (select ctid from craft.position where id = 1))`;

export const READ_POSITION = `select ${COLUMNS} from craft.position where id = 1`;
export const LOCK_POSITION = `${READ_POSITION} for update`;
/** $1: where it was last. */
export const LOCK_POSITION_AT = `select ${COLUMNS} from craft.position where ${isAtPlace(1)} for update`;

/**
 * Locks on the table, before the transaction's first look at anything. A reader of several tables
 * shares; a writer that replaces them all excludes all others (a table that was truncated is empty
 * to a transaction that began before).
 */
export const SHARE_STATE = 'lock table craft.position in access share mode';
export const EXCLUDE_ALL = 'lock table craft.position in access exclusive mode';

/**
 * $1 epoch, $2 why; durable, whatever the batches are. Marks nothing when another one has taken
 * over.
 */
export const MARK_DIVERGED = `with marked as (
    update craft.position set divergence = $2 where id = 1 and epoch = $1::bigint returning 1
  ) select set_config('synchronous_commit', 'on', true), exists (select from marked)`;

/**
 * $1 .. $7 as from $4 on of MOVE_POSITION: for who holds the lock and has compared the epoch. Such
 * a state is that of the others.
 */
export const SET_POSITION = `update craft.position
  set divergence = null, merged_index = $1::bigint, checksum = $2, results_checksum = $3, "timestamp" = $4::bigint,
    positions = $5::bigint[], terms = $6::bigint[], timestamps = $7::bigint[]
  where id = 1`;

/** Parameters of MOVE_POSITION; those of statements around it come after. */
export const MOVE_PARAMETERS = 10;

/**
 * $1 where the row was last, $2 epoch, $3 merged index before; $4 .. $10 the position after.
 * Returns where the row is then (`place`). Moves nothing when epoch or merged index has changed.
 */
export const MOVE_POSITION = `update craft.position
  set merged_index = $4::bigint, checksum = $5, results_checksum = $6, "timestamp" = $7::bigint,
    positions = $8::bigint[], terms = $9::bigint[], timestamps = $10::bigint[]
  where ${isAtPlace(1)} and epoch = $2::bigint and merged_index = $3::bigint returning ctid::text as place`;

/**
 * $1 name, $2 cluster or ''. A state that nothing was applied to may become that of another
 * machine; every log begins with the first version (T12).
 */
export const KEEP_OWNERS = `update craft.position
  set machine = case when merged_index = 0 then $1 else coalesce(machine, $1) end, version = coalesce(version, ${FIRST_VERSION}),
    cluster = coalesce(cluster, nullif($2, ''))
  where id = 1 returning ${COLUMNS}`;

/** $1 version: in force for what comes next. For who has the position to itself. */
export const SET_VERSION = 'update craft.position set version = $1::integer where id = 1';

export interface FencedPosition extends EnginePosition {
  readonly epoch: number;
  readonly divergence: string | undefined;
  /** In force; undefined before a machine has opened the state. */
  readonly machine: MachineVersion | undefined;
  /** Whose merged log it is; undefined before a cluster has opened the state. */
  readonly cluster: string | undefined;
}

/** @throws ReplacedError when the row is gone: this is not the database that the engine opened. */
export function readPosition(rows: Rows): FencedPosition {
  const [row] = rows;
  if (row === undefined) throw new ReplacedError('the position in craft.position is gone: the database was emptied');
  const [epoch, mergedIndex, checksum, resultsChecksum, timestamp, positions, terms, timestamps, ...others] = row;
  const [divergence, name, version, cluster] = others;
  return {
    epoch: Number(epoch),
    mergedIndex: Number(mergedIndex),
    checksum: String(checksum),
    resultsChecksum: String(resultsChecksum),
    timestamp: Number(timestamp),
    positions: positionsOf(String(positions), String(terms), String(timestamps)),
    divergence: divergence === null ? undefined : String(divergence),
    cluster: cluster === null ? undefined : String(cluster),
    machine: name === null ? undefined : { name: String(name), version: Number(version) },
    ...versionField(version === null ? FIRST_VERSION : Number(version)),
  };
}

/** What of it the engine's callers know. */
export function plainPosition({
  mergedIndex,
  checksum,
  timestamp,
  resultsChecksum,
  positions,
  version,
}: EnginePosition): EnginePosition {
  const position = { mergedIndex, checksum, timestamp, resultsChecksum, positions };
  return version === undefined ? position : { ...position, version };
}

function positionsOf(indexes: string, terms: string, timestamps: string): LogPosition[] {
  const [ofTerms, ofTimestamps] = [integersOf(terms), integersOf(timestamps)];
  return integersOf(indexes).map((index, group) => ({
    index,
    term: ofTerms[group] ?? LOG_START.term,
    timestamp: ofTimestamps[group] ?? LOG_START.timestamp,
  }));
}

/**
 * @throws ReplacedError when the position has never been this engine's. One that another has taken
 * over can still be read.
 */
export function requireOwn(found: FencedPosition, epoch: number): FencedPosition {
  if (found.epoch >= epoch) return found;
  throw new ReplacedError(
    `the database was replaced: it is of epoch ${found.epoch}, the one that was opened is of epoch ${epoch}`,
  );
}

/** Throws what it means that the position is not the one that a batch begins at. */
export function explainPosition(found: FencedPosition, epoch: number, expected: number): never {
  requireOwn(found, epoch);
  if (found.epoch !== epoch) {
    throw new FencedError(
      `another applier has taken over this database (epoch ${found.epoch}, this one has ${epoch}): only one may run`,
    );
  }
  throw new PositionError(`the database is at merged index ${found.mergedIndex}, not ${expected}`, found);
}

/** From where to where a batch moves the position. */
export interface Move {
  /** Where the row was last: only how fast it is found depends on it. */
  readonly place: string;
  readonly epoch: number;
  readonly before: EnginePosition;
  readonly after: EnginePosition;
}

/** The parameters of MOVE_POSITION. */
export function moveParameters({ place, epoch, before, after }: Move): string[] {
  return [place, String(epoch), String(before.mergedIndex), ...positionParameters(after)];
}

/** A position as the parameters of SET_POSITION. */
export function positionParameters(position: EnginePosition): string[] {
  const { mergedIndex, checksum, resultsChecksum, timestamp, positions } = position;
  return [
    String(mergedIndex),
    checksum,
    resultsChecksum,
    String(timestamp),
    integerArray(positions.map((position) => position.index)),
    integerArray(positions.map((position) => position.term)),
    integerArray(positions.map((position) => position.timestamp)),
  ];
}
