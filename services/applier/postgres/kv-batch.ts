/**
 * Batches of the built-in machine, set-based: one statement writes everything, position, rows,
 * results. It does nothing unless epoch and position are what they were when the batch was planned;
 * since nobody else writes these tables, what was known of them still holds then. What the engine
 * does not remember, versions of keys and results by id, is read in one round trip before. However
 * often a batch touches a key, the key is written once.
 */
import { type KvCommand, KvOverlay, type KvRow, readKvCommand } from '../../../shared/engine/kv/execute.js';
import type { EngineBatch, EnginePosition } from '../../../shared/engine/port.js';
import { originsOf, resultKeysOf, type SettledBatch, settle } from '../../../shared/engine/results.js';
import type { CommandOutcome } from '../../../shared/engine/state-machine.js';
import { anyOf, integerArray, jsonArray, textArray } from '../../../shared/postgres/array.js';
import type { Timestamp } from '../../../shared/raft/entry.js';
import { MOVE_PARAMETERS, MOVE_POSITION, type Move, moveParameters } from './position.js';
import type { RecentVersions } from './recent-versions.js';
import type { ResultStore, Send, Storing } from './result-store.js';
import type { Statement } from './rows.js';

const readVersions = (table: string) => `select key, version from ${table} where key = ${anyOf(1)}`;

/** Parameters $n .. $n+4 of `putRows`. */
const PUT_PARAMETERS = 5;

function putRows(table: string, first: number): string {
  const [key, value, version, mergedIndex, us] = Array.from({ length: PUT_PARAMETERS }, (_, at) => `$${first + at}`);
  return `insert into ${table} (key, value, version, merged_index, updated_at)
    select given.key, given.value, given.version, given.merged_index,
      timestamptz 'epoch' + given.us * interval '1 microsecond'
    from rows from (
      unnest(${key}::text[]), jsonb_array_elements(${value}::text::jsonb), unnest(${version}::bigint[]),
      unnest(${mergedIndex}::bigint[]), unnest(${us}::bigint[])
    ) as given (key, value, version, merged_index, us)
    where exists (select from moved)
    on conflict (key) do update set value = excluded.value, version = excluded.version,
      merged_index = excluded.merged_index, updated_at = excluded.updated_at`;
}

const deleteRows = (table: string, first: number) =>
  `delete from ${table} where key = ${anyOf(first)} and exists (select from moved)`;

/**
 * Only with the parts that have something to do. Postgres plans a statement once for the session,
 * unless it finds that planning it for the parameters at hand is worth the effort. With an empty
 * array it always does, and planning costs more than a small batch.
 */
function writeBatch(table: string, hasPuts: boolean, hasDeletes: boolean, storing: Storing | undefined): string {
  let next = MOVE_PARAMETERS + 1;
  let text = `with moved as (${MOVE_POSITION})`;
  if (hasPuts) {
    text += `, put as (${putRows(table, next)})`;
    next += PUT_PARAMETERS;
  }
  if (hasDeletes) {
    text += `, deleted as (${deleteRows(table, next)})`;
    next += 1;
  }
  if (storing !== undefined) text += `, stored as (${storing.text('moved', next)})`;
  return `${text} select set_config('synchronous_commit', 'off', true), (select place from moved)`;
}

/** What statements are sent with. */
export interface KvSession {
  /** The table kv, wherever it lies: qualified. */
  readonly table: string;
  readonly recent: RecentVersions;
  readonly results: ResultStore;
  /** Sends statements together, in this order; each of them is right by itself. */
  readonly send: Send;
}

export interface KvPlan {
  readonly settled: SettledBatch;
  /** Of all keys that the batch touches, before it. */
  readonly versions: ReadonlyMap<string, number>;
  readonly writes: ReadonlyMap<string, KvRow | null>;
}

/** Reads what the batch needs and decides what it does. Writes nothing. */
export async function planKvBatch(
  { commands }: EngineBatch,
  before: EnginePosition,
  windowUs: number,
  { table, recent, results, send }: KvSession,
): Promise<KvPlan> {
  const parsed = commands.map(readKvCommand);
  const ids = resultKeysOf(commands);
  const lookUp = results.lookUp(ids, commands[0]?.timestamp ?? before.timestamp);
  const { versions, missing } = knownVersions(parsed, recent);
  const read: Statement[] = missing.length === 0 ? [] : [[readVersions(table), [textArray(missing)]]];
  const answers = lookUp.statements.length + read.length === 0 ? [] : await send(...lookUp.statements, ...read);
  const stored = lookUp.read(answers);
  for (const key of missing) versions.set(key, 0);
  if (read.length > 0) for (const [key, version] of answers.at(-1) ?? []) versions.set(String(key), Number(version));

  const origins = originsOf(commands, windowUs, (key) => stored.get(key), ids);
  const overlay = new KvOverlay((key) => versions.get(key) ?? 0);
  const outcomes: CommandOutcome[] = [];
  for (let at = 0; at < parsed.length; at++) {
    const command = parsed[at];
    if (command === undefined || origins[at] !== 'new') continue;
    outcomes.push(typeof command === 'string' ? { ok: false, message: command } : overlay.execute(command));
  }
  const settled = settle(commands, origins, outcomes, before.resultsChecksum, ids);
  return { settled, versions, writes: overlay.writes };
}

/**
 * Writes the plan in one transaction; gives the position's new place, and undefined when the
 * database is no longer where the plan was made for.
 */
export async function writeKvBatch(
  { writes, settled }: KvPlan,
  move: Move,
  { table, results, send }: KvSession,
): Promise<string | undefined> {
  const keys: string[] = [];
  const values: string[] = [];
  const versions: number[] = [];
  const mergedIndexes: number[] = [];
  const timestamps: Timestamp[] = [];
  const deleted: string[] = [];
  for (const [key, row] of writes) {
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
  const parameters = moveParameters(move);
  if (keys.length > 0) {
    parameters.push(textArray(keys), jsonArray(values), integerArray(versions));
    parameters.push(integerArray(mergedIndexes), integerArray(timestamps));
  }
  if (deleted.length > 0) parameters.push(textArray(deleted));
  const storing = results.storing(settled);
  if (storing !== undefined) parameters.push(...storing.parameters);
  const text = writeBatch(table, keys.length > 0, deleted.length > 0, storing);
  const [answer] = await send([text, parameters]);
  const place = answer?.[0]?.[1];
  return typeof place === 'string' ? place : undefined;
}

/** The plan is committed: its keys have these versions now. */
export function rememberVersions({ versions, writes }: KvPlan, recent: RecentVersions): void {
  for (const [key, before] of versions) {
    const row = writes.get(key);
    recent.set(key, row === undefined ? before : (row?.version ?? 0));
  }
}

/** Versions that are remembered, and the keys of which none is. */
function knownVersions(
  commands: readonly (KvCommand | string)[],
  recent: RecentVersions,
): { versions: Map<string, number>; missing: string[] } {
  // Of its own: what is remembered may be dropped while it is looked up.
  const versions = new Map<string, number>();
  const missing = new Set<string>();
  for (const command of commands) {
    if (typeof command === 'string') continue;
    for (const { put, delete: remove } of command.operations) {
      const key = put?.key ?? remove?.key;
      if (key === undefined || versions.has(key) || missing.has(key)) continue;
      const version = recent.get(key);
      if (version === undefined) missing.add(key);
      else versions.set(key, version);
    }
  }
  return { versions, missing: [...missing] };
}
