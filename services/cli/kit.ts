/**
 * What all commands of the command line share: options, input, output, the session with the
 * cluster. A command loads what only its work needs when it runs: help, completion and wrong usage
 * wait for none of that.
 */
import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { INBOX_PREFIX } from '../../shared/wire/inbox-prefix.js';
import { SERVER_NAME } from '../../shared/wire/subjects.js';
import { clearProgress } from './progress.js';
import type { GlobalOptions, Session } from './session.js';

/**
 * The JSON value that an argument gives: itself, `@file`, or `-` for standard input. Ends with
 * wrong usage when it is none.
 */
export async function inputOf(given: string, program: Command): Promise<unknown> {
  let text = given;
  try {
    if (given === '-') text = (await buffer(process.stdin)).toString();
    else if (given.startsWith('@')) text = await readFile(given.slice(1), 'utf8');
    return JSON.parse(text);
  } catch (error) {
    const why = error instanceof SyntaxError ? `not JSON: ${error.message}` : String(error);
    return program.error(`error: the input is ${given === text ? '' : `(${given}) `}${why}`);
  }
}

export function integer(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < min) {
      throw new InvalidArgumentError(`not an integer from ${min} to ${Number.MAX_SAFE_INTEGER}`);
    }
    return value;
  };
}

/** @throws InvalidArgumentError */
export function inboxPrefix(text: string): string {
  if (INBOX_PREFIX.test(text)) return text;
  throw new InvalidArgumentError('not tokens of letters, digits, "_" and "-", with a dot between');
}

/** @throws InvalidArgumentError */
export function preferredServer(text: string): string {
  if (text === '' || SERVER_NAME.test(text)) return text;
  throw new InvalidArgumentError('neither "nearest" nor the name of a server');
}

export function examples(...lines: string[]): string {
  return `\nExamples:\n${lines.map((line) => `  ${line}`).join('\n')}`;
}

export function jsonOption(): Option {
  return new Option('--json', 'for programs: one line of JSON for each').default(false);
}

/**
 * Collects what `work` prints, and prints it at the end: a line each as JSON, or one table. Also
 * when `work` fails.
 */
export async function printAll<Line>(
  asJson: boolean,
  tableOf: (lines: readonly Line[]) => string,
  work: (print: (line: unknown) => void) => Promise<void>,
): Promise<void> {
  const lines: Line[] = [];
  try {
    await work((line) => void lines.push(line as Line));
  } finally {
    if (asJson) lines.forEach(print);
    else if (lines.length > 0) print(tableOf(lines));
  }
}

/** The action of a command with `--json` that prints a line for each thing that `read` finds. */
export function listing<Line>(
  program: Command,
  tableOf: (lines: readonly Line[]) => string,
  read: (session: Session, show: (line: unknown) => void) => Promise<void>,
): (options: { json: boolean }) => Promise<void> {
  return ({ json }) => withSession(program, (session) => printAll(json, tableOf, (show) => read(session, show)));
}

export function waitOption(what: string, defaultMs: number): Option {
  return new Option('--wait <ms>', `${what} (milliseconds)`).argParser(integer(1)).default(defaultMs);
}

export function print(value: unknown): void {
  clearProgress();
  process.stdout.write(`${typeof value === 'string' ? value : JSON.stringify(value)}\n`);
}

export async function withSession(program: Command, work: (session: Session) => Promise<void>): Promise<void> {
  const { connectionOf, sessionOn } = await import('./session.js');
  const options = program.opts<GlobalOptions>();
  const connection = await connectionOf(options);
  try {
    await work(await sessionOn(connection, options));
  } finally {
    await connection.close();
  }
}
