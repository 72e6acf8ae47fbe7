/** Queries of the built-in machine: one statement each, so each sees one state of the table. */
import type { GetInput, ListInput } from '../../../shared/engine/kv/schema.js';
import type { Rows, Statement } from './rows.js';

/** A page ends early (with one row at least) where it would not fit into a message. */
const PAGE_BYTES_MAX = 512 * 1024;
/**
 * What a row takes in an answer beside its key and value: names, punctuation, and a version of up
 * to 16 digits.
 */
const ROW_BYTES = 48;
/** A key as it is in an answer: control characters take six bytes each. */
const KEY_BYTES = 'octet_length(to_json(key)::text)';

const get = (table: string) => `select value::text, version from ${table} where key = $1`;
/**
 * Keys compare by bytes, so the keys of a prefix are a range, and a page begins where the one
 * before ended.
 */
const list = (table: string) => `select key, value, version from (
    select key, value::text as value, version, sum(${KEY_BYTES} + octet_length(value::text) + ${ROW_BYTES}) over (order by key) as bytes
    from (
      select key, value, version from ${table}
      where key > $1 and key >= $2 and ($3 = '' or key < $3) and starts_with(key, $2) order by key limit $4::integer
    ) as page
  ) as counted
  where bytes <= ${PAGE_BYTES_MAX} or key = (
    select min(key) from ${table} where key > $1 and key >= $2 and ($3 = '' or key < $3) and starts_with(key, $2)
  ) order by key`;

/**
 * `name` is a query of the contract, `input` what its schema gave, and `table` the table kv,
 * wherever it lies.
 */
export function kvStatement(table: string, name: string, input: unknown): Statement {
  if (name === 'kv.get') return [get(table), [(input as GetInput).key]];
  const { prefix = '', after = '', limit } = input as ListInput;
  return [list(table), [after, prefix, endOfPrefix(prefix), String(limit)]];
}

/** What the rows say. */
export function kvAnswer(name: string, rows: Rows): unknown {
  if (name === 'kv.get') {
    const [row] = rows;
    return row === undefined ? null : { value: JSON.parse(String(row[0])), version: Number(row[1]) };
  }
  return rows.map(([key, value, version]) => ({ key, value: JSON.parse(String(value)), version: Number(version) }));
}

/**
 * The smallest string, in byte order, above every string that begins with `prefix`; empty when
 * there is none.
 */
export function endOfPrefix(prefix: string): string {
  const points = Array.from(prefix, (character) => character.codePointAt(0) ?? 0);
  while (points.length > 0) {
    const last = points.pop() ?? 0;
    if (last < 0x10ffff) {
      // The surrogates are no characters: the one after U+D7FF is U+E000.
      const next = last === 0xd7ff ? 0xe000 : last + 1;
      return String.fromCodePoint(...points, next);
    }
  }
  return '';
}
