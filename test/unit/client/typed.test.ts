/**
 * What the compiler knows of the cluster's state machine. The types are checked when this file is
 * compiled (`npm run types`); each line below `@ts-expect-error` must not compile.
 */
import { expect, expectTypeOf, it } from 'vitest';
import { z } from 'zod';
import type { AppliedReply, CommandReply, CraftClient, JsonOf } from '../../../shared/client/index.js';
import { callsByName } from '../../../shared/client/machine.js';
import { defineMachine } from '../../../shared/engine/index.js';

const machine = defineMachine({
  name: 'bank',
  commands: {
    'bank.open': {
      input: z.strictObject({ account: z.string(), cents: z.coerce.number().default(0) }),
      handle: async (_, { account }) => ({ account, openedAt: new Date(0) }),
    },
    close: { input: z.strictObject({}), handle: async () => undefined },
  },
  queries: {
    balance: { input: z.strictObject({ account: z.string() }), handle: async () => [1, 2] as number[] | null },
  },
});
type Bank = CraftClient<typeof machine>;

/** Compiled only. */
async function typed(craft: Bank, untyped: CraftClient): Promise<void> {
  // The default of `cents` is the schema's; what travels as JSON is what the schema takes.
  const opened = await craft.command('bank.open', { account: 'a' });
  expectTypeOf(opened).toEqualTypeOf<AppliedReply<{ account: string; openedAt: string }>>();
  expectTypeOf(await craft.commands['bank.open']({ account: 'a' }, { id: 'i' })).toEqualTypeOf<typeof opened>();
  expectTypeOf((await craft.command('close', {})).result).toEqualTypeOf<null>();
  expectTypeOf(await craft.query('balance', { account: 'a' })).toEqualTypeOf<number[] | null>();
  expectTypeOf(await craft.queries.balance({ account: 'a' })).toEqualTypeOf<number[] | null>();
  // Only what was applied has a result.
  expectTypeOf(await craft.command('close', {}, { ack: 'applied' })).toEqualTypeOf<AppliedReply<null>>();
  expectTypeOf(await craft.command('close', {}, { ack: 'ordered' })).toEqualTypeOf<CommandReply<null>>();
  const ack = 'applied' as 'applied' | 'committed';
  expectTypeOf(await craft.commands.close({}, { ack })).toEqualTypeOf<CommandReply<null>>();

  // @ts-expect-error: no such command
  await craft.command('bank.opne', { account: 'a' });
  // @ts-expect-error: no such command
  await craft.commands.opne({ account: 'a' });
  // @ts-expect-error: a query is no command
  await craft.command('balance', { account: 'a' });
  // @ts-expect-error: the input lacks a field
  await craft.command('bank.open', {});
  // @ts-expect-error: the input has a field of another name
  await craft.command('bank.open', { account: 'a', cent: 1 });
  // @ts-expect-error: the input has a field of another type
  await craft.query('balance', { account: 1 });
  // @ts-expect-error: no such acknowledgement
  await craft.command('close', {}, { ack: 'soon' });

  // Without a machine everything may be asked.
  expectTypeOf(await untyped.command('any', 1)).toEqualTypeOf<AppliedReply<unknown>>();
  expectTypeOf(await untyped.query('any', 1)).toEqualTypeOf<unknown>();
}

it('there is a call for each name', async () => {
  expect(typed).toBeInstanceOf(Function);
  type Calls = Record<string, (input: unknown, options?: object) => Promise<unknown>>;
  const calls = callsByName<Calls>(async (...given) => given);
  expect(await calls['bank.open']?.({ account: 'a' }, { id: 'i' })).toEqual([
    'bank.open',
    { account: 'a' },
    { id: 'i' },
  ]);
  // Awaited by mistake it stays what it is.
  expect(await Promise.resolve(calls)).toBe(calls);
});

it('results are what JSON makes of them', () => {
  class Account {
    readonly id = 'a';
    close(): void {}
  }
  interface Given {
    readonly at: Date;
    readonly account: Account;
    readonly nested: readonly { readonly note?: string; readonly by: string | undefined }[];
    readonly pair: readonly [1, Date];
  }
  interface Made {
    readonly at: string;
    readonly account: { readonly id: 'a' };
    readonly nested: { readonly note?: string; readonly by: string | undefined }[];
    readonly pair: [1, string];
  }
  expectTypeOf<JsonOf<Given>>().branded.toEqualTypeOf<Made>();
  expectTypeOf<JsonOf<unknown>>().toEqualTypeOf<unknown>();
  expectTypeOf<JsonOf<undefined | 1>>().toEqualTypeOf<null | 1>();
  expectTypeOf<JsonOf<bigint>>().toEqualTypeOf<never>();
  const at = new Date(0);
  expect(JSON.parse(JSON.stringify({ at, account: new Account() }))).toEqual({
    at: at.toISOString(),
    account: { id: 'a' },
  });
});
