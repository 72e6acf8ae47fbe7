/**
 * Batches of the built-in machine, set-based: one round trip reads the versions of the keys that the batch touches (and the results by
 * id), another one writes everything in one statement: position, rows, results. That does nothing unless epoch and position are what they were when the batch was planned; since nobody else writes these tables, what
 * was read still holds then. However often a batch touches a key, the key is written once.
 */
import { type KvCommand, KvOverlay, type KvRow, readKvCommand } from '../../../shared/engine/kv/execute.js';
import type { EngineBatch, EnginePosition } from '../../../shared/engine/port.js';
import { originsOf, type SettledBatch, settle } from '../../../shared/engine/results.js';
import type { CommandOutcome } from '../../../shared/engine/state-machine.js';
import { integerArray, jsonArray, textArray } from './array.js';
import type { Rows, Statement } from './connection.js';
import { MOVE_PARAMETERS, MOVE_POSITION, moveParameters } from './position.js';
import { LOOK_UP_RESULTS, readResults, resultKeys, resultParameters, storeResults } from './results.js';

const readVersions = (table: string) => `select key, version from ${table} where key = any($1::text[])`;

const writeBatch = (table: string) => `with moved as (${MOVE_POSITION}),
  put as (
    insert into ${table} (key, value, version, merged_index, updated_at)
    select given.key, given.value, given.version, given.merged_index,
      timestamptz 'epoch' + given.us * interval '1 microsecond'
    from rows from (
      unnest($10::text[]), jsonb_array_elements($11::text::jsonb), unnest($12::bigint[]), unnest($13::bigint[]),
      unnest($14::bigint[])
    ) as given (key, value, version, merged_index, us)
    where exists (select from moved)
    on conflict (key) do update set value = excluded.value, version = excluded.version,
      merged_index = excluded.merged_index, updated_at = excluded.updated_at
  ),
  deleted as (delete from ${table} where key = any($15::text[]) and exists (select from moved)),
  stored as (${storeResults('moved', MOVE_PARAMETERS + 7)})
  select set_config('synchronous_commit', 'off', true), exists (select from moved)`;

/** What statements are sent with. */
export interface KvSession {
  /** The table kv, wherever it lies: qualified. */
  readonly table: string;
  /** Sends statements together, in this order; each of them is right by itself. */
  readonly send: (...statements: readonly Statement[]) => Promise<Rows[]>;
}

export interface KvPlan {
  readonly settled: SettledBatch;
  readonly writes: ReadonlyMap<string, KvRow | null>;
}

/** Reads what the batch needs and decides what it does. Writes nothing. */
export async function planKvBatch(
  { commands }: EngineBatch,
  before: EnginePosition,
  windowUs: number,
  { table, send }: KvSession,
): Promise<KvPlan> {
  const parsed = commands.map(readKvCommand);
  const ids = resultKeys(commands);
  const keys = touchedKeys(parsed);
  const none: Rows = [];
  const lookUp: Statement[] = ids.length === 0 ? [] : [[LOOK_UP_RESULTS, [textArray(ids)]]];
  const versionsOf: Statement[] = keys.length === 0 ? [] : [[readVersions(table), [textArray(keys)]]];
  const answers = await send(...lookUp, ...versionsOf);
  const resultRows = ids.length === 0 ? none : (answers[0] ?? none);
  const versionRows = keys.length === 0 ? none : (answers[lookUp.length] ?? none);
  const stored = readResults(resultRows);
  const versions = new Map<string, number>();
  for (const [key, version] of versionRows) versions.set(String(key), Number(version));

  const origins = originsOf(commands, windowUs, (key) => stored.get(key));
  const overlay = new KvOverlay((key) => versions.get(key) ?? 0);
  const outcomes: CommandOutcome[] = [];
  for (let at = 0; at < parsed.length; at++) {
    const command = parsed[at];
    if (command === undefined || origins[at] !== 'new') continue;
    outcomes.push(typeof command === 'string' ? { ok: false, message: command } : overlay.execute(command));
  }
  return { settled: settle(commands, origins, outcomes, before.resultsChecksum), writes: overlay.writes };
}

/** Writes the plan in one transaction; false when the database is no longer where the plan was made for. */
export async function writeKvBatch(
  plan: KvPlan,
  epoch: number,
  before: EnginePosition,
  after: EnginePosition,
  { table, send }: KvSession,
): Promise<boolean> {
  const keys: string[] = [];
  const values: string[] = [];
  const versions: number[] = [];
  const mergedIndexes: number[] = [];
  const timestamps: number[] = [];
  const deleted: string[] = [];
  for (const [key, row] of plan.writes) {
    if (row === null) {
      deleted.push(key);
      continue;
    }
    keys.push(key);
    values.push(row.json);
    versions.push(row.version);
    mergedIndexes.push(row.mergedIndex);
    timestamps.push(row.timestamp);
  }
  const parameters = [
    ...moveParameters(epoch, before.mergedIndex, after),
    textArray(keys),
    jsonArray(values),
    integerArray(versions),
    integerArray(mergedIndexes),
    integerArray(timestamps),
    textArray(deleted),
    ...resultParameters(plan.settled.results),
  ];
  const [answer] = await send([writeBatch(table), parameters]);
  return answer?.[0]?.[1] === true;
}

function touchedKeys(commands: readonly (KvCommand | string)[]): string[] {
  const keys = new Set<string>();
  for (const command of commands) {
    if (typeof command === 'string') continue;
    for (const { put, delete: remove } of command.operations) {
      if (put !== undefined) keys.add(put.key);
      else if (remove !== undefined) keys.add(remove.key);
    }
  }
  return [...keys];
}
