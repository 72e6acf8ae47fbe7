/** Everything that can happen to a real cluster. A new fault is an object in one of these lists. */
import type { Fault } from './fault.js';
import { MACHINE_FAULTS } from './machine.js';
import { NETWORK_FAULTS } from './network.js';
import { OPERATIONS } from './operations.js';
import { PROCESS_FAULTS } from './processes.js';

export type { Fault, Surroundings } from './fault.js';

export const FAULTS: readonly Fault[] = [...PROCESS_FAULTS, ...NETWORK_FAULTS, ...MACHINE_FAULTS, ...OPERATIONS];

/** Throws RangeError for a name that no fault has. */
export function faultOf(name: string): Fault {
  const found = FAULTS.find((fault) => fault.name === name);
  if (found !== undefined) return found;
  throw new RangeError(`no fault ${name}; there are ${FAULTS.map((fault) => fault.name).join(', ')}`);
}
