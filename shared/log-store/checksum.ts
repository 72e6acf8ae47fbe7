/**
 * CRC-32 (IEEE 802.3) over what the stores write: Node.js has it natively, and its JavaScript twin
 * is far slower.
 */
import * as zlib from 'node:zlib';

type Crc = (bytes: Uint8Array, previous?: number) => number;

function tableCrc(reflectedPolynomial: number): Crc {
  const table = Int32Array.from({ length: 256 }, (_, byte) => {
    let remainder = byte;
    for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ (remainder & 1 ? reflectedPolynomial : 0);
    return remainder;
  });
  return (bytes, previous = 0) => {
    let crc = ~previous;
    for (let at = 0; at < bytes.length; at++) {
      crc = (crc >>> 8) ^ (table[(crc ^ (bytes[at] ?? 0)) & 0xff] ?? 0);
    }
    return ~crc >>> 0;
  };
}

/** CRC-32 without native help: what `crc32` is on a Node.js before 20.15. */
export const crc32Portable: Crc = tableCrc(0xedb8_8320);

/**
 * CRC-32 of `bytes`, going on from `previous`: crc32(b, crc32(a)) is that of a and b laid end to
 * end.
 */
export const crc32: Crc =
  typeof zlib.crc32 === 'function' ? (bytes, previous = 0) => zlib.crc32(bytes, previous) : crc32Portable;
