/** What a leader refuses before anything is appended, and in which words. */
import '../../../shared/wire/protobuf.js';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JsonTextError, parseJson, parseJsonText } from '../../../shared/engine/json-text.js';
import { kvContract } from '../../../shared/engine/kv/contract.js';
import { loadStateMachine } from '../../../shared/engine/loading.js';
import {
  DEFAULT_PAYLOAD_BYTES_MAX,
  prepareCommand,
  readInput,
  validateQuery,
} from '../../../shared/engine/registry.js';
import type { StateMachineContract } from '../../../shared/engine/state-machine.js';
import { CraftError } from '../../../shared/wire/errors.js';
import { craft } from '../../../shared/wire/generated/craft.js';

const { KvPut, KvTxn } = craft.v1;
const bytes = (text: string) => new TextEncoder().encode(text);

/** The code and message of what is thrown; the payload when nothing is. */
function prepare(name: string, payload: string | Uint8Array, format: 'json' | 'protobuf' = 'json'): string {
  const data = typeof payload === 'string' ? bytes(payload) : payload;
  try {
    return Buffer.from(prepareCommand(kvContract, name, data, format, DEFAULT_PAYLOAD_BYTES_MAX)).toString();
  } catch (error) {
    if (!(error instanceof CraftError)) throw error;
    return `${error.code} ${error.message}`;
  }
}

describe('a JSON command', () => {
  it.each([
    ['kv.put', '{"key":"a","value":{"n":1}}'],
    ['kv.put', ' { "value" : null , "key" : "a" } '],
    ['kv.put', '{"key":"a","value":[0.1,1e2,-0,9007199254740992,0.30000000000000004,1e300,100000000000000000000]}'],
    ['kv.put', '{"key":"a","value":"\\ud83d\\ude00 \\\\u0000"}'],
    ['kv.put', `{"key":"${'é'.repeat(256)}","value":1}`],
    ['kv.delete', '{"key":"a","ifVersion":0}'],
    ['kv.txn', '{"ops":[{"put":{"key":"a","value":1}},{"delete":{"key":"b","ifVersion":3}}]}'],
  ])('%s %s is kept byte for byte', (name, payload) => {
    expect(prepare(name, payload)).toBe(payload);
  });

  it.each([
    ['kv.put', '', 'INVALID_ARGUMENT', 'empty'],
    ['kv.put', '\ufeff{"key":"a","value":1}', 'INVALID_ARGUMENT', 'not JSON'],
    ['kv.put', '{"key":"a"}', 'INVALID_ARGUMENT', 'value'],
    ['kv.put', '{"key":"","value":1}', 'INVALID_ARGUMENT', 'key'],
    ['kv.put', `{"key":"${'é'.repeat(257)}","value":1}`, 'INVALID_ARGUMENT', 'key'],
    ['kv.put', '{"key":1,"value":1}', 'INVALID_ARGUMENT', 'key'],
    ['kv.put', '{"key":"a","value":1,"ifversion":1}', 'INVALID_ARGUMENT', 'ifversion'],
    ['kv.put', '{"key":"a","value":1,"ifVersion":-1}', 'INVALID_ARGUMENT', 'ifVersion'],
    ['kv.put', '{"key":"a","value":1,"ifVersion":1.5}', 'INVALID_ARGUMENT', 'ifVersion'],
    ['kv.put', '{"key":"a","value":1,"__proto__":{}}', 'INVALID_ARGUMENT', '__proto__'],
    ['kv.put', '{"key":"a\\u0000","value":1}', 'INVALID_ARGUMENT', 'u0000'],
    ['kv.put', '{"key":"a","value":{"x\\u0000":1}}', 'INVALID_ARGUMENT', 'u0000'],
    ['kv.put', '{"key":"a","value":"\\ud83d"}', 'INVALID_ARGUMENT', 'surrogate'],
    ['kv.put', '{"key":"a","value":"\\ude00\\ud83d"}', 'INVALID_ARGUMENT', 'surrogate'],
    ['kv.put', '{"key":"a","value":1e400}', 'INVALID_ARGUMENT', 'precision'],
    ['kv.put', '{"key":"a","value":1e-400}', 'INVALID_ARGUMENT', 'precision'],
    ['kv.put', '{"key":"a","value":9007199254740993.0}', 'INVALID_ARGUMENT', 'precision'],
    ['kv.put', '{"key":"a","value":9007199254740993e0}', 'INVALID_ARGUMENT', 'precision'],
    ['kv.put', '{"key":"a","value":0.9007199254740993e16}', 'INVALID_ARGUMENT', 'precision'],
    ['kv.put', '{"key":"a","value":1.2345e-322}', 'INVALID_ARGUMENT', 'precision'],
    ['kv.put', '{"key":"a","value":9007199254740993}', 'INVALID_ARGUMENT', 'precision'],
    ['kv.put', '{"key":"a","value":0.1234567890123456789}', 'INVALID_ARGUMENT', 'precision'],
    ['kv.put', `{"key":"a","value":${'['.repeat(101)}${']'.repeat(101)}}`, 'INVALID_ARGUMENT', 'deeper'],
    ['kv.put', `${'['.repeat(100_000)}`, 'INVALID_ARGUMENT', 'not JSON'],
    ['kv.txn', '{"ops":[]}', 'INVALID_ARGUMENT', 'ops'],
    ['kv.txn', '{"ops":[{"put":{"key":"a","value":1}},{"put":{"key":""}}]}', 'INVALID_ARGUMENT', 'ops[1].put.key'],
    ['kv.txn', '{"ops":[{"put":{"key":"a","value":1},"delete":{"key":"a"}}]}', 'INVALID_ARGUMENT', 'ops[0]'],
    ['kv.nonsense', '{}', 'UNKNOWN_COMMAND', 'kv.nonsense'],
    ['constructor', '{}', 'UNKNOWN_COMMAND', 'constructor'],
  ])('%s %.60s is refused', (name, payload, code, words) => {
    const answer = prepare(name, payload);
    expect(answer).toMatch(new RegExp(`^${code} `));
    expect(answer).toContain(words);
    expect(answer.length).toBeLessThan(500);
  });

  it('that is not UTF-8 is refused', () => {
    expect(prepare('kv.put', Uint8Array.of(0x22, 0xff, 0x22))).toBe('INVALID_ARGUMENT the payload is not UTF-8');
    // Half of a surrogate pair, encoded as if it were a character.
    expect(prepare('kv.put', Uint8Array.of(0x22, 0xed, 0xa0, 0x80, 0x22))).toContain('not UTF-8');
  });
});

