/**
 * Results by id in Postgres (T8), a row for each: for ids that the engine had no room for in memory
 * (result-store.ts).
 */

import type { StoredResult } from '../../../shared/engine/results.js';
import type { CommandOutcome } from '../../../shared/engine/state-machine.js';
import { anyOf, booleanArray, integerArray, textArray } from '../../../shared/postgres/array.js';
import type { Rows } from './rows.js';

export const LOOK_UP_RESULTS = `select id, merged_index, "group", "timestamp", ok, outcome from craft.results
  where id = ${anyOf(1)}`;

/**
 * Of commands from merged index $1 to $2. There are such rows only while more ids are in the window
 * than are remembered.
 */
export const LIST_OWN_OUTCOMES = `select id, merged_index, "group", "timestamp", ok, outcome from craft.results
  where merged_index between $1::bigint and $2::bigint`;

/** Parameters $n .. $n+5 of STORE_RESULTS. */
export const RESULT_PARAMETERS = 6;

/**
 * `moved` is the relation that has a row when the batch may be written; `first` the number of the
 * first parameter.
 */
export function storeResults(moved: string, first: number): string {
  const [id, mergedIndex, group, timestamp, ok, outcome] = Array.from(
    { length: RESULT_PARAMETERS },
    (_, at) => `$${first + at}`,
  );
  return `insert into craft.results (id, merged_index, "group", "timestamp", ok, outcome)
    select given.* from unnest(${id}::text[], ${mergedIndex}::bigint[], ${group}::integer[],
      ${timestamp}::bigint[], ${ok}::boolean[], ${outcome}::text[]) as given
    where exists (select from ${moved})
    on conflict (id) do update set merged_index = excluded.merged_index, "group" = excluded."group",
      "timestamp" = excluded."timestamp", ok = excluded.ok, outcome = excluded.outcome`;
}

export function resultParameters(results: ReadonlyMap<string, StoredResult>): string[] {
  const rows = [...results.values()];
  return [
    textArray([...results.keys()]),
    integerArray(rows.map((row) => row.mergedIndex)),
    integerArray(rows.map((row) => row.group)),
    integerArray(rows.map((row) => row.timestamp)),
    booleanArray(rows.map((row) => row.outcome.ok)),
    textArray(rows.map((row) => textOf(row.outcome))),
  ];
}

/**
 * A message may hold what a text column cannot; as JSON text it can. That of a failure lies in an
 * object.
 */
function textOf(outcome: CommandOutcome): string {
  if (outcome.ok) return outcome.json;
  return JSON.stringify(outcome.failed ? { failed: outcome.message } : outcome.message);
}

function outcomeOf(ok: boolean, text: string): CommandOutcome {
  if (ok) return { ok, json: text };
  const told = JSON.parse(text) as string | { readonly failed: string };
  return typeof told === 'string' ? { ok, message: told } : { ok, message: told.failed, failed: true };
}

export function readResults(rows: Rows): Map<string, StoredResult> {
  const results = new Map<string, StoredResult>();
  for (const [id, mergedIndex, group, timestamp, ok, outcome] of rows) {
    results.set(String(id), {
      mergedIndex: Number(mergedIndex),
      group: Number(group),
      timestamp: Number(timestamp),
      outcome: outcomeOf(ok === true, String(outcome)),
    });
  }
  return results;
}

/** The timestamp of the newest one, null when there is none. */
export const LAST_RESULT = 'select max("timestamp") from craft.results';

/**
 * The beginning and the end of a removal: of what has expired at merged index $2, where the state
 * of epoch $1 has reached it. `own` has a row then. The answer: how many are `removed`, or null.
 */
export const WHERE_REACHED = `with own as (
    select from craft.position where id = 1 and epoch = $1::bigint and merged_index >= $2::bigint
  )`;
export const COUNT_REMOVED = `select set_config('synchronous_commit', 'off', true),
    case when exists (select from own) then (select count(*) from removed) end`;

/**
 * Removes the oldest results below timestamp $3, at most $4; says how many, null where the state is
 * not one that has reached merged index $2 in epoch $1. On its own, not as part of a batch. Such a
 * result counts as absent to every entry still to come. So it does not matter when it goes, or
 * whether a crash brings it back.
 */
export const PRUNE_RESULTS = `${WHERE_REACHED}, old as (
    select id from craft.results where "timestamp" < $3::bigint order by "timestamp" limit $4::integer
  ), removed as (
    delete from craft.results using old where results.id = old.id and results."timestamp" < $3::bigint
      and exists (select from own) returning 1
  )
  ${COUNT_REMOVED}`;
