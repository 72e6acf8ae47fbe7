/**
 * Results by id in Postgres (T8), those of one batch in one row. Nothing in the database finds an
 * id in them: the engine knows in which row to look (recent-ids.ts).
 *
 * `outcomes` has four elements for each id, in the order of `ids`. These are: how far its merged
 * index is beyond the row's, its group, how far its timestamp is before the row's, and the outcome.
 * The outcome is JSON text when it succeeded, else an object that says why not.
 */

import type { StoredResult } from '../../../shared/engine/results.js';
import type { CommandOutcome } from '../../../shared/engine/state-machine.js';
import { InvariantError } from '../../../shared/raft/assert.js';
import { COUNT_REMOVED, WHERE_REACHED } from './results.js';
import type { Rows } from './rows.js';

/** Parameters $n .. $n+4 of `storeResultBatch`. */
export const RESULT_BATCH_PARAMETERS = 5;

/**
 * `moved` is the relation that has a row when the batch may be written; `first` the number of the
 * first parameter.
 */
export function storeResultBatch(moved: string, first: number): string {
  return `insert into craft.result_batches (number, merged_index, "timestamp", ids, outcomes)
    select $${first}::bigint, $${first + 1}::bigint, $${first + 2}::bigint, $${first + 3}, $${first + 4}
    where exists (select from ${moved})`;
}

/** At least one result. */
export function resultBatchParameters(row: number, results: ReadonlyMap<string, StoredResult>): string[] {
  const all = [...results.values()];
  const [first] = all;
  if (first === undefined) throw new InvariantError('no results');
  let newestUs = first.timestamp;
  for (const { timestamp } of all) if (timestamp > newestUs) newestUs = timestamp;
  const outcomes: unknown[] = [];
  for (const { mergedIndex, group, timestamp, outcome } of all) {
    outcomes.push(mergedIndex - first.mergedIndex, group, newestUs - timestamp, packed(outcome));
  }
  return [
    String(row),
    String(first.mergedIndex),
    String(newestUs),
    JSON.stringify([...results.keys()]),
    JSON.stringify(outcomes),
  ];
}

type Packed = string | { readonly failed: string } | { readonly rejected: string };

function packed(outcome: CommandOutcome): Packed {
  if (outcome.ok) return outcome.json;
  return outcome.failed ? { failed: outcome.message } : { rejected: outcome.message };
}

function unpacked(given: Packed): CommandOutcome {
  if (typeof given === 'string') return { ok: true, json: given };
  if ('failed' in given) return { ok: false, message: given.failed, failed: true };
  return { ok: false, message: given.rejected };
}

/** $1: numbers of rows. */
export const READ_RESULT_BATCHES = `select merged_index, "timestamp", ids, outcomes from craft.result_batches
  where number = any((select $1::bigint[])::bigint[])`;

/** The results of the ids in `wanted`, of each the newest. */
export function readResultBatches(rows: Rows, wanted: ReadonlySet<string>): Map<string, StoredResult> {
  const results = new Map<string, StoredResult>();
  for (const [mergedIndex, timestamp, idsText, outcomesText] of rows) {
    const ids = JSON.parse(String(idsText)) as string[];
    let outcomes: unknown[] | undefined;
    for (const [at, id] of ids.entries()) {
      if (!wanted.has(id)) continue;
      outcomes ??= JSON.parse(String(outcomesText)) as unknown[];
      const [offset, group, age, outcome] = outcomes.slice(at * 4, at * 4 + 4) as [number, number, number, Packed];
      const result = {
        mergedIndex: Number(mergedIndex) + offset,
        group,
        timestamp: Number(timestamp) - age,
        outcome: unpacked(outcome),
      };
      const other = results.get(id);
      if (other === undefined || other.timestamp < result.timestamp) results.set(id, result);
    }
  }
  return results;
}

/**
 * The rows with outcomes from merged index $1 to $2, the newest first, at most $3. Only the rows
 * before the first of them are looked through in vain. One whose outcomes have more than $4 bytes
 * is left out.
 */
export const LIST_OUTCOMES = `select merged_index, "timestamp", ids, outcomes from craft.result_batches
  where number >= coalesce((
      select number from craft.result_batches where merged_index <= $1::bigint order by number desc limit 1
    ), 0) and merged_index <= $2::bigint and octet_length(outcomes) <= $4::integer
  order by number desc limit $3::integer`;

/** All results of the rows. */
export function allOfResultBatches(rows: Rows): StoredResult[] {
  return rows.flatMap((row) => {
    const ids = JSON.parse(String(row[2])) as string[];
    return [...readResultBatches([row], new Set(ids)).values()];
  });
}

/** The number of the last row, 0 when there is none. */
export const LAST_RESULT_BATCH = 'select coalesce(max(number), 0) from craft.result_batches';

/** $1: after which row, $2: not those of before this timestamp, $3: how many. In order. */
export const LIST_RESULT_BATCHES = `select number, "timestamp", ids from craft.result_batches
  where number > $1::bigint and "timestamp" >= $2::bigint order by number limit $3::integer`;

/**
 * Removes rows from number $3 on and below $4 whose outcomes are all of before timestamp $5, at
 * most $6; says how many. On its own, not as part of a batch. Such a result counts as absent to
 * every entry still to come. So it does not matter when it goes, or whether a crash brings it back.
 * Null, and nothing removed, where epoch $1 is not the state's, or the state has gone back behind
 * merged index $2: what was expired there may count.
 *
 * Below $3 nothing is left. But the index keeps what was removed there for as long as a transaction
 * may see it. A look from the beginning would meet all of it.
 */
export const PRUNE_RESULT_BATCHES = `${WHERE_REACHED}, removed as (
    delete from craft.result_batches where number = any(array(
      select number from craft.result_batches
      where number >= $3::bigint and number < $4::bigint and "timestamp" < $5::bigint order by number limit $6::integer
    )) and exists (select from own) returning 1
  )
  ${COUNT_REMOVED}`;
