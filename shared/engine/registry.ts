/**
 * From a command's name and payload to what goes into the log: the state machine's contract is
 * looked up and the input is validated before anything is appended. On the leader's path of every
 * command.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { CraftError } from '../wire/errors.js';
import { RESTORE_COMMAND } from '../wire/restore.js';
import { JsonTextError, parseJson } from './json-text.js';
import type { CommandContract, StateMachineContract } from './state-machine.js';

export type { StateMachineContract } from './state-machine.js';

/** Largest payload of a command, unless a server's configuration says otherwise (bytes). */
export const DEFAULT_PAYLOAD_BYTES_MAX = 256 * 1024;

const encoder = new TextEncoder();
/** A client gets at most this much of what is wrong with its input (characters, problems). */
const MESSAGE_LENGTH_MAX = 400;
const PROBLEMS_MAX = 3;
/** No JSON text grows more than so many times when numbers get all their digits: `1e20` has 21. */
const EXPANSION_MAX = 6;

/**
 * Checks a command and returns its payload for the log: the client's own bytes when they are JSON,
 * else their JSON form. Neither they nor what JSON makes of the input are more than `bytesMax`:
 * `1e20` comes back as 21 digits, and an answer has to fit into a message, too.
 * @throws CraftError UNKNOWN_COMMAND; INVALID_ARGUMENT with the names of the fields that are wrong;
 *   PAYLOAD_TOO_LARGE.
 */
export function prepareCommand(
  machine: StateMachineContract,
  name: string,
  payload: Uint8Array,
  format: 'json' | 'protobuf',
  bytesMax: number,
): Uint8Array {
  if (payload.length > bytesMax) {
    throw new CraftError('PAYLOAD_TOO_LARGE', `payload of ${payload.length} bytes, at most ${bytesMax}`);
  }
  const contract = commandOf(machine, name);
  try {
    if (format === 'json') {
      const value = parseJson(payload);
      accept(contract, value);
      if (payload.length * EXPANSION_MAX > bytesMax) requireSize(JSON.stringify(value), bytesMax);
      return payload;
    }
    const value = convert(contract, name, payload);
    // Not the shortcut: that is for what has been checked as JSON text.
    check(contract.input, value);
    const text = JSON.stringify(value);
    requireSize(text, bytesMax);
    return encoder.encode(text);
  } catch (error) {
    if (error instanceof JsonTextError) {
      throw new CraftError('INVALID_ARGUMENT', `the payload ${error.message}`, { cause: error });
    }
    throw error;
  }
}

/** @throws CraftError PAYLOAD_TOO_LARGE */
function requireSize(json: string, bytesMax: number): void {
  const bytes = Buffer.byteLength(json);
  if (bytes <= bytesMax) return;
  throw new CraftError('PAYLOAD_TOO_LARGE', `payload of ${bytes} bytes as plain JSON, at most ${bytesMax}`);
}

/**
 * Reads a committed entry's payload. `refused` says why not: the entry got past the validation of
 * another version. That is recorded as its result at every server, so it is the same text
 * everywhere, whatever the versions of Node and zod say to it.
 */
export function readInput(
  machine: StateMachineContract,
  name: string,
  payload: Uint8Array,
): { readonly input: unknown } | { readonly refused: string } {
  if (name === RESTORE_COMMAND) return { refused: 'restore refused: a state exists and `replace` was not set' };
  if (!Object.hasOwn(machine.commands, name)) return { refused: `there is no command ${quote(name)}` };
  try {
    return { input: accept(commandOf(machine, name), parseJson(payload)) };
  } catch (error) {
    if (error instanceof JsonTextError) return { refused: 'the payload is not acceptable JSON' };
    if (error instanceof CraftError) return { refused: `the input is not one of ${quote(name)}` };
    throw error;
  }
}

/** Validates a query's input. Throws like `prepareCommand`. */
export function validateQuery(machine: StateMachineContract, name: string, value: unknown): unknown {
  const query = Object.hasOwn(machine.queries, name) ? machine.queries[name] : undefined;
  if (query === undefined) throw new CraftError('UNKNOWN_COMMAND', `there is no query ${quote(name)}`);
  return check(query.input, value);
}

// Own properties only: `constructor` is no command.
function commandOf(machine: StateMachineContract, name: string): CommandContract {
  const command = Object.hasOwn(machine.commands, name) ? machine.commands[name] : undefined;
  if (command === undefined) throw new CraftError('UNKNOWN_COMMAND', `there is no command ${quote(name)}`);
  return command;
}

function quote(name: string): string {
  return JSON.stringify(name.slice(0, 100));
}

function convert(contract: CommandContract, name: string, payload: Uint8Array): unknown {
  if (contract.fromProtobuf === undefined) {
    throw new CraftError('INVALID_ARGUMENT', `command ${quote(name)} takes JSON only`);
  }
  try {
    return contract.fromProtobuf(payload);
  } catch (cause) {
    if (cause instanceof JsonTextError || cause instanceof CraftError) throw cause;
    throw new CraftError('INVALID_ARGUMENT', 'the payload is not the protobuf message of this command', { cause });
  }
}

function accept(contract: CommandContract, value: unknown): unknown {
  return contract.isPlain?.(value) ? value : check(contract.input, value);
}

function check<Input>(schema: StandardSchemaV1<unknown, Input>, value: unknown): Input {
  const checked = schema['~standard'].validate(value);
  if (checked instanceof Promise) {
    // Nobody waits for it.
    checked.catch(() => undefined);
    throw new CraftError(
      'INTERNAL',
      'the schema of the input validates asynchronously, which a state machine must not',
    );
  }
  const { issues } = checked;
  if (issues === undefined) return checked.value;
  const problems = issues.slice(0, PROBLEMS_MAX).map((issue) => `${fieldOf(issue.path ?? [])}: ${issue.message}`);
  if (issues.length > PROBLEMS_MAX) problems.push(`and ${issues.length - PROBLEMS_MAX} more`);
  const message = problems.join('; ');
  throw new CraftError(
    'INVALID_ARGUMENT',
    message.length > MESSAGE_LENGTH_MAX ? `${message.slice(0, MESSAGE_LENGTH_MAX)}…` : message,
  );
}

/** `ops[1].put.key` */
function fieldOf(path: NonNullable<StandardSchemaV1.Issue['path']>): string {
  let field = '';
  for (const segment of path) {
    const part = typeof segment === 'object' ? segment.key : segment;
    if (typeof part === 'number') field += `[${part}]`;
    else field += field === '' ? String(part) : `.${String(part)}`;
  }
  return field === '' ? 'the input' : field;
}
