/**
 * What the author of a state machine needs.
 *
 * @module craft/machine
 */
export { type DefineMachine, defineMachine, defineMachineFor, type Machine } from './define.js';
export {
  type BatchCommand,
  type CommandContext,
  type CommandContract,
  type CommandDefinition,
  type CommandOutcome,
  type QueryContract,
  type QueryDefinition,
  Reject,
  type StateMachine,
  type StateMachineContract,
} from './state-machine.js';
export type { Transaction } from './transaction.js';
