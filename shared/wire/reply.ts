/**
 * Answers to commands and queries in the exact form of the public contract, as JSON text or
 * `craft.v1.CommandReply`.
 */
import type { MsgHdrs } from '@nats-io/nats-core';
import { headers } from '@nats-io/nats-core';
import type { GroupId, MergedIndex, Timestamp } from '../raft/entry.js';
import type { ReplyFormat } from './command.js';
import { CraftError, ErrorCode } from './errors.js';
import './protobuf.js';
import { craft } from './generated/craft.js';

/** Where a command stands; `index` (merged) and `resultJson` only once it is applied. */
export interface Success {
  readonly group: GroupId;
  readonly timestamp: Timestamp;
  readonly index?: MergedIndex;
  /** JSON text of the result. */
  readonly resultJson?: string;
}

export interface Reply {
  readonly data: Uint8Array;
  /** The NATS service headers of an error. */
  readonly headers?: MsgHdrs;
}

const encoder = new TextEncoder();

export function encodeSuccess(success: Success, format: ReplyFormat): Reply {
  const { group, timestamp, index, resultJson } = success;
  if (format === 'protobuf') {
    // An absent field reads as 0 and ''.
    const fields = { ok: true, group, timestamp, index: index ?? 0, resultJson: resultJson ?? '' };
    return { data: craft.v1.CommandReply.encode(fields).finish() };
  }
  // The result is JSON text already; the reply is laid around it.
  const place = index === undefined ? '' : `"index":${index},`;
  const result = resultJson === undefined ? '' : `,"result":${resultJson}`;
  return { data: encoder.encode(`{"ok":true,${place}"group":${group},"timestamp":${timestamp}${result}}`) };
}

export function encodeFailure(code: ErrorCode, message: string, format: ReplyFormat): Reply {
  const { status, retryable } = ErrorCode[code];
  const error = { code, message, retryable };
  const head = headers();
  head.set('Nats-Service-Error-Code', String(status));
  head.set('Nats-Service-Error', `${code}: ${message.replace(/[\r\n]+/g, ' ')}`);
  const data =
    format === 'protobuf'
      ? craft.v1.CommandReply.encode({ ok: false, error }).finish()
      : encoder.encode(JSON.stringify({ ok: false, error }));
  return { data, headers: head };
}

/**
 * Any failure as a reply: a CraftError as it is, everything else as INTERNAL without its details.
 */
export function encodeError(error: unknown, format: ReplyFormat): Reply {
  if (error instanceof CraftError) return encodeFailure(error.code, error.message, format);
  return encodeFailure('INTERNAL', 'internal error', format);
}
