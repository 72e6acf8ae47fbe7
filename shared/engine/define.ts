/**
 * `defineMachine`: a state machine whose handlers get the types of its schemas, and whose own type
 * tells clients what commands and queries there are (`connectCraft<typeof machine>()`).
 */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { shapeProblem } from './shape.js';
import type { CommandContext, CommandContract, StateMachine } from './state-machine.js';
import type { Transaction } from './transaction.js';

/** By name. */
type Schemas = Readonly<Record<string, StandardSchemaV1>>;

/** What a schema makes of an input that it accepts. */
type Output<Schema> = Schema extends StandardSchemaV1 ? StandardSchemaV1.InferOutput<Schema> : never;

/**
 * What all commands of a machine have, given their schemas. The type of each result comes from the
 * handler.
 */
type Commands<Tx, Inputs> = {
  readonly [Name in keyof Inputs]: Omit<CommandContract, 'input'> & {
    readonly input: Inputs[Name];
    /**
     * Must be deterministic. Throw `Reject` to refuse the command: its writes are undone. The
     * result must be a JSON value.
     */
    readonly handle: (tx: Tx, input: Output<Inputs[Name]>, context: CommandContext) => Promise<unknown>;
  };
};

/** What all queries of a machine have, given their schemas. */
type Queries<Tx, Inputs> = {
  readonly [Name in keyof Inputs]: {
    readonly input: Inputs[Name];
    /** Reads only. The result must be a JSON value. */
    readonly handle: (tx: Tx, input: Output<Inputs[Name]>) => Promise<unknown>;
  };
};

/** Everything of a machine but its commands and queries. */
type Rest<Tx> = Omit<StateMachine<Tx>, 'commands' | 'queries'>;

/** A machine that knows the types of its inputs and results. */
export type Machine<Tx, C, Q> = Rest<Tx> & { readonly commands: C; readonly queries: Q };

/** `defineMachine` for handlers that get a transaction of type `Tx`. */
export type DefineMachine<Tx> = <
  CommandInputs extends Schemas,
  QueryInputs extends Schemas,
  C extends Readonly<Record<string, unknown>>,
  Q extends Readonly<Record<string, unknown>>,
>(
  machine: Rest<Tx> & {
    readonly commands: Commands<Tx, CommandInputs> & C;
    readonly queries: Queries<Tx, QueryInputs> & Q;
  },
) => Machine<Tx, C, Q>;

/**
 * Returns `machine` as it is, typed: handlers get the types of their schemas, and misspelt fields
 * do not compile. A schema is one of zod or of any other library of the Standard Schema interface
 * that validates synchronously.
 *
 *     export default defineMachine({
 *       name: 'bank',
 *       commands: {
 *         'bank.open': {
 *           input: z.strictObject({ account: z.string() }),
 *           handle: async (tx, { account }, { timestamp }) => { … },
 *         },
 *       },
 *       queries: {},
 *     });
 *
 * @throws TypeError when it is no state machine, for callers without types.
 */
export const defineMachine: DefineMachine<Transaction> = (machine) => requireShape(machine, defineMachine);

/**
 * `defineMachine` for a project whose drizzle-orm is of another version than that of craft: the
 * compiler takes classes of two versions for different ones. Name the transaction of your own copy:
 * `defineMachineFor<PgTransaction<…>>()({ … })`.
 */
export function defineMachineFor<Tx>(): DefineMachine<Tx> {
  const define: DefineMachine<Tx> = (machine) => requireShape(machine, define);
  return define;
}

/** The stack of the error begins where `define` was called: in the module of the machine. */
function requireShape<M>(machine: M, define: (machine: never) => unknown): M {
  const problem = shapeProblem(machine);
  if (problem === undefined) return machine;
  const error = new TypeError(`the machine ${problem}`);
  Error.captureStackTrace(error, define);
  throw error;
}
