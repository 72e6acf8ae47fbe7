/**
 * `craft.v1.CommandBatch`: several commands of a client in one message. By hand, like the commands
 * in the log: byte for byte what the generated code writes.
 *
 *   CommandBatch = [0x08 first number]  [0x12 length inbox]  frame*
 *   frame        = 0x1a  length  BatchCommand
 *
 * A client encodes each command once, as a frame. The frame does not depend on the batch that it
 * travels in: it is sent again unchanged, in another batch.
 */

import { itemAt } from '../raft/lists.js';
import type { ReplyFormat } from './command.js';
import { fieldLength, numberLength, passField, writeBytes, writeNumber, writeText } from './field.js';
import { VarintReader, varintLength, writeVarint } from './varint.js';
import { WireError } from './wire-error.js';

/** Most commands in one batch; a batch with more is refused as a whole. */
export const BATCH_COMMANDS_MAX = 1_024;

export interface BatchCommand {
  readonly name: string;
  readonly payload: Uint8Array;
  /** The client's idempotency id; empty when it gave none. */
  readonly id: string;
  readonly acknowledgement: 'applied' | 'ordered' | 'committed';
  /** The timestamp that it must come after (microseconds since the Unix epoch); 0 for none (T7). */
  readonly after: number;
  /** W3C trace context, or empty. */
  readonly traceparent: string;
  readonly payloadFormat: ReplyFormat;
}

export interface CommandBatch {
  /** Of the first command; at least 1. The others follow without a hole. */
  readonly firstNumber: number;
  /** Where the answers go; empty: to the reply subject of the message. */
  readonly inbox: string;
  /** A command that cannot be read is the reason for that: it does not harm the others. */
  readonly commands: readonly (BatchCommand | WireError)[];
}

/** Tags of a batch. */
const FIRST_NUMBER = 0x08;
const INBOX = 0x12;
const FRAME = 0x1a;
/** Tags of a command. */
const NAME = 0x0a;
const PAYLOAD = 0x12;
const ID = 0x1a;
const ACKNOWLEDGEMENT = 0x20;
const AFTER = 0x28;
const TRACEPARENT = 0x32;
const PAYLOAD_FORMAT = 0x38;

const NOTHING = new Uint8Array(0);
/** In the order of their numbers. */
const ACKNOWLEDGEMENTS = ['applied', 'ordered', 'committed'] as const;
const FORMATS = ['json', 'protobuf'] as const;

/**
 * What a NATS subject is made of, as far as services publish to it. The inbox does not pass the
 * NATS server as a subject: white space in it would become a part of the protocol.
 */
const SUBJECT = /^[!-)+-=?-~]{1,255}$/;

/** One command as a frame of a batch. `after` is a safe integer >= 0. */
export function encodeBatchCommand(command: BatchCommand): Uint8Array {
  const { name, payload, id, after, traceparent } = command;
  const acknowledgement = ACKNOWLEDGEMENTS.indexOf(command.acknowledgement);
  const format = FORMATS.indexOf(command.payloadFormat);
  const nameLength = Buffer.byteLength(name);
  const idLength = Buffer.byteLength(id);
  const traceLength = Buffer.byteLength(traceparent);
  const length =
    fieldLength(nameLength) +
    fieldLength(payload.length) +
    fieldLength(idLength) +
    numberLength(acknowledgement) +
    numberLength(after) +
    fieldLength(traceLength) +
    numberLength(format);
  const frame = Buffer.allocUnsafe(1 + varintLength(length) + length);
  frame[0] = FRAME;
  let at = writeVarint(frame, 1, length);
  at = writeText(frame, at, NAME, name, nameLength);
  at = writeBytes(frame, at, PAYLOAD, payload);
  at = writeText(frame, at, ID, id, idLength);
  at = writeNumber(frame, at, ACKNOWLEDGEMENT, acknowledgement);
  at = writeNumber(frame, at, AFTER, after);
  at = writeText(frame, at, TRACEPARENT, traceparent, traceLength);
  writeNumber(frame, at, PAYLOAD_FORMAT, format);
  return frame;
}

/** Bytes of a batch besides its frames, at most. */
export function batchHeaderLength(inbox: string): number {
  return numberLength(Number.MAX_SAFE_INTEGER) + fieldLength(Buffer.byteLength(inbox));
}

