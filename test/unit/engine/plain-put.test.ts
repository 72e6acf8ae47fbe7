import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { kvContract } from '../../../shared/engine/kv/contract.js';

const { input, isPlain } = kvContract.commands['kv.put'] ?? {};

describe('the shortcut of kv.put', () => {
  it('lets nothing past that the schema refuses, and changes nothing', () => {
    const field = fc.constantFrom('key', 'value', 'ifVersion', 'other', '__proto__');
    const any = fc.oneof(
      fc.string(),
      fc.string({ minLength: 160, maxLength: 180 }),
      fc.double(),
      fc.nat(),
      fc.jsonValue(),
    );
    fc.assert(
      fc.property(fc.oneof(fc.dictionary(field, any, { noNullPrototype: true }), fc.jsonValue()), (given) => {
        if (!isPlain?.(given)) return;
        expect(input?.['~standard'].validate(given)).toEqual({ value: given });
      }),
      { numRuns: 5_000 },
    );
  });

  it('is taken by an ordinary put', () => {
    expect(isPlain?.({ key: 'a', value: { n: 1 } })).toBe(true);
    expect(isPlain?.({ key: 'a', value: null, ifVersion: 0 })).toBe(true);
    expect(isPlain?.({ key: 'a', value: 1, ifVersion: -1 })).toBe(false);
    expect(isPlain?.({ key: 'a', value: 1, other: 1 })).toBe(false);
    expect(isPlain?.({ key: 'a' })).toBe(false);
  });
});
