/**
 * `craft.v1.Command`, the body of a command entry <-> a plain object. By hand, like the entry
 * around it: every command passes here once at the leader that takes it and once at each server
 * that applies it. Byte for byte what the generated code writes.
 */
import { fieldLength, numberLength, passField, writeBytes, writeNumber, writeText } from './field.js';
import { VarintReader } from './varint.js';

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
  /** The client's number of a command that came in a batch; absent or 0 for one that came alone. */
  readonly replyNumber?: number;
  /**
   * Where the trace of a sampled command begins (shared/telemetry/traceparent.ts); absent or empty
   * otherwise.
   */
  readonly traceOrigin?: string;
}

/** Tags: field number * 8 + wire type (2: length and bytes, 0: varint). */
const NAME = 0x0a;
const PAYLOAD = 0x12;
const ID = 0x1a;
const SERVER = 0x22;
const REPLY = 0x2a;
const TRACEPARENT = 0x32;
const REPLY_FORMAT = 0x38;
const REPLY_NUMBER = 0x40;
const TRACE_ORIGIN = 0x4a;
/** PAYLOAD_FORMAT_PROTOBUF; JSON is 0 and left out. */
const PROTOBUF = 1;

export function encodeCommand(command: CommandFields): Uint8Array {
  const { name, payload, id, server, reply, traceparent, replyFormat, replyNumber = 0, traceOrigin = '' } = command;
  const format = replyFormat === 'protobuf' ? PROTOBUF : 0;
  const nameLength = Buffer.byteLength(name);
  const idLength = Buffer.byteLength(id);
  const serverLength = Buffer.byteLength(server);
  const replyLength = Buffer.byteLength(reply);
  const traceLength = Buffer.byteLength(traceparent);
  let size = fieldLength(payload.length) + numberLength(format) + numberLength(replyNumber);
  for (const length of [nameLength, idLength, serverLength, replyLength, traceLength]) size += fieldLength(length);
  // Most commands have none.
  const originLength = traceOrigin === '' ? 0 : Buffer.byteLength(traceOrigin);
  size += fieldLength(originLength);
  const target = Buffer.allocUnsafe(size);
  let at = writeText(target, 0, NAME, name, nameLength);
  at = writeBytes(target, at, PAYLOAD, payload);
  at = writeText(target, at, ID, id, idLength);
  at = writeText(target, at, SERVER, server, serverLength);
  at = writeText(target, at, REPLY, reply, replyLength);
  at = writeText(target, at, TRACEPARENT, traceparent, traceLength);
  at = writeNumber(target, at, REPLY_FORMAT, format);
  at = writeNumber(target, at, REPLY_NUMBER, replyNumber);
  writeText(target, at, TRACE_ORIGIN, traceOrigin, originLength);
  return target;
}

/** The payload is a view of `body`. Throws WireError when the body is no command. */
export function decodeCommand(body: Uint8Array): Required<CommandFields> {
  const source = Buffer.from(body.buffer, body.byteOffset, body.length);
  const reader = new VarintReader(body);
  let name = '';
  let payload: Uint8Array = body.subarray(0, 0);
  let id = '';
  let server = '';
  let reply = '';
  let traceparent = '';
  let replyFormat: ReplyFormat = 'json';
  let replyNumber = 0;
  let traceOrigin = '';
  while (reader.offset < body.length) {
    const tag = reader.next(body.length);
    if (tag === REPLY_FORMAT) {
      replyFormat = reader.next(body.length) === PROTOBUF ? 'protobuf' : 'json';
      continue;
    }
    if (tag === REPLY_NUMBER) {
      replyNumber = reader.next(body.length);
      continue;
    }
    const start = passField(reader, tag, body.length);
    const end = reader.offset;
    if (tag === NAME) name = source.toString('utf8', start, end);
    else if (tag === PAYLOAD) payload = body.subarray(start, end);
    else if (tag === ID) id = source.toString('utf8', start, end);
    else if (tag === SERVER) server = source.toString('utf8', start, end);
    else if (tag === REPLY) reply = source.toString('utf8', start, end);
    else if (tag === TRACEPARENT) traceparent = source.toString('latin1', start, end);
    else if (tag === TRACE_ORIGIN) traceOrigin = source.toString('utf8', start, end);
  }
  return { name, payload, id, server, reply, traceparent, replyFormat, replyNumber, traceOrigin };
}

/**
 * The trace context in the body of a command, or an empty string, without decoding the rest of it:
 * every server asks this of every entry while tracing is on. Throws WireError when the body is no
 * command.
 */
export function traceparentOf(body: Uint8Array): string {
  const reader = new VarintReader(body);
  while (reader.offset < body.length) {
    const tag = reader.next(body.length);
    const start = passField(reader, tag, body.length);
    if (tag === TRACEPARENT) return String.fromCharCode(...body.subarray(start, reader.offset));
  }
  return '';
}
