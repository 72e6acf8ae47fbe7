/**
 * What the key-value commands do, one at a time, on a view of the rows that they touch. Pure and
 * synchronous: the memory engine and the Postgres engine both run this, the one on its rows, the
 * other on what it has read of them.
 */
import type { MergedIndex, Timestamp } from '../../raft/entry.js';
import { MACHINE_COMMAND } from '../../wire/machine.js';
import { readInput } from '../registry.js';
import { type CommandOutcome, Reject, rejectOf, versionOf } from '../state-machine.js';
import { switched, switchOf } from '../switch.js';
import { VERIFY_COMMAND, VERIFY_OUTCOME } from '../verify.js';
import { kvContract } from './contract.js';
import type { DeleteInput, OperationInput, PutInput, TxnInput } from './schema.js';

/** A row as the last command that wrote it left it. */
export interface KvRow {
  readonly version: number;
  /** JSON text. */
  readonly json: string;
  readonly mergedIndex: MergedIndex;
  readonly timestamp: Timestamp;
}

/** The rows before the batch; only the version matters to a command. 0: no such key. */
export type VersionOf = (key: string) => number;

/** A command whose payload has been read, so that the keys it touches are known. */
export interface KvCommand {
  readonly name: string;
  readonly operations: readonly OperationInput[];
  readonly mergedIndex: MergedIndex;
  readonly timestamp: Timestamp;
}

/**
 * Reads a payload; a string says why it is refused (for an entry that got past another version's
 * validation).
 */
export function readKvCommand(command: {
  readonly name: string;
  readonly payload: Uint8Array;
  readonly mergedIndex: MergedIndex;
  readonly timestamp: Timestamp;
}): KvCommand | string {
  const { name, payload, mergedIndex, timestamp } = command;
  if (name === VERIFY_COMMAND) return { name, operations: [], mergedIndex, timestamp };
  if (name === MACHINE_COMMAND)
    return readSwitch(payload, mergedIndex) ?? { name, operations: [], mergedIndex, timestamp };
  const read = readInput(kvContract, name, payload);
  if ('refused' in read) return read.refused;
  return { name, operations: operationsOf(name, read.input), mergedIndex, timestamp };
}

/**
 * Why the built-in machine is not switched: it has one version only. Undefined when it is in force
 * already.
 */
function readSwitch(payload: Uint8Array, mergedIndex: MergedIndex): string | undefined {
  const decided = switchOf(payload, versionOf(kvContract), mergedIndex);
  if ('to' in decided) return `there is no version ${decided.to} of the built-in machine`;
  return decided.outcome.ok ? undefined : decided.outcome.message;
}

function operationsOf(name: string, input: unknown): readonly OperationInput[] {
  if (name === 'kv.put') return [{ put: input as PutInput }];
  if (name === 'kv.delete') return [{ delete: input as DeleteInput }];
  return (input as TxnInput).ops;
}

/**
 * The rows that a batch writes: null for one that it deletes. Commands see what the ones before
 * them wrote.
 */
export class KvOverlay {
  readonly writes = new Map<string, KvRow | null>();

  constructor(private readonly versionOf: VersionOf) {}

  /** Runs one command; a rejected one leaves no trace. */
  execute(command: KvCommand): CommandOutcome {
    if (command.name === VERIFY_COMMAND) return VERIFY_OUTCOME;
    if (command.name === MACHINE_COMMAND) return switched(versionOf(kvContract));
    const [first] = command.operations;
    try {
      if (command.name !== 'kv.txn' && first !== undefined) {
        return { ok: true, json: this.run(first, command, this.writes) };
      }
      return { ok: true, json: this.transaction(command) };
    } catch (error) {
      const reject = rejectOf(error);
      if (reject !== undefined) return { ok: false, message: reject.message };
      throw error;
    }
  }

  private transaction(command: KvCommand): string {
    const writes = new Map<string, KvRow | null>();
    const results = command.operations.map((operation, at) => {
      try {
        return this.run(operation, command, writes);
      } catch (error) {
        throw error instanceof Reject ? new Reject(`ops[${at}]: ${error.message}`) : error;
      }
    });
    for (const [key, row] of writes) this.writes.set(key, row);
    return `{"results":[${results.join(',')}]}`;
  }

  /** Returns the result as JSON text. */
  private run(operation: OperationInput, command: KvCommand, writes: Map<string, KvRow | null>): string {
    const { mergedIndex, timestamp } = command;
    if (operation.put !== undefined) {
      const { key, value, ifVersion } = operation.put;
      const version = this.checkedVersion(key, ifVersion, writes) + 1;
      writes.set(key, { version, json: JSON.stringify(value), mergedIndex, timestamp });
      return `{"version":${version}}`;
    }
    if (operation.delete !== undefined) {
      const { key, ifVersion } = operation.delete;
      const exists = this.checkedVersion(key, ifVersion, writes) > 0;
      if (exists) writes.set(key, null);
      return `{"deleted":${exists}}`;
    }
    throw new Reject('an operation is neither put nor delete');
  }

  private checkedVersion(key: string, ifVersion: number | undefined, writes: Map<string, KvRow | null>): number {
    let written = writes.get(key);
    if (written === undefined && writes !== this.writes) written = this.writes.get(key);
    const version = written === undefined ? this.versionOf(key) : (written?.version ?? 0);
    if (ifVersion !== undefined && ifVersion !== version) throw new Reject(mismatch(key, version, ifVersion));
    return version;
  }
}

function mismatch(key: string, version: number, ifVersion: number): string {
  const name = JSON.stringify(key);
  if (version === 0) return `key ${name} does not exist, ifVersion is ${ifVersion}`;
  return `key ${name} has version ${version}, ifVersion is ${ifVersion}`;
}
