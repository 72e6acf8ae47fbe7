/** The one row of craft.position: the fence and how far the state is. */
import { type EnginePosition, FencedError, PositionError } from '../../../shared/engine/port.js';
import { EMPTY_RESULTS_CHECKSUM } from '../../../shared/engine/results-checksum.js';
import { EMPTY_CHECKSUM } from '../../../shared/merge/checksum.js';
import { integerArray, integersOf } from './array.js';
import type { Rows } from './connection.js';

const COLUMNS = 'epoch, merged_index, checksum, results_checksum, "timestamp", positions::text';

/** Takes the fence: waits for a batch that is being written, and no older epoch writes after it. */
export const TAKE_FENCE = `insert into craft.position as current
    (id, merged_index, checksum, results_checksum, "timestamp", positions, epoch, server)
  values (1, 0, '${EMPTY_CHECKSUM}', '${EMPTY_RESULTS_CHECKSUM}', 0, '{}', 1, $1)
  on conflict (id) do update set epoch = current.epoch + 1, server = excluded.server
  returning ${COLUMNS}`;

export const READ_POSITION = `select ${COLUMNS} from craft.position where id = 1`;
export const LOCK_POSITION = `${READ_POSITION} for update`;

/** Parameters of MOVE_POSITION; those of statements around it come after. */
export const MOVE_PARAMETERS = 7;

/** $1 epoch, $2 merged index before; $3 .. $7 the position after. Moves nothing when either has changed. */
export const MOVE_POSITION = `update craft.position
  set merged_index = $3::bigint, checksum = $4, results_checksum = $5, "timestamp" = $6::bigint,
    positions = $7::bigint[]
  where id = 1 and epoch = $1::bigint and merged_index = $2::bigint returning 1`;

export interface FencedPosition extends EnginePosition {
  readonly epoch: number;
}

/** @throws FencedError when the row is gone: this is not the database that the engine opened. */
export function readPosition(rows: Rows): FencedPosition {
  const [row] = rows;
  if (row === undefined) throw new FencedError('the position in craft.position is gone: the database was replaced');
  const [epoch, mergedIndex, checksum, resultsChecksum, timestamp, positions] = row;
  return {
    epoch: Number(epoch),
    mergedIndex: Number(mergedIndex),
    checksum: String(checksum),
    resultsChecksum: String(resultsChecksum),
    timestamp: Number(timestamp),
    positions: integersOf(String(positions)),
  };
}

/** Throws what it means that the position is not the one that a batch begins at. */
export function explainPosition(found: FencedPosition, epoch: number, expected: number): never {
  if (found.epoch !== epoch) {
    throw new FencedError(
      `another applier has taken over this database (epoch ${found.epoch}, this one has ${epoch}): only one may run`,
    );
  }
  throw new PositionError(`the database is at merged index ${found.mergedIndex}, not ${expected}`, found);
}

/** What the batch moves the position to, as the parameters of MOVE_POSITION. */
export function moveParameters(epoch: number, before: number, after: EnginePosition): string[] {
  const { mergedIndex, checksum, resultsChecksum, timestamp, positions } = after;
  const place = [String(mergedIndex), checksum, resultsChecksum, String(timestamp), integerArray(positions)];
  return [String(epoch), String(before), ...place];
}
