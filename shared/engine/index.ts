/** `craft/machine`: what the author of a state machine needs. */
export { type DefineMachine, defineMachine, defineMachineFor, type Machine } from './define.js';
export { type CommandContext, Reject, type StateMachine } from './state-machine.js';
export type { Transaction } from './transaction.js';
