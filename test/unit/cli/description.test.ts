/** How the inputs of commands are written for people. */
import { expect, it } from 'vitest';
import { z } from 'zod';
import { commandsTable, inputSchema, inputText } from '../../../services/cli/description.js';
import { describeMachine } from '../../../shared/engine/describe.js';
import { kvContract } from '../../../shared/engine/kv/contract.js';

const textOf = (schema: z.ZodType, depth?: number) => inputText(z.toJSONSchema(schema, { io: 'input' }), depth);

it('reads like a type', () => {
  const schema = z.strictObject({
    name: z.string().min(1),
    cents: z.int().optional(),
    kind: z.enum(['debit', 'credit']),
    tags: z.array(z.string()),
    limits: z.array(z.union([z.number(), z.null()])),
    ops: z.array(z.union([z.strictObject({ put: z.string() }), z.strictObject({ drop: z.boolean() })])),
    rates: z.record(z.string(), z.number()),
    version: z.literal(2),
    any: z.unknown(),
    nothing: z.strictObject({}),
  });
  expect(textOf(schema)).toBe(
    '{name: string, cents?: integer, kind: "debit" | "credit", tags: string[], limits: (number | null)[], ' +
      'ops: ({put: string} | {drop: boolean})[], rates: {[key]: number}, version: 2, any: any, nothing: {}}',
  );
});

it('writes nested objects out as deep as wanted, and recursive definitions not at all', () => {
  const nested = z.object({ a: z.object({ b: z.object({ c: z.string() }) }) });
  expect([3, 2, 1].map((depth) => textOf(nested, depth))).toEqual([
    '{a: {b: {c: string}}}',
    '{a: {b: {…}}}',
    '{a: {…}}',
  ]);
  expect(textOf(z.object({ value: z.json() }))).toBe('{value: any}');
});

it('is a table of 80 columns', () => {
  const text = commandsTable(describeMachine(kvContract));
  expect(text.split('\n')).toEqual([
    'kv, version 1',
    '',
    'command    input',
    expect.stringMatching(/^kv\.delete {2}\{key: string, ifVersion\?: integer\}$/),
    expect.stringMatching(/^kv\.put {5}\{key: string, value: any, ifVersion\?: integer\}$/),
    'kv.txn     {ops: {put?: {…}, delete?: {…}}[]}',
    '',
    'query      input',
    'kv.get     {key: string}',
    'kv.list    {prefix?: string, limit?: integer, after?: string}',
  ]);
  expect(text.split('\n').filter((line) => line.length > 80)).toEqual([]);
});

it('takes no name that every object has for a command', () => {
  const machine = describeMachine(kvContract);
  expect(inputSchema(machine, 'kv.put')).toHaveProperty('type', 'object');
  for (const name of ['constructor', 'toString', '__proto__']) {
    expect(() => inputSchema(machine, name)).toThrow(`there is no ${name}; there are kv.`);
  }
});
