/**
 * Sequences that give the same numbers on every server, whatever was rolled back, tried again or
 * killed. Postgres takes back no number, so their values lie in craft.sequences, written in the
 * transaction of each batch; before a batch they are set to that. A command that is rejected or has
 * failed gives its numbers back.
 *
 * None of this costs a round trip: it goes with what is sent anyway.
 */

import { textArray } from '../../../shared/postgres/array.js';
import { LIST_SEQUENCES } from '../../../shared/postgres/sequence-names.js';
import { LOCK_POSITION_AT, POSITION_COLUMNS } from './position.js';
import type { Rows } from './rows.js';
import type { Transaction } from './transaction.js';

/** The value of a sequence. */
export interface SequenceValue {
  /** As SQL has it. */
  readonly name: string;
  /** Decimal digits of a bigint. */
  readonly value: string;
  /** False when `value` itself is the next number. */
  readonly isCalled: boolean;
}

const SET = 'setval(kept.name::regclass, kept.last_value, kept.is_called)';

/** Sets all of them to what the table says. */
export const SET_SEQUENCES = `select count(${SET}) from craft.sequences as kept where to_regclass(kept.name) is not null`;

/**
 * Locks the position, which was last at $1. Sets the sequences if it is that of $2 epoch and $3
 * merged index; those of an engine that is fenced off are another one's. The last column has their
 * values.
 */
export const LOCK_STATE = `with at as (${LOCK_POSITION_AT}), given as (
    select kept.name, kept.last_value, kept.is_called, ${SET} from craft.sequences as kept, at
    where at.epoch = $2::bigint and at.merged_index = $3::bigint and to_regclass(kept.name) is not null
  ) select at.*, (
    select jsonb_agg(jsonb_build_array(name, last_value::text, is_called) order by name)::text from given
  ) from at`;

/**
 * Parameters $n .. $n+2: what `sequenceParameters` gives. `moved` is the relation that has a row
 * when the batch may be written.
 */
export function storeSequences(moved: string, first: number): string {
  return `insert into craft.sequences (name, last_value, is_called)
    select given.* from unnest($${first}::text[], $${first + 1}::bigint[], $${first + 2}::boolean[]) as given
    where exists (select from ${moved})
    on conflict (name) do update set last_value = excluded.last_value, is_called = excluded.is_called`;
}

export function sequenceParameters(values: readonly SequenceValue[]): string[] {
  return [
    textArray(values.map(({ name }) => name)),
    `{${values.map(({ value }) => value).join(',')}}`,
    `{${values.map(({ isCalled }) => isCalled).join(',')}}`,
  ];
}

const STORE_SEQUENCES = `with moved as (select 1) ${storeSequences('moved', 1)}`;
const STORE_MISSING = `insert into craft.sequences (name, last_value, is_called)
  select * from unnest($1::text[], $2::bigint[], $3::boolean[]) on conflict (name) do nothing`;
const KEEP_ONLY = 'delete from craft.sequences where name <> all ($1::text[])';

async function listed(transaction: Transaction): Promise<string[]> {
  return (await transaction.run(LIST_SEQUENCES, [])).map(([name]) => String(name));
}

/** What to ask the sequences themselves: a row for each, in their order. */
function readingOf(names: readonly string[]): string {
  return names.map((name, at) => `select ${at} as at, last_value::text, is_called from ${name}`).join(' union all ');
}

async function readLive(transaction: Transaction, names: readonly string[]): Promise<SequenceValue[]> {
  if (names.length === 0) return [];
  const rows = await transaction.run(readingOf(names), []);
  return rows.map(([at, value, isCalled]) => readValue(names, at, value, isCalled));
}

function readValue(names: readonly string[], at: unknown, value: unknown, isCalled: unknown): SequenceValue {
  return { name: names[Number(at)] ?? '', value: String(value), isCalled: isCalled === true };
}

/** Whatever the sequences say, after migrations. */
export async function recordSequences(transaction: Transaction): Promise<void> {
  await replaceSequences(transaction, await readLive(transaction, await listed(transaction)));
}

/** Those that are not in the table yet. */
export async function recordNewSequences(transaction: Transaction): Promise<void> {
  const names = await listed(transaction);
  if (names.length > 0) await transaction.run(STORE_MISSING, sequenceParameters(await readLive(transaction, names)));
}

/** In the table; the sequences themselves stay as they are. */
export async function replaceSequences(transaction: Transaction, values: readonly SequenceValue[]): Promise<void> {
  await transaction.run(KEEP_ONLY, [textArray(values.map(({ name }) => name))]);
  if (values.length > 0) await transaction.run(STORE_SEQUENCES, sequenceParameters(values));
}

/** What the table says of these. */
export async function readSequences(transaction: Transaction, names: readonly string[]): Promise<SequenceValue[]> {
  if (names.length === 0) return [];
  const rows = await transaction.run(
    'select name, last_value::text, is_called from craft.sequences where name = any($1::text[])',
    [textArray(names)],
  );
  const kept = new Map(
    rows.map(([name, value, isCalled]) => [String(name), { value: String(value), isCalled: isCalled === true }]),
  );
  const missing = names.filter((name) => !kept.has(name));
  for (const { name, ...value } of await readLive(transaction, missing)) kept.set(name, value);
  return names.flatMap((name) => {
    const value = kept.get(name);
    return value === undefined ? [] : [{ name, ...value }];
  });
}

/** The sequences in the course of one batch. */
export class BatchSequences {
  private readonly before: ReadonlyMap<string, string>;
  private readsNames: readonly string[];

  private constructor(private values: readonly SequenceValue[]) {
    this.before = new Map(values.map((one) => [one.name, textOf(one)]));
    this.readsNames = values.map(({ name }) => name);
  }

  /** From the answer to LOCK_STATE. */
  static of(rows: Rows): BatchSequences {
    const text = rows[0]?.[POSITION_COLUMNS];
    if (typeof text !== 'string') return new BatchSequences([]);
    const given = JSON.parse(text) as [string, string, boolean][];
    return new BatchSequences(given.map(([name, value, isCalled]) => ({ name, value, isCalled })));
  }

  /** At the end of a command, within its savepoint: a command may have made or dropped some. */
  async beforeReading(transaction: Transaction): Promise<void> {
    if (transaction.mayHaveChangedTables) this.readsNames = await listed(transaction);
  }

  /**
   * To be sent with the end of a command that is done; its rows are for `take`. Empty when there
   * are none.
   */
  get reading(): string {
    return readingOf(this.readsNames);
  }

  take(rows: readonly Readonly<Record<string, unknown>>[]): void {
    this.values = rows.map((row) => readValue(this.readsNames, row['at'], row['last_value'], row['is_called']));
  }

  /** To be sent when a command has been undone: its numbers go back. Empty when there are none. */
  undoing(): string {
    this.readsNames = this.values.map(({ name }) => name);
    if (this.values.length === 0) return '';
    const calls = this.values.map(
      ({ name, value, isCalled }) => `setval('${name.replaceAll("'", "''")}'::regclass, ${value}, ${isCalled})`,
    );
    return `select ${calls.join(', ')}`;
  }

  /** Those that the batch has moved. */
  get moved(): readonly SequenceValue[] {
    return this.values.filter((one) => this.before.get(one.name) !== textOf(one));
  }

  /** All of them. */
  get all(): readonly SequenceValue[] {
    return this.values;
  }
}

function textOf({ value, isCalled }: SequenceValue): string {
  return `${value} ${isCalled}`;
}
