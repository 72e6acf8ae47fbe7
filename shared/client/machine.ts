/**
 * What the compiler knows of a cluster's state machine: `connectCraft<typeof machine>()`. Types
 * only. They name the shape of a machine and import nothing of it, so a machine and a client may
 * come from two copies of the package.
 */
import type { CommandOptions, CommandReply, QueryOptions } from './options.js';

/** A schema of any library of the Standard Schema interface. */
interface Schema {
  readonly '~standard': { readonly types?: { readonly input: unknown } | undefined };
}

interface Definition {
  readonly input: Schema;
  readonly handle: (...given: never[]) => unknown;
}

/** The part of a state machine that tells a client what it may ask for. */
export interface MachineTypes {
  readonly commands: Readonly<Record<string, Definition>>;
  readonly queries: Readonly<Record<string, Definition>>;
}

/** The names of commands or queries. */
export type NameOf<Definitions> = keyof Definitions & string;

/** What a caller gives: the input of the schema, before defaults and conversions. */
export type InputOf<Given> = Given extends { readonly input: infer S extends Schema }
  ? NonNullable<S['~standard']['types']>['input']
  : never;

/** What a caller gets: the handler's result as JSON carries it. */
export type ResultOf<Given> = Given extends { readonly handle: (...given: never[]) => infer Result }
  ? JsonOf<Awaited<Result>>
  : never;

/**
 * A value of type `T` after its way through JSON: a Date becomes a string, `undefined` becomes
 * null, or is left out of an object.
 */
export type JsonOf<T> = unknown extends T
  ? T
  : T extends { toJSON(): infer Json }
    ? JsonOf<Json>
    : T extends string | number | boolean | null
      ? T
      : T extends undefined
        ? null
        : T extends bigint | symbol | Callable
          ? never
          : T extends readonly (infer Element)[]
            ? number extends T['length']
              ? JsonOf<Element>[]
              : { -readonly [At in keyof T]: JsonOf<T[At]> }
            : {
                [Key in keyof T as Key extends symbol ? never : T[Key] extends Callable ? never : Key]: JsonField<
                  T[Key]
                >;
              };

type JsonField<T> = undefined extends T ? JsonOf<Exclude<T, undefined>> | undefined : JsonOf<T>;
type Callable = (...given: never[]) => unknown;

/** A reply to a command that was applied. */
export interface AppliedReply<Result = unknown> extends CommandReply<Result> {
  readonly index: number;
  readonly result: Result;
}

/** A reply has a result when the command was to be applied, which is the default. */
export type ReplyTo<Result, Options> = Options extends { readonly ack: infer Ack }
  ? [Ack] extends ['applied']
    ? AppliedReply<Result>
    : CommandReply<Result>
  : 'ack' extends keyof Options
    ? CommandReply<Result>
    : AppliedReply<Result>;

/** One function for each command: `craft.commands['bank.open']({ … })`. */
export type CommandCalls<Commands> = {
  readonly [Name in NameOf<Commands>]: <const Options extends CommandOptions = object>(
    input: InputOf<Commands[Name]>,
    options?: Options,
  ) => Promise<ReplyTo<ResultOf<Commands[Name]>, Options>>;
};

/** One function for each query: `craft.queries['bank.balance']({ … })`. */
export type QueryCalls<Queries> = {
  readonly [Name in NameOf<Queries>]: (
    input: InputOf<Queries[Name]>,
    options?: QueryOptions,
  ) => Promise<ResultOf<Queries[Name]>>;
};

/** A function for whatever name is asked for. */
export function callsByName<Calls>(call: (name: string, input: unknown, options?: object) => Promise<unknown>): Calls {
  return new Proxy({} as object, {
    get: (_, name) =>
      // One that had `then` would pass for a promise.
      typeof name === 'string' && name !== 'then'
        ? (input: unknown, options?: object) => call(name, input, options)
        : undefined,
  }) as Calls;
}
