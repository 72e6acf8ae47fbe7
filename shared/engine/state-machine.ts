/**
 * A state machine as its author writes it: commands and queries, each with a schema for its input,
 * and handlers that must be deterministic. The replica needs the contract only (to refuse bad input
 * before it is appended), the applier all of it.
 *
 * `Tx` is what the engine gives to handlers: for the Postgres engine a Drizzle transaction.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec';

/** All that a handler may know besides its input and the transaction; the same at every server. */
export interface CommandContext {
  /** Merged index of the entry. */
  readonly index: number;
  /** Of the entry (integer microseconds since the Unix epoch). */
  readonly timestamp: number;
  /** The client's idempotency id, or an empty string. */
  readonly id: string;
  /** Uniform in [0, 1), from a generator seeded with the merged index and timestamp. */
  readonly random: () => number;
}

/** Marks a Reject, also one of a second copy of this package. */
const REJECT = Symbol.for('craft.reject');

/**
 * Thrown by a handler to say no; deterministic, recorded as the command's result, its writes
 * undone.
 */
export class Reject extends Error {
  readonly [REJECT] = true;
  constructor(message: string) {
    super(message);
    this.name = 'Reject';
  }
}

/** The Reject that `error` is, or that a library has wrapped in it. */
export function rejectOf(error: unknown): Error | undefined {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    if (REJECT in at) return at;
  }
  return undefined;
}

/** What may be asked of a command: its input, without the code that executes it. */
export interface CommandContract<Input = unknown> {
  /**
   * Of zod, or of another library of the Standard Schema interface that validates synchronously.
   */
  readonly input: StandardSchemaV1<unknown, Input>;
  /**
   * Decodes an `application/protobuf` payload into the value that `input` then validates. Throws on
   * bad bytes.
   */
  readonly fromProtobuf?: (payload: Uint8Array) => unknown;
  /**
   * Optional shortcut past `input` for a command that must be fast: true only for values that
   * `input` accepts and leaves as they are. Anything else goes through `input`, which also finds
   * the words for what is wrong.
   */
  readonly isPlain?: (value: unknown) => boolean;
}

/** What may be asked of a query: its input, without the code that reads. */
export interface QueryContract<Input = unknown> {
  readonly input: StandardSchemaV1<unknown, Input>;
}

/** What may be asked of a state machine: names and inputs, without the code that answers. */
export interface StateMachineContract {
  readonly name: string;
  /**
   * An integer from 1 (the default) to 2,147,483,647. Give every change of what commands do, or of
   * the tables, a number of its own.
   */
  readonly version?: number;
  // biome-ignore lint/suspicious/noExplicitAny: each definition fixes its own input type
  readonly commands: Readonly<Record<string, CommandContract<any>>>;
  // biome-ignore lint/suspicious/noExplicitAny: each definition fixes its own input type
  readonly queries: Readonly<Record<string, QueryContract<any>>>;
}

/** A state machine's name, and one of its versions. */
export interface MachineVersion {
  readonly name: string;
  readonly version: number;
}

export const VERSION_MAX = 2_147_483_647;

export function versionOf({ name, version = 1 }: Pick<StateMachineContract, 'name' | 'version'>): MachineVersion {
  return { name, version };
}

/** A command: its input, and the handler that executes it. */
export interface CommandDefinition<Tx, Input = unknown> extends CommandContract<Input> {
  /** Runs inside a savepoint of the batch's transaction. The result must be a JSON value. */
  readonly handle: (tx: Tx, input: Input, context: CommandContext) => Promise<unknown>;
}

/** A query: its input, and the handler that reads. */
export interface QueryDefinition<Tx, Input = unknown> extends QueryContract<Input> {
  /** Reads only. The result must be a JSON value. */
  readonly handle: (tx: Tx, input: Input) => Promise<unknown>;
}

/**
 * What one command of a batch came to. `json` is JSON text. Without it nothing was written, and
 * `message` says why: the state machine said no, or (`failed`) the handler has a defect. Both are
 * final: every server records the same.
 */
export type CommandOutcome =
  | { readonly ok: true; readonly json: string }
  | { readonly ok: false; readonly message: string; readonly failed?: true };

/** One command of a run that `applyBatch` executes. */
export interface BatchCommand {
  readonly name: string;
  readonly input: unknown;
  readonly context: CommandContext;
}

export interface StateMachine<Tx> extends StateMachineContract {
  // biome-ignore lint/suspicious/noExplicitAny: each definition fixes its own input type
  readonly commands: Readonly<Record<string, CommandDefinition<Tx, any>>>;
  // biome-ignore lint/suspicious/noExplicitAny: each definition fixes its own input type
  readonly queries: Readonly<Record<string, QueryDefinition<Tx, any>>>;
  /**
   * Optional: folder with the machine's own drizzle-kit migrations. Those of the first version run
   * when the applier starts, those that a later version has besides run when the cluster switches
   * to it (T12).
   */
  readonly migrations?: string;
  /**
   * Optional: the tag of the last migration of this version, where later versions have theirs in
   * the same folder.
   */
  readonly lastMigration?: string;
  /**
   * Optional: executes a run of commands with few statements instead of one handler call each. Must
   * leave the same state and outcomes as the handlers called in order.
   */
  readonly applyBatch?: (tx: Tx, commands: readonly BatchCommand[]) => Promise<CommandOutcome[]>;
}
