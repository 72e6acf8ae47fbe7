/**
 * What a payload must be, beyond valid JSON, so that every state machine keeps exactly what the
 * client sent. It has no character that Postgres cannot store, no number that a double changes, and
 * no nesting that exhausts a stack. Checked on the text, because parsing hides two of the three.
 */
import { isUtf8 } from 'node:buffer';
import { messageOf, NamedError } from '../errors.js';

/** Deepest nesting of arrays and objects. */
const DEPTH_MAX = 100;
/**
 * Digits that every double keeps, and digits that some double needs (DBL_DIG and DBL_DECIMAL_DIG of
 * IEEE 754 binary64).
 */
const DIGITS_SAFE = 15;
const DIGITS_MAX = 17;
/** The smallest double with all its digits (DBL_MIN); those below it are denormal. */
const NORMAL_MIN = 2 ** -1022;
/** A client gets at most so much of its number back (characters). */
const SHOWN_MAX = 40;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LOWER_U = 0x75;
const MINUS = 0x2d;
const ZERO = 0x30;

/** Why `bytes` are not acceptable JSON text; the message continues "the payload ...". */
export class JsonTextError extends NamedError {}

/** Parses acceptable JSON text; everything else is a JsonTextError. */
export function parseJson(bytes: Uint8Array): unknown {
  if (bytes.length === 0) throw new JsonTextError('is empty');
  if (!isUtf8(bytes)) throw new JsonTextError('is not UTF-8');
  return parseJsonText(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString());
}

/** The same for text that is a string already. */
export function parseJsonText(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new JsonTextError(`is not JSON: ${reason(cause)}`, { cause });
  }
  checkText(text);
  return value;
}

/** V8 quotes the input in its messages; a client gets a bounded piece of it back. */
function reason(cause: unknown): string {
  const message = messageOf(cause);
  return message.length > 120 ? `${message.slice(0, 120)}…` : message;
}

/** One pass over text that is known to be valid JSON. */
function checkText(text: string): void {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = checkString(text, at);
    // '{' and '['; '}' and ']' differ from them by two.
    else if (code === 0x7b || code === 0x5b) {
      depth += 1;
      if (depth > DEPTH_MAX) throw new JsonTextError(`is nested deeper than ${DEPTH_MAX}`);
    } else if (code === 0x7d || code === 0x5d) depth -= 1;
    else if (code === MINUS || isDigit(code)) at = checkNumber(text, at);
  }
}

/** Returns the offset of the closing quote of the string that opens at `start`. */
function checkString(text: string, start: number): number {
  for (let at = start + 1; ; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at;
    if (code === BACKSLASH) {
      at += 1;
      if (text.charCodeAt(at) === LOWER_U) at = checkEscape(text, at);
    } else if (code >= 0xd800 && code <= 0xdfff) at = checkSurrogate(text, at);
  }
}

/**
 * `at` is that of the `u`; returns the offset of the escape's last character (of its second half,
 * for a pair).
 */
function checkEscape(text: string, at: number): number {
  const unit = Number.parseInt(text.slice(at + 1, at + 5), 16);
  if (unit === 0) throw new JsonTextError('contains the character \\u0000, which Postgres cannot store');
  if (unit < 0xd800 || unit > 0xdfff) return at + 4;
  const low = text.startsWith('\\u', at + 5) ? Number.parseInt(text.slice(at + 7, at + 11), 16) : 0;
  if (unit > 0xdbff || low < 0xdc00 || low > 0xdfff) throw new JsonTextError('contains half of a surrogate pair');
  return at + 10;
}

function checkSurrogate(text: string, at: number): number {
  const low = text.charCodeAt(at + 1);
  if (text.charCodeAt(at) > 0xdbff || !(low >= 0xdc00 && low <= 0xdfff)) {
    throw new JsonTextError('contains half of a surrogate pair');
  }
  return at + 1;
}

/** Returns the offset of the last character of the number that begins at `start`. */
function checkNumber(text: string, start: number): number {
  let end = start + 1;
  let isPlain = true;
  for (; end < text.length; end++) {
    const code = text.charCodeAt(end);
    if (isDigit(code)) continue;
    // '.', '+', '-', 'e', 'E'
    if (code !== 0x2e && code !== 0x2b && code !== MINUS && code !== 0x65 && code !== 0x45) break;
    isPlain = false;
  }
  if (!isPlain || end - start > DIGITS_SAFE) {
    const literal = text.slice(start, end);
    if (!survives(literal)) {
      const shown = literal.length > SHOWN_MAX ? `${literal.slice(0, SHOWN_MAX)}…` : literal;
      throw new JsonTextError(`contains the number ${shown}, which loses precision as a double: write it as a string`);
    }
  }
  return end - 1;
}

/**
 * A literal survives when it is how a double is written: the shortest way, as JSON prints it, or
 * with up to DIGITS_MAX digits, as `%.17g` does. So does an integer that a double holds exactly.
 * Any other literal says more than the double that is read from it. Below NORMAL_MIN a double has
 * fewer digits than that, and only the shortest way counts.
 */
function survives(literal: string): boolean {
  const value = Number(literal);
  const shortest = String(value);
  if (shortest === literal) return true;
  if (!Number.isFinite(value)) return false;
  const written = decimalOf(literal);
  if (/^-?\d+$/.test(literal) && BigInt(literal) === BigInt(value)) return true;
  if (written.digits.length > DIGITS_MAX) return false;
  if (isSame(written, decimalOf(shortest))) return true;
  return Math.abs(value) >= NORMAL_MIN && isSame(written, decimalOf(value.toPrecision(written.digits.length)));
}

/** 0.d1d2d3… * 10^exponent: significant digits only, none for zero. */
interface Decimal {
  readonly digits: string;
  readonly exponent: number;
}

/** The sign is left out: reading and printing never change it. */
function decimalOf(literal: string): Decimal {
  const [, whole = '', fraction = '', exponent = '0'] = /^-?(\d+)\.?(\d*)(?:e(.+))?$/i.exec(literal) ?? [];
  const all = whole + fraction;
  let first = 0;
  while (all.charCodeAt(first) === ZERO) first += 1;
  let end = all.length;
  while (end > first && all.charCodeAt(end - 1) === ZERO) end -= 1;
  const digits = all.slice(first, end);
  return { digits, exponent: digits === '' ? 0 : Number(exponent) + whole.length - first };
}

function isSame(one: Decimal, other: Decimal): boolean {
  return one.exponent === other.exponent && one.digits === other.digits;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}
