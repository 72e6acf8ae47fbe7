/**
 * `craft.v1.Command`, the body of a command entry <-> a plain object. By hand, like the entry around it: every command passes
 * here once at the leader that takes it and once at each server that applies it. Byte for byte what the generated code writes.
 */
import { VarintReader, varintLength, writeVarint } from './varint.js';
import { WireError } from './wire-error.js';

export type ReplyFormat = 'json' | 'protobuf';

export interface CommandFields {
  readonly name: string;
  /** JSON text. */
  readonly payload: Uint8Array;
  /** The client's idempotency id; empty when it gave none. */
  readonly id: string;
  /** The server whose replica stamps the entry, and whose applier answers the client. */
  readonly server: string;
  /** Subject of the answer; empty when nobody waits for the applier's. */
  readonly reply: string;
  /** W3C trace context; empty when the command is not sampled. */
  readonly traceparent: string;
  readonly replyFormat: ReplyFormat;
}

/** Tags: field number * 8 + wire type (2: length and bytes, 0: varint). */
const NAME = 0x0a;
const PAYLOAD = 0x12;
const ID = 0x1a;
const SERVER = 0x22;
const REPLY = 0x2a;
const TRACEPARENT = 0x32;
const REPLY_FORMAT = 0x38;
/** PAYLOAD_FORMAT_PROTOBUF; JSON is 0 and left out. */
const PROTOBUF = 1;

export function encodeCommand(command: CommandFields): Uint8Array {
  const { name, payload, id, server, reply, traceparent, replyFormat } = command;
  const texts = [name, id, server, reply, traceparent];
  const lengths = texts.map((text) => Buffer.byteLength(text));
  let size = fieldLength(payload.length) + (replyFormat === 'protobuf' ? 2 : 0);
  for (const length of lengths) size += fieldLength(length);
  const target = Buffer.allocUnsafe(size);
  let at = writeText(target, 0, NAME, name, lengths[0] ?? 0);
  if (payload.length > 0) {
    target[at++] = PAYLOAD;
    at = writeVarint(target, at, payload.length);
    target.set(payload, at);
    at += payload.length;
  }
  at = writeText(target, at, ID, id, lengths[1] ?? 0);
  at = writeText(target, at, SERVER, server, lengths[2] ?? 0);
  at = writeText(target, at, REPLY, reply, lengths[3] ?? 0);
  at = writeText(target, at, TRACEPARENT, traceparent, lengths[4] ?? 0);
  if (replyFormat === 'protobuf') {
    target[at++] = REPLY_FORMAT;
    target[at] = PROTOBUF;
  }
  return target;
}

/** Bytes of a field with a length; a field without content is left out. */
function fieldLength(length: number): number {
  return length === 0 ? 0 : 1 + varintLength(length) + length;
}

function writeText(target: Buffer, offset: number, tag: number, text: string, length: number): number {
  if (length === 0) return offset;
  target[offset] = tag;
  const at = writeVarint(target, offset + 1, length);
  target.write(text, at, length);
  return at + length;
}

/** The payload is a view of `body`. Throws WireError when the body is no command. */
export function decodeCommand(body: Uint8Array): CommandFields {
  const source = Buffer.from(body.buffer, body.byteOffset, body.length);
  const reader = new VarintReader(body);
  let name = '';
  let payload: Uint8Array = body.subarray(0, 0);
  let id = '';
  let server = '';
  let reply = '';
  let traceparent = '';
  let replyFormat: ReplyFormat = 'json';
  while (reader.offset < body.length) {
    const tag = reader.next(body.length);
    if (tag === REPLY_FORMAT) {
      replyFormat = reader.next(body.length) === PROTOBUF ? 'protobuf' : 'json';
      continue;
    }
    const start = startOfField(reader, tag, body.length);
    const end = reader.offset;
    if (tag === NAME) name = source.toString('utf8', start, end);
    else if (tag === PAYLOAD) payload = body.subarray(start, end);
    else if (tag === ID) id = source.toString('utf8', start, end);
    else if (tag === SERVER) server = source.toString('utf8', start, end);
    else if (tag === REPLY) reply = source.toString('utf8', start, end);
    else if (tag === TRACEPARENT) traceparent = source.toString('latin1', start, end);
  }
  return { name, payload, id, server, reply, traceparent, replyFormat };
}

/** Moves past a field and returns where its content began; of fields of later versions too. */
function startOfField(reader: VarintReader, tag: number, end: number): number {
  if (tag % 8 === 0) {
    reader.skip(end);
    return reader.offset;
  }
  if (tag % 8 !== 2) throw new WireError(`a command has no field with tag ${tag}`);
  const length = reader.next(end);
  if (length > end - reader.offset) throw new WireError('a field runs past the end of the command');
  const start = reader.offset;
  reader.offset += length;
  return start;
}

/**
 * The trace context in the body of a command, or an empty string, without decoding the rest of it: every server asks this of
 * every entry while tracing is on. Throws WireError when the body is no command.
 */
export function traceparentOf(body: Uint8Array): string {
  const reader = new VarintReader(body);
  while (reader.offset < body.length) {
    const tag = reader.next(body.length);
    const start = startOfField(reader, tag, body.length);
    if (tag === TRACEPARENT) return String.fromCharCode(...body.subarray(start, reader.offset));
  }
  return '';
}
