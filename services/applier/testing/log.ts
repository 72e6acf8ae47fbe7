/**
 * The merged log of a test: commands get consecutive places in it, and one group has appended them
 * all.
 */
import { type EngineBatch, type EnginePosition, type MergedCommand, positionIn } from '../../../shared/engine/port.js';
import { DEFAULT_PAYLOAD_BYTES_MAX, prepareCommand } from '../../../shared/engine/registry.js';
import { type MachineVersion, type StateMachineContract, versionOf } from '../../../shared/engine/state-machine.js';
import type { RunningChecksum } from '../../../shared/merge/checksum.js';
import type { LogIndex, MergedIndex, Timestamp } from '../../../shared/raft/entry.js';
import { MACHINE_COMMAND, type MachineInput } from '../../../shared/wire/machine.js';

/** Of the first command, unless the test says otherwise (microseconds since the Unix epoch). */
const FIRST_TIMESTAMP = 1_800_000_000_000_000;

/** What a client may give besides the input, and the time. */
export interface TestCommandOptions {
  /** Idempotency id: of all commands with one id the first takes effect. Default: none. */
  readonly id?: string;
  /**
   * What handlers get as `context.timestamp`; later than that of the command before. Default: a
   * microsecond later.
   */
  readonly timestamp?: number;
}

export class TestLog {
  private mergedIndex: MergedIndex;
  private timestamp: Timestamp;
  private groupIndex: LogIndex;

  /** Goes on after `position`. */
  constructor(position: EnginePosition) {
    this.mergedIndex = position.mergedIndex;
    this.timestamp = Math.max(position.timestamp, FIRST_TIMESTAMP - 1);
    this.groupIndex = positionIn(position.positions, 0).index;
  }

  /**
   * The next command of the log, checked as a leader checks it.
   * @throws InvalidArgumentError, UnknownCommandError, RangeError for a timestamp that is not
   *   later; nothing is appended then
   */
  append(machine: StateMachineContract, name: string, input: unknown, options: TestCommandOptions): MergedCommand {
    const given = new TextEncoder().encode(JSON.stringify(input) ?? '');
    const payload = prepareCommand(machine, name, given, 'json', DEFAULT_PAYLOAD_BYTES_MAX);
    const { id = '', timestamp = this.timestamp + 1 } = options;
    if (!Number.isSafeInteger(timestamp) || timestamp <= this.timestamp) {
      throw new RangeError(`timestamp ${timestamp} is not an integer later than ${this.timestamp}`);
    }
    return this.entry(name, payload, id, timestamp);
  }

  /**
   * The command that switches a database to the version of `machine` (T12); undefined when that is
   * in force. A database begins with version 1.
   * @throws RangeError when a later version is in force; nothing is appended then
   */
  switchTo(machine: StateMachineContract, inForce: MachineVersion): MergedCommand | undefined {
    const { name, version } = versionOf(machine);
    if (version === inForce.version) return undefined;
    if (version < inForce.version) {
      throw new RangeError(
        `the database has version ${inForce.version} of ${name} in force: test version ${version} on another one`,
      );
    }
    const input: MachineInput = { name, version };
    return this.entry(MACHINE_COMMAND, new TextEncoder().encode(JSON.stringify(input)), '', this.timestamp + 1);
  }

  private entry(name: string, payload: Uint8Array, id: string, timestamp: Timestamp): MergedCommand {
    this.timestamp = timestamp;
    this.mergedIndex += 1;
    this.groupIndex += 1;
    const { mergedIndex, groupIndex: index } = this;
    const place = { mergedIndex, group: 0, index, term: 1, timestamp };
    return { ...place, name, payload, id, server: 'test', reply: '', traceparent: '', replyFormat: 'json' };
  }
}

/** The commands as one batch, after what `checksum` covers until now. */
export function batchOf(commands: readonly MergedCommand[], checksum: RunningChecksum): EngineBatch {
  for (const { group, index, payload } of commands) checksum.add(group, index, payload);
  return { commands, checksum: checksum.toString() };
}
