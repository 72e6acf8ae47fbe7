/**
 * What a `craft.machine` comes to at its place in the log (T12). Pure: it depends on its payload
 * and on what is in force there, so every server decides alike.
 *
 * A log begins with version 1. It goes up only: a state that a later version has made is none of an
 * earlier one's.
 */

import type { MergedIndex } from '../raft/entry.js';
import { type MachineInput, machineInput } from '../wire/machine.js';
import type { CommandOutcome, MachineVersion } from './state-machine.js';

/** The version with which a log begins, and with which a state goes on that says none. */
export const FIRST_VERSION = 1;

/**
 * `to`: the version that is to be in force, once its migrations have run. Without it nothing
 * changes, and there is an outcome.
 */
export type Switch = { readonly to: number } | { readonly outcome: CommandOutcome };

/** `inForce` at the merged index of the command. */
export function switchOf(payload: Uint8Array, inForce: MachineVersion, mergedIndex: MergedIndex): Switch {
  const input = readMachineInput(payload);
  if (input === undefined) return refused('the input is not one of "craft.machine"');
  if (input.name !== inForce.name) {
    return refused(`the state machine is ${JSON.stringify(inForce.name)}, not ${JSON.stringify(input.name)}`);
  }
  if (input.version < inForce.version) {
    return refused(`version ${inForce.version} is in force, and there is no way back to version ${input.version}`);
  }
  if (input.initial === true && mergedIndex > 1) return refused('the log has begun already');
  return input.version === inForce.version ? { outcome: switched(inForce) } : { to: input.version };
}

/** What the command that has put this into force is answered with. */
export function switched({ name, version }: MachineVersion): CommandOutcome {
  return { ok: true, json: JSON.stringify({ name, version }) };
}

function refused(message: string): Switch {
  return { outcome: { ok: false, message } };
}

function readMachineInput(payload: Uint8Array): MachineInput | undefined {
  try {
    return machineInput.safeParse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))).data;
  } catch {
    return undefined;
  }
}
