/**
 * `craft.v1.ReplyBatch`: answers to several commands in one message. By hand, since each command of
 * a batch passes here once at its leader's server and once at its client.
 *
 *   ReplyBatch = frame*  [0x12 length Error]        frame = 0x0a  length  CommandReply
 */
import './protobuf.js';

import { ErrorCode } from './errors.js';
import { fieldLength, numberLength, passField, writeNumber, writeText } from './field.js';
import { craft } from './generated/craft.js';
import type { Success } from './reply.js';
import { VarintReader, varintLength, writeVarint } from './varint.js';

/** The answer to one command. */
export interface NumberedReply {
  /** The client's number of the command. */
  readonly number: number;
  readonly group: number;
  /** Microseconds since the Unix epoch. */
  readonly timestamp: number;
  /** Merged index; 0 unless the command was applied. */
  readonly index: number;
  /** JSON text; empty unless the command was applied. */
  readonly resultJson: string;
  /** Why the command failed; undefined for a success. */
  readonly error: ReplyError | undefined;
}

interface ReplyError {
  /** One of ErrorCode, or of a later version. */
  readonly code: string;
  readonly message: string;
}

export interface ReplyBatch {
  readonly replies: readonly NumberedReply[];
  /** The batch was refused as a whole. */
  readonly error: ReplyError | undefined;
}

/** Tags of a reply batch. */
const FRAME = 0x0a;
const BATCH_ERROR = 0x12;
/** Tags of a reply. */
const OK = 0x08;
const INDEX = 0x10;
const GROUP = 0x18;
const TIMESTAMP = 0x20;
const RESULT_JSON = 0x2a;
const ERROR = 0x32;
const NUMBER = 0x38;
/** Tags of an error. */
const CODE = 0x0a;
const MESSAGE = 0x12;

/** A success as a frame of a reply batch. All numbers are safe integers >= 0. */
export function encodeSuccessFrame(number: number, success: Success): Uint8Array {
  const { group, timestamp, index = 0, resultJson = '' } = success;
  const resultLength = Buffer.byteLength(resultJson);
  const length =
    numberLength(1) +
    numberLength(index) +
    numberLength(group) +
    numberLength(timestamp) +
    fieldLength(resultLength) +
    numberLength(number);
  const frame = Buffer.allocUnsafe(1 + varintLength(length) + length);
  frame[0] = FRAME;
  let at = writeVarint(frame, 1, length);
  at = writeNumber(frame, at, OK, 1);
  at = writeNumber(frame, at, INDEX, index);
  at = writeNumber(frame, at, GROUP, group);
  at = writeNumber(frame, at, TIMESTAMP, timestamp);
  at = writeText(frame, at, RESULT_JSON, resultJson, resultLength);
  writeNumber(frame, at, NUMBER, number);
  return frame;
}

/** A failure as a frame of a reply batch. */
export function encodeFailureFrame(number: number, code: ErrorCode, message: string): Uint8Array {
  return craft.v1.ReplyBatch.encode({ replies: [{ number, error: errorFields(code, message) }] }).finish();
}

/** The refusal of a whole batch. */
export function encodeBatchRefusal(code: ErrorCode, message: string): Uint8Array {
  return craft.v1.ReplyBatch.encode({ error: errorFields(code, message) }).finish();
}

function errorFields(code: ErrorCode, message: string): craft.v1.IError {
  return { code, message, retryable: ErrorCode[code].retryable };
}

/** Throws WireError when the bytes are no reply batch. */
export function decodeReplyBatch(bytes: Uint8Array): ReplyBatch {
  const source = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const reader = new VarintReader(bytes);
  const replies: NumberedReply[] = [];
  let error: ReplyError | undefined;
  while (reader.offset < bytes.length) {
    const tag = reader.next(bytes.length);
    const start = passField(reader, tag, bytes.length);
    const end = reader.offset;
    if (tag === FRAME) {
      reader.offset = start;
      replies.push(decodeReply(source, reader, end));
    } else if (tag === BATCH_ERROR) {
      reader.offset = start;
      error = decodeError(source, reader, end);
    }
  }
  return { replies, error };
}

function decodeReply(source: Buffer, reader: VarintReader, end: number): NumberedReply {
  let isSuccess = false;
  let index = 0;
  let group = 0;
  let timestamp = 0;
  let resultJson = '';
  let error: ReplyError | undefined;
  let number = 0;
  while (reader.offset < end) {
    const tag = reader.next(end);
    if (tag === OK) isSuccess = reader.next(end) !== 0;
    else if (tag === INDEX) index = reader.next(end);
    else if (tag === GROUP) group = reader.next(end);
    else if (tag === TIMESTAMP) timestamp = reader.next(end);
    else if (tag === NUMBER) number = reader.next(end);
    else {
      const start = passField(reader, tag, end);
      const to = reader.offset;
      if (tag === RESULT_JSON) resultJson = source.toString('utf8', start, to);
      else if (tag === ERROR) {
        reader.offset = start;
        error = decodeError(source, reader, to);
      }
    }
  }
  // Without a word about success it is none, whatever the reason.
  if (!isSuccess) error ??= { code: '', message: 'a failure without an error' };
  return { number, group, timestamp, index, resultJson, error: isSuccess ? undefined : error };
}

function decodeError(source: Buffer, reader: VarintReader, end: number): ReplyError {
  let code = '';
  let message = '';
  while (reader.offset < end) {
    const tag = reader.next(end);
    const start = passField(reader, tag, end);
    if (tag === CODE) code = source.toString('utf8', start, reader.offset);
    else if (tag === MESSAGE) message = source.toString('utf8', start, reader.offset);
  }
  return { code, message };
}