/** The batch of frames of `encodeBatchCommand`, in their order. */
export function encodeCommandBatch(firstNumber: number, inbox: string, frames: readonly Uint8Array[]): Uint8Array {
  const inboxLength = Buffer.byteLength(inbox);
  let length = numberLength(firstNumber) + fieldLength(inboxLength);
  for (const frame of frames) length += frame.length;
  const batch = Buffer.allocUnsafe(length);
  let at = writeNumber(batch, 0, FIRST_NUMBER, firstNumber);
  at = writeText(batch, at, INBOX, inbox, inboxLength);
  for (const frame of frames) {
    batch.set(frame, at);
    at += frame.length;
  }
  return batch;
}

/**
 * The payloads are views of `bytes`. Throws WireError when no command may be executed: its bytes
 * are no batch, it has no command or too many, or its answers could not be sent or told apart.
 */
export function decodeCommandBatch(bytes: Uint8Array): CommandBatch {
  const source = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const reader = new VarintReader(bytes);
  let firstNumber = 0;
  let inbox = '';
  const frames: number[] = [];
  while (reader.offset < bytes.length) {
    const tag = reader.next(bytes.length);
    if (tag === FIRST_NUMBER) {
      firstNumber = reader.next(bytes.length);
      continue;
    }
    const start = passField(reader, tag, bytes.length);
    if (tag === FRAME) {
      frames.push(start, reader.offset);
      if (frames.length > 2 * BATCH_COMMANDS_MAX) break;
    } else if (tag === INBOX) inbox = source.toString('latin1', start, reader.offset);
  }
  const count = frames.length / 2;
  if (count < 1) throw new WireError('a batch without commands');
  if (count > BATCH_COMMANDS_MAX) throw new WireError(`a batch of more than ${BATCH_COMMANDS_MAX} commands`);
  if (firstNumber < 1 || firstNumber + count > Number.MAX_SAFE_INTEGER) {
    throw new WireError(`first_number ${firstNumber}: at least 1, and all numbers below 2^53`);
  }
  if (inbox !== '' && !SUBJECT.test(inbox)) throw new WireError('inbox: no subject of at most 255 characters of ASCII');
  const commands: (BatchCommand | WireError)[] = [];
  for (let at = 0; at < frames.length; at += 2) {
    commands.push(readCommand(source, reader, itemAt(frames, at), itemAt(frames, at + 1)));
  }
  return { firstNumber, inbox, commands };
}

function readCommand(source: Buffer, reader: VarintReader, start: number, end: number): BatchCommand | WireError {
  try {
    reader.offset = start;
    return decodeBatchCommand(source, reader, end);
  } catch (error) {
    if (error instanceof WireError) return error;
    throw error;
  }
}

function decodeBatchCommand(source: Buffer, reader: VarintReader, end: number): BatchCommand {
  let name = '';
  let payload: Uint8Array = NOTHING;
  let id = '';
  let acknowledgement = 0;
  let after = 0;
  let traceparent = '';
  let format = 0;
  while (reader.offset < end) {
    const tag = reader.next(end);
    if (tag === ACKNOWLEDGEMENT) acknowledgement = reader.next(end);
    else if (tag === AFTER) after = reader.next(end);
    else if (tag === PAYLOAD_FORMAT) format = reader.next(end);
    else {
      const from = passField(reader, tag, end);
      const to = reader.offset;
      if (tag === NAME) name = source.toString('utf8', from, to);
      else if (tag === PAYLOAD) payload = new Uint8Array(source.buffer, source.byteOffset + from, to - from);
      else if (tag === ID) id = source.toString('utf8', from, to);
      else if (tag === TRACEPARENT) traceparent = source.toString('latin1', from, to);
    }
  }
  return {
    name,
    payload,
    id,
    acknowledgement: oneOf(ACKNOWLEDGEMENTS, acknowledgement, 'acknowledgement'),
    after,
    traceparent,
    payloadFormat: oneOf(FORMATS, format, 'payload_format'),
  };
}

function oneOf<T>(values: readonly T[], number: number, field: string): T {
  const value = values[number];
  if (value === undefined) throw new WireError(`${field}: there is no value ${number}`);
  return value;
}
