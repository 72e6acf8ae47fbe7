/** What a state machine says of itself. */
import { expect, it } from 'vitest';
import { z } from 'zod';
import { describeMachine } from '../../../shared/engine/describe.js';
import { kvContract } from '../../../shared/engine/kv/contract.js';

it('has all commands and queries of a version in order of their names, with JSON Schemas of their inputs', () => {
  const { name, version, commands, queries } = describeMachine(kvContract);
  expect({ name, version }).toEqual({ name: 'kv', version: 1 });
  expect(Object.keys(commands)).toEqual(['kv.delete', 'kv.put', 'kv.txn']);
  expect(Object.keys(queries)).toEqual(['kv.get', 'kv.list']);
  expect(commands['kv.put']?.input).toMatchObject({
    type: 'object',
    properties: { key: { type: 'string' }, value: {}, ifVersion: { type: 'integer' } },
    required: ['key', 'value'],
    additionalProperties: false,
  });
});

it('takes what JSON Schema has no words for as anything, and goes on without what a library cannot tell', () => {
  const plain = z.strictObject({ at: z.date(), n: z.custom<number>() });
  const { validate, vendor } = plain['~standard'];
  const old = { '~standard': { version: 1 as const, vendor, validate } };
  const failing = {
    '~standard': {
      ...old['~standard'],
      jsonSchema: {
        input: () => {
          throw new Error('not supported');
        },
      },
    },
  };
  const { commands } = describeMachine({
    name: 'm',
    version: 3,
    commands: { plain: { input: plain }, old: { input: old }, failing: { input: failing } },
    queries: {},
  });
  expect(commands['plain']?.input).toMatchObject({ properties: { at: {}, n: {} }, required: ['at', 'n'] });
  expect([commands['old'], commands['failing']]).toEqual([{}, {}]);
});
