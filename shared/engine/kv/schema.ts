/**
 * Inputs of the built-in key-value machine. Objects are strict: a field that is not known is
 * refused rather than ignored, so that a misspelt `ifVersion` is never a put without a condition.
 */
import { z } from 'zod';

/** Longest key (bytes of UTF-8): well within what an index entry of Postgres may have. */
export const KEY_BYTES_MAX = 512;
/** Most operations of one transaction. */
const OPERATIONS_MAX = 1_000;
/** Most rows of one page of kv.list, and how many there are unless asked otherwise. */
const LIST_LIMIT_MAX = 10_000;
const LIST_LIMIT = 100;

// The `u` flag: pairs are one character, so only a half that stands alone matches. NUL is what
// Postgres text cannot hold.
const UNSTORABLE = /[\0\ud800-\udfff]/u;

const text = z.string().superRefine((value, context) => {
  if (UNSTORABLE.test(value)) {
    context.addIssue({ code: 'custom', message: 'contains NUL or half of a surrogate pair' });
  }
});
const key = text.superRefine((value, context) => {
  if (value.length === 0) context.addIssue({ code: 'custom', message: 'is empty' });
  // A UTF-16 unit is at most three bytes.
  else if (value.length * 3 > KEY_BYTES_MAX && Buffer.byteLength(value) > KEY_BYTES_MAX) {
    context.addIssue({ code: 'custom', message: `is longer than ${KEY_BYTES_MAX} bytes` });
  }
});
const ifVersion = z.number().int().min(0).optional();
/** Any JSON value, null included; absent is not a value. */
const value = z.unknown().refine((given) => given !== undefined, 'is required (it may be null)');

export const putInput = z.strictObject({ key, value, ifVersion });
export const deleteInput = z.strictObject({ key, ifVersion });
/** Exactly one of the two, in the manner of `{"put":{"key":"a","value":1}}`. */
const operationInput = z
  .strictObject({ put: putInput.optional(), delete: deleteInput.optional() })
  .refine((operation) => (operation.put === undefined) !== (operation.delete === undefined), {
    message: 'is neither {"put":{…}} nor {"delete":{…}}',
  });
export const txnInput = z.strictObject({ ops: z.array(operationInput).min(1).max(OPERATIONS_MAX) });

export const getInput = z.strictObject({ key });
export const listInput = z.strictObject({
  prefix: text.optional(),
  limit: z.number().int().min(1).max(LIST_LIMIT_MAX).default(LIST_LIMIT),
  /** The last key of the page before. */
  after: text.optional(),
});

export type PutInput = z.output<typeof putInput>;
export type DeleteInput = z.output<typeof deleteInput>;
export type OperationInput = z.output<typeof operationInput>;
export type TxnInput = z.output<typeof txnInput>;
export type GetInput = z.output<typeof getInput>;
export type ListInput = z.output<typeof listInput>;
