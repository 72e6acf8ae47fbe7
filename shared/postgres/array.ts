/**
 * Arrays as parameters: the text form of Postgres array values ("Array Input and Output Syntax"),
 * built here because the driver's general way costs more than the statement.
 */

const SPECIAL = /["\\]/;
const SPECIALS = /["\\]/g;

/** As `text[]`. Strings without NUL. */
export function textArray(values: readonly string[]): string {
  let text = '{';
  for (let at = 0; at < values.length; at++) {
    const value = values[at] ?? '';
    text += at === 0 ? '"' : ',"';
    text += SPECIAL.test(value) ? value.replace(SPECIALS, '\\$&') : value;
    text += '"';
  }
  return `${text}}`;
}

/** As `bigint[]` or `integer[]`. Safe integers. */
export function integerArray(values: readonly number[]): string {
  return `{${values.join(',')}}`;
}

/**
 * In SQL, any element of the `text[]` parameter $n. Its length is hidden from the planner: for
 * short arrays it would plan the statement again and again, which costs more than running it.
 */
export function anyOf(parameter: number): string {
  return `any((select $${parameter}::text[])::text[])`;
}

/** The other way round: `{1,2}`. */
export function integersOf(text: string): number[] {
  return text === '{}' ? [] : text.slice(1, -1).split(',').map(Number);
}

/** As `boolean[]`. */
export function booleanArray(values: readonly boolean[]): string {
  return `{${values.join(',')}}`;
}

/** JSON texts as one JSON text: an array of them. */
export function jsonArray(values: readonly string[]): string {
  return `[${values.join(',')}]`;
}
