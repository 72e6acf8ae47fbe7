/** The hash of ids is the published one, so that what is known of its strength holds. */
import { expect, it } from 'vitest';
import { KeyedHash } from '../../../services/applier/postgres/keyed-hash.js';

/**
 * Key 00 01 .. 07 and input 00 01 .. as in vectors_hsip64 of the reference code
 * (github.com/veorq/SipHash), of lengths that UTF-16 has.
 */
it.each([
  ['', '218d1f59b9b83cc8'],
  ['\u0100', '064f39ef7c50eb57'],
  ['\u0100\u0302', 'd5e78a175be52ea1'],
])('HalfSipHash-2-4 of %j', (text, expected) => {
  const hash = new KeyedHash(0x03020100, 0x07060504);
  hash.update(text);
  expect(Buffer.from(Uint32Array.of(hash.first, hash.last).buffer).toString('hex')).toBe(expected);
});
