/** Outcomes of commands that are kept for duplicates, by merged index. */

import type { KeptOutcomes } from '../../../shared/engine/port.js';
import type { MergedIndex } from '../../../shared/raft/entry.js';
import type { Connection } from './connection.js';
import { READ_POSITION, readPosition } from './position.js';
import { allOfResultBatches, LIST_OUTCOMES } from './result-batches.js';
import { LIST_OWN_OUTCOMES, readResults } from './results.js';

/** Outcomes of one batch that are looked through for those that are asked for. */
const OUTCOMES_BYTES_MAX = 4 * 1024 * 1024;

/** Those of the merged indexes `from` to `to`. */
export async function readOutcomes(connection: Connection, from: MergedIndex, to: MergedIndex): Promise<KeptOutcomes> {
  // In this order: what is found is at least what the position has.
  const position = readPosition(await connection.run(READ_POSITION, []));
  const limit = String(to - from + 2);
  const range = [String(from), String(to)];
  const inBatches = await connection.run(LIST_OUTCOMES, [...range, limit, String(OUTCOMES_BYTES_MAX)]);
  const inOwnRows = await connection.run(LIST_OWN_OUTCOMES, range);
  const all = [...allOfResultBatches(inBatches), ...readResults(inOwnRows).values()];
  const outcomes = all.filter(({ mergedIndex }) => mergedIndex >= from && mergedIndex <= to);
  return { appliedIndex: position.mergedIndex, outcomes };
}
