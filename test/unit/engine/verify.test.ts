/** The command `craft.verify`, and the digest over the rows of several tables. */
import { expect, it } from 'vitest';
import { kvContract } from '../../../shared/engine/kv/contract.js';
import { DEFAULT_PAYLOAD_BYTES_MAX, prepareCommand } from '../../../shared/engine/registry.js';
import { rowsChecksumOf } from '../../../shared/engine/rows-checksum.js';
import { encodeVerify, VERIFY_COMMAND, verifyInput } from '../../../shared/engine/verify.js';

it('says which server takes a snapshot; what is no input says nothing', () => {
  expect(verifyInput(encodeVerify({ snapshotBy: 's2' }))).toEqual({ snapshotBy: 's2' });
  expect(verifyInput(encodeVerify({}))).toEqual({});
  expect(verifyInput(Buffer.from('{"snapshotBy":"s1","later":1}'))).toEqual({ snapshotBy: 's1' });
  const bad = [[], Buffer.from('{'), Buffer.from('null'), Buffer.from('{"snapshotBy":1}'), Buffer.from([0xff])];
  for (const payload of bad) expect(verifyInput(Uint8Array.from(payload))).toEqual({});
});

it('is nothing that a client may send', () => {
  expect(() =>
    prepareCommand(kvContract, VERIFY_COMMAND, Buffer.from('{}'), 'json', DEFAULT_PAYLOAD_BYTES_MAX),
  ).toThrow('no command');
});

it('of tables in any order is one digest, which each part of them changes', () => {
  const [a, b] = [
    { name: 'a', rows: 1, checksum: '1'.repeat(16) },
    { name: 'ü', rows: 2, checksum: '2'.repeat(16) },
  ];
  const digest = rowsChecksumOf([a, b]);
  expect(digest).toMatch(/^[0-9a-f]{16}$/);
  expect(rowsChecksumOf([b, a])).toBe(digest);
  const others = [[a], [a, { ...b, rows: 3 }], [a, { ...b, name: 'u' }], [a, { ...b, checksum: '1'.repeat(16) }], []];
  expect(new Set([digest, ...others.map((one) => rowsChecksumOf(one))]).size).toBe(others.length + 1);
});
