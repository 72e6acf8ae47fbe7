/**
 * Checksums over the rows of tables, which servers compare (T4). That of a table is the sum, modulo
 * 2^64, of a digest of each row: it does not depend on the order in which the rows are read.
 */
import { createHash } from 'node:crypto';
import type { TableChecksum } from './port.js';

/** Hexadecimal digits of a checksum. */
const DIGITS = 16;

/** `sum` modulo 2^64 as 16 hexadecimal digits. */
export function checksumText(sum: bigint): string {
  return BigInt.asUintN(64, sum).toString(16).padStart(DIGITS, '0');
}

/** The first 64 bits of the MD5 digest of a row's text form. */
export function rowDigest(text: string): bigint {
  return createHash('md5').update(text).digest().readBigUInt64BE();
}

/** By the bytes of their names. */
export function inByteOrder(tables: readonly TableChecksum[]): TableChecksum[] {
  return [...tables].sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
}

/**
 * One digest of 16 hexadecimal digits over names, numbers of rows and checksums of all tables,
 * given in any order.
 */
export function rowsChecksumOf(tables: readonly TableChecksum[]): string {
  const hash = createHash('sha256');
  for (const { name, rows, checksum } of inByteOrder(tables)) hash.update(JSON.stringify([name, rows, checksum]));
  return hash.digest('hex').slice(0, DIGITS);
}
