import fc from 'fast-check';
import { expect, it } from 'vitest';
import { crc32, crc32Portable } from '../../../shared/log-store/checksum.js';

const CHECK = Buffer.from('123456789');

it('gives the check value of the polynomial', () => {
  expect(crc32(CHECK)).toBe(0xcbf4_3926);
  expect(crc32Portable(CHECK)).toBe(0xcbf4_3926);
});

it('is the same with native help and without, in one piece and in two', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 300 }), (a, b) => {
      const whole = crc32(Buffer.concat([a, b]));
      expect(crc32Portable(Buffer.concat([a, b]))).toBe(whole);
      expect(crc32(b, crc32(a))).toBe(whole);
      expect(crc32Portable(b, crc32Portable(a))).toBe(whole);
    }),
  );
});
