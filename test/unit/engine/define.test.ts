/**
 * What the compiler knows of a machine that `defineMachine` has typed. The types are checked when
 * this file is compiled (`npm run types`); each line below `@ts-expect-error` must not compile.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { expect, expectTypeOf, it } from 'vitest';
import { z } from 'zod';
import {
  type CommandContext,
  defineMachine,
  defineMachineFor,
  type StateMachine,
  type Transaction,
} from '../../../shared/engine/index.js';

const open = z.strictObject({ account: z.string(), cents: z.coerce.number().default(0) });
const machine = defineMachine({
  name: 'bank',
  commands: {
    open: {
      input: open,
      handle: async (tx, input, context) => {
        expectTypeOf(tx).toEqualTypeOf<Transaction>();
        expectTypeOf(input).toEqualTypeOf<{ account: string; cents: number }>();
        expectTypeOf(context).toEqualTypeOf<CommandContext>();
        return { cents: input.cents };
      },
    },
    close: { input: z.strictObject({}), handle: async () => 'closed' as const },
  },
  queries: {
    balance: {
      input: z.strictObject({ account: z.string() }),
      handle: async (tx, input) => {
        expectTypeOf(tx).toEqualTypeOf<Transaction>();
        expectTypeOf(input).toEqualTypeOf<{ account: string }>();
        return input.account.length;
      },
    },
  },
});

it('handlers have the types of their schemas, and the machine those of its handlers', () => {
  expectTypeOf<keyof typeof machine.commands>().toEqualTypeOf<'open' | 'close'>();
  expectTypeOf(machine.commands.open.handle).returns.resolves.toEqualTypeOf<{ cents: number }>();
  expectTypeOf(machine.commands.close.handle).returns.resolves.toEqualTypeOf<'closed'>();
  expectTypeOf(machine.queries.balance.handle).returns.resolves.toEqualTypeOf<number>();
  expectTypeOf(machine.commands.open.input).toEqualTypeOf<typeof open>();
  expectTypeOf(machine).toExtend<StateMachine<Transaction>>();
  expect(Object.keys(machine.commands)).toEqual(['open', 'close']);
});

it('what is no machine does not compile, and is refused', () => {
  const input = z.strictObject({ account: z.string() });
  const handle = async () => null;
  // @ts-expect-error: the input has no such field
  defineMachine({ name: 'm', commands: { a: { input, handle: async (_, { cents }) => cents } }, queries: {} });
  // @ts-expect-error: a handler is asynchronous
  defineMachine({ name: 'm', commands: { a: { input, handle: () => 1 } }, queries: {} });
  // @ts-expect-error: no input
  expect(() => defineMachine({ name: 'm', commands: { a: { handle } }, queries: {} })).toThrow(TypeError);
  // @ts-expect-error: no queries
  expect(() => defineMachine({ name: 'm', commands: { a: { input, handle } } })).toThrow(TypeError);
  // @ts-expect-error: an input that is no schema
  expect(() => defineMachine({ name: 'm', commands: { a: { input: {}, handle } }, queries: {} })).toThrow(TypeError);
});

it('schemas of another library, and transactions of another copy of Drizzle', () => {
  const positive: StandardSchemaV1<string, number> = {
    '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: Number(value) }) },
  };
  interface OtherTransaction {
    read(key: string): Promise<string>;
  }
  const other = defineMachineFor<OtherTransaction>()({
    name: 'other',
    commands: {
      add: {
        input: positive,
        handle: async (tx, input) => {
          expectTypeOf(input).toEqualTypeOf<number>();
          return tx.read(String(input));
        },
      },
    },
    queries: {},
  });
  expectTypeOf(other.commands.add.handle).returns.resolves.toEqualTypeOf<string>();
  expect(other.name).toBe('other');
});