describe('a protobuf command', () => {
  it('goes into the log as JSON', () => {
    const put = { key: 'a', valueJson: '{"n":[1,null]}', ifVersion: 0 };
    expect(prepare('kv.put', KvPut.encode(put).finish(), 'protobuf')).toBe(
      '{"key":"a","value":{"n":[1,null]},"ifVersion":0}',
    );
    const operations = [{ put: { key: 'a', valueJson: 'null' } }, { delete: { key: 'b' } }];
    expect(prepare('kv.txn', KvTxn.encode({ operations }).finish(), 'protobuf')).toBe(
      '{"ops":[{"put":{"key":"a","value":null}},{"delete":{"key":"b"}}]}',
    );
  });

  it('keeps U+FFFD where it was sent, and refuses it where bytes were no UTF-8', () => {
    const encode = (key: string, valueJson: string) => KvPut.encode({ key, valueJson }).finish();
    expect(prepare('kv.put', encode('a\ufffd', '"\ufffd\\ufffd"'), 'protobuf')).toContain('a\ufffd');
    const broken = Buffer.from(encode('a!', '1'));
    broken[broken.indexOf('!')] = 0xe9;
    expect(prepare('kv.put', broken, 'protobuf')).toMatch(/^INVALID_ARGUMENT /);
  });

  it.each([
    ['bytes that are none', Uint8Array.of(255, 255, 255), 'protobuf'],
    ['no value', KvPut.encode({ key: 'a' }).finish(), 'value'],
    ['a value that is not JSON', KvPut.encode({ key: 'a', valueJson: '{' }).finish(), 'JSON'],
    ['a value that Postgres cannot store', KvPut.encode({ key: 'a', valueJson: '"\\u0000"' }).finish(), 'u0000'],
    ['a key that Postgres cannot store', KvPut.encode({ key: 'a\0', valueJson: '1' }).finish(), 'key'],
  ])('with %s is refused', (_, payload, words) => {
    const answer = prepare('kv.put', payload, 'protobuf');
    expect(answer).toMatch(/^INVALID_ARGUMENT /);
    expect(answer).toContain(words);
  });
});

