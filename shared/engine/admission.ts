/**
 * What a leader lets into the log (T12): commands of the version in force, as far as its server
 * knows which one that is. An entry that gets past another version's validation is recorded as
 * refused at its place in the log; so nothing here has to be certain.
 */

import { type MergedIndex, NOTHING_MERGED } from '../raft/entry.js';
import { CraftError } from '../wire/errors.js';
import type { MachineInput, VersionNotice } from '../wire/machine.js';
import type { LoadedMachine, LoadedVersion } from './loading.js';
import { prepareCommand } from './registry.js';
import type { StateMachineContract } from './state-machine.js';
import { FIRST_VERSION } from './switch.js';

interface GivenCommand {
  readonly name: string;
  readonly payload: Uint8Array;
  readonly format: 'json' | 'protobuf';
  readonly bytesMax: number;
}

export class Admission {
  /** As the applier of this server says; undefined before it has said anything. */
  private inForce: number | undefined;
  /** The merged index that this was said of. */
  private toldAt: MergedIndex = NOTHING_MERGED;

  constructor(private readonly loaded: LoadedMachine) {}

  /**
   * A state that has gone back (its database was emptied) says nothing of what is in force where
   * the log ends.
   */
  onInForce({ version, mergedIndex }: VersionNotice): void {
    if (mergedIndex < this.toldAt) return;
    this.toldAt = mergedIndex;
    this.inForce = version;
  }

  /**
   * Checks a command and returns its payload for the log.
   * @throws CraftError UNKNOWN_COMMAND, INVALID_ARGUMENT: neither the version in force nor a newer
   *   one takes it. UNAVAILABLE: a newer one does; or the version in force is not loaded, or not
   *   known. PAYLOAD_TOO_LARGE: more than `bytesMax` bytes.
   */
  prepare(name: string, payload: Uint8Array, format: 'json' | 'protobuf', bytesMax: number): Uint8Array {
    const given = { name, payload, format, bytesMax };
    const { inForce, loaded } = this;
    if (inForce !== undefined) {
      const found = loaded.versions.find(({ version }) => version === inForce);
      if (found !== undefined) return this.prepareBy(found, given);
      throw new CraftError(
        'UNAVAILABLE',
        `version ${inForce} of the state machine is in force, which this server has not loaded`,
      );
    }
    // A log begins with the first version: where that is not loaded, another one has to be in
    // force.
    if (loaded.versions[0].version !== FIRST_VERSION) {
      throw new CraftError(
        'UNAVAILABLE',
        'this server does not know yet which version of the state machine is in force',
      );
    }
    return this.prepareByAny(given);
  }

  /** @throws CraftError INVALID_ARGUMENT for a switch that this server could not follow. */
  requireSwitch({ name, version }: MachineInput): void {
    const { loaded } = this;
    if (name !== loaded.name) {
      throw new CraftError('INVALID_ARGUMENT', `the state machine is ${JSON.stringify(loaded.name)}`);
    }
    if (loaded.versions.some((one) => one.version === version)) return;
    throw new CraftError('INVALID_ARGUMENT', `the leader of group 0 has not loaded version ${version}`);
  }

  /**
   * What a newer version takes is not refused for good: the log may be past the switch to it, and
   * this state only behind.
   */
  private prepareBy({ version, contract }: LoadedVersion, given: GivenCommand): Uint8Array {
    try {
      return prepare(contract, given);
    } catch (error) {
      const newer = this.loaded.versions.find((one) => one.version > version && takes(one, given));
      if (!(error instanceof CraftError) || newer === undefined) throw error;
      throw new CraftError(
        'UNAVAILABLE',
        `version ${newer.version} of the state machine takes this; version ${version} is in force at this server`,
        { cause: error },
      );
    }
  }

  /** What any version takes; for what none does, the newest one says why. */
  private prepareByAny(given: GivenCommand): Uint8Array {
    const { versions, newest } = this.loaded;
    for (const { contract } of versions) {
      try {
        return prepare(contract, given);
      } catch (error) {
        if (!(error instanceof CraftError) || contract === newest.contract) throw error;
      }
    }
    throw new CraftError('UNKNOWN_COMMAND', 'there is no such command');
  }
}

function prepare(contract: StateMachineContract, { name, payload, format, bytesMax }: GivenCommand): Uint8Array {
  return prepareCommand(contract, name, payload, format, bytesMax);
}

function takes({ contract }: LoadedVersion, given: GivenCommand): boolean {
  try {
    prepare(contract, given);
    return true;
  } catch (error) {
    if (error instanceof CraftError) return false;
    throw error;
  }
}
