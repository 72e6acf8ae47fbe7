/**
 * The contract of the built-in key-value machine.
 *
 *   kv.put    {key, value, ifVersion?}                        -> {version}
 *   kv.delete {key, ifVersion?}                               -> {deleted}
 *   kv.txn    {ops: [{put: {…}} | {delete: {…}}, …]}          -> {results: [{version} | {deleted}, …]}     all or nothing
 *   kv.get    {key}                                           -> {value, version} | null
 *   kv.list   {prefix?, limit?, after?}                       -> [{key, value, version}, …]     in byte order of the key
 *
 * A key's version is 1 when it is created and one more with every put. A delete ends it: a key that
 * is put again is a new key, of version 1. `ifVersion: n` holds when the key has version n,
 * `ifVersion: 0` when there is no such key.
 */
import '../../wire/protobuf.js';
import { craft } from '../../wire/generated/craft.js';
import { parseJsonText } from '../json-text.js';
import type { StateMachineContract } from '../state-machine.js';
import { deleteInput, getInput, KEY_BYTES_MAX, listInput, putInput, txnInput } from './schema.js';

const { KvPut, KvDelete, KvTxn } = craft.v1;

interface PutFields {
  readonly key?: string | null;
  readonly valueJson?: string | null;
  readonly ifVersion?: number | null;
}
type DeleteFields = Pick<PutFields, 'key' | 'ifVersion'>;

function putOf({ key, valueJson, ifVersion }: PutFields): unknown {
  const value =
    valueJson === undefined || valueJson === null || valueJson === '' ? undefined : parseJsonText(valueJson);
  return { key: key ?? '', ...(value === undefined ? {} : { value }), ...condition(ifVersion) };
}

function deleteOf({ key, ifVersion }: DeleteFields): unknown {
  return { key: key ?? '', ...condition(ifVersion) };
}

function condition(ifVersion: number | null | undefined): { ifVersion?: number } {
  return ifVersion === undefined || ifVersion === null ? {} : { ifVersion };
}

/** A key of so many UTF-16 units is within KEY_BYTES_MAX whatever they are. */
const PLAIN_KEY_LENGTH_MAX = Math.floor(KEY_BYTES_MAX / 3);

/**
 * Holds for most puts; what a JSON text may not contain has been checked on the text
 * (json-text.ts).
 */
function isPlainPut(given: unknown): boolean {
  if (typeof given !== 'object' || given === null) return false;
  const { key, value, ifVersion } = given as { key?: unknown; value?: unknown; ifVersion?: unknown };
  if (typeof key !== 'string' || key.length === 0 || key.length > PLAIN_KEY_LENGTH_MAX) return false;
  if (value === undefined || (ifVersion !== undefined && !isVersion(ifVersion))) return false;
  // No other field: strict objects refuse those.
  return Object.keys(given).length === (ifVersion === undefined ? 2 : 3);
}

function isVersion(given: unknown): boolean {
  return typeof given === 'number' && Number.isSafeInteger(given) && given >= 0;
}

/** As a Buffer the generated code reads strings natively. */
function buffer(payload: Uint8Array): Buffer {
  return Buffer.from(payload.buffer, payload.byteOffset, payload.length);
}

export const kvContract: StateMachineContract = {
  name: 'kv',
  version: 1,
  commands: {
    'kv.put': { input: putInput, isPlain: isPlainPut, fromProtobuf: (payload) => putOf(KvPut.decode(buffer(payload))) },
    'kv.delete': { input: deleteInput, fromProtobuf: (payload) => deleteOf(KvDelete.decode(buffer(payload))) },
    'kv.txn': {
      input: txnInput,
      fromProtobuf: (payload) => ({
        ops: KvTxn.decode(buffer(payload)).operations.map((operation) => ({
          ...(operation.put ? { put: putOf(operation.put) } : {}),
          ...(operation.delete ? { delete: deleteOf(operation.delete) } : {}),
        })),
      }),
    },
  },
  queries: { 'kv.get': { input: getInput }, 'kv.list': { input: listInput } },
};