describe('JSON text', () => {
  it('is taken as it is, whatever it holds', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5, noUnicodeString: false }), (value) => {
        const text = JSON.stringify(value);
        const hasNul = text.includes('\\u0000');
        const hasHalf = /\\ud[89a-f]/i.test(text);
        if (hasNul || hasHalf) expect(() => parseJsonText(text)).toThrow(JsonTextError);
        else expect(parseJson(bytes(text))).toEqual(JSON.parse(text));
      }),
      { numRuns: 2_000 },
    );
  });

  it('never escapes as anything but a JsonTextError', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...'{}[]",:\\u0d89-.e1 ') })), (text) => {
        try {
          parseJson(bytes(text));
        } catch (error) {
          expect(error).toBeInstanceOf(JsonTextError);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

it('queries are validated, with defaults', () => {
  expect(validateQuery(kvContract, 'kv.list', {})).toEqual({ limit: 100 });
  expect(() => validateQuery(kvContract, 'kv.list', { limit: 0 })).toThrow('limit');
  expect(() => validateQuery(kvContract, 'kv.put', {})).toThrow(CraftError);
});

it('a module that is no state machine is a configuration error', async () => {
  await expect(loadStateMachine('no/such/module.js')).rejects.toMatchObject({ code: 'CONFIG' });
  await expect(loadStateMachine('biome.json')).rejects.toMatchObject({ code: 'CONFIG' });
  expect((await loadStateMachine(undefined)).name).toBe('kv');
});

it('schemas of any library that validates synchronously will do', () => {
  type Result = StandardSchemaV1.Result<number> | Promise<StandardSchemaV1.Result<number>>;
  const machineOf = (validate: (value: unknown) => Result): StateMachineContract => ({
    name: 'm',
    commands: { add: { input: { '~standard': { version: 1, vendor: 'test', validate } } } },
    queries: {},
  });
  const issues = [{ message: 'is no number', path: ['a', { key: 0 }, 'b'] }];
  const numbers = machineOf((value) => (typeof value === 'number' ? { value } : { issues }));
  expect(prepareCommand(numbers, 'add', bytes('7'), 'json', DEFAULT_PAYLOAD_BYTES_MAX)).toEqual(bytes('7'));
  expect(readInput(numbers, 'add', bytes('7'))).toEqual({ input: 7 });
  expect(() => prepareCommand(numbers, 'add', bytes('"7"'), 'json', DEFAULT_PAYLOAD_BYTES_MAX)).toThrow(
    'a[0].b: is no number',
  );

  const slow = machineOf(() => Promise.reject(new Error('for nobody')));
  expect(() => prepareCommand(slow, 'add', bytes('7'), 'json', DEFAULT_PAYLOAD_BYTES_MAX)).toThrow(
    /validates asynchronously/,
  );
  expect(readInput(slow, 'add', bytes('7'))).toEqual({ refused: 'the input is not one of "add"' });
});

describe('a payload', () => {
  const refusal = (payload: string | Uint8Array, format: 'json' | 'protobuf', bytesMax: number) => {
    const data = typeof payload === 'string' ? bytes(payload) : payload;
    try {
      return prepareCommand(kvContract, 'kv.put', data, format, bytesMax).length;
    } catch (error) {
      return error instanceof CraftError ? `${error.code} ${error.message}` : error;
    }
  };
  const digits = '{"key":"a","value":[1e20,1e20]}';

  it('is no larger than it may be', () => {
    expect(refusal(digits, 'json', digits.length - 1)).toBe('PAYLOAD_TOO_LARGE payload of 31 bytes, at most 30');
  });

  it('is no larger than it may be once numbers have all their digits', () => {
    const plain = JSON.stringify(JSON.parse(digits)).length;
    expect(refusal(digits, 'json', plain)).toBe(digits.length);
    expect(refusal(digits, 'json', plain - 1)).toBe(`PAYLOAD_TOO_LARGE payload of 65 bytes as plain JSON, at most 64`);
  });

  it('in protobuf is measured as it goes into the log', () => {
    const put = KvPut.encode({ key: '\x01'.repeat(40), valueJson: '1' }).finish();
    expect(refusal(put, 'protobuf', 300)).toBe(260);
    expect(refusal(put, 'protobuf', 259)).toBe('PAYLOAD_TOO_LARGE payload of 260 bytes as plain JSON, at most 259');
  });
});
