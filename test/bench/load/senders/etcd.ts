/**
 * Puts of etcd by its own protocol: a unary gRPC call each, over one HTTP/2 session to each member
 * in turn. Written against node:http2, because the usual client (@grpc/grpc-js) takes twice the
 * processor time, more than etcd itself.
 */
import { type ClientHttp2Session, connect, constants } from 'node:http2';
import type { Target, Workload } from '../protocol.js';
import { Puts } from './puts.js';
import { type OnOutcome, type Sender, TIMEOUT_MS } from './sender.js';

const REQUEST = {
  [constants.HTTP2_HEADER_METHOD]: 'POST',
  [constants.HTTP2_HEADER_PATH]: '/etcdserverpb.KV/Put',
  'content-type': 'application/grpc',
  te: 'trailers',
  'grpc-timeout': `${TIMEOUT_MS}m`,
};
const STATUS = 'grpc-status';
const OK = '0';
/** So that no session waits for leave to send (bytes). */
const WINDOW = 16 * 1024 * 1024;

export async function etcdSender(target: Extract<Target, { kind: 'etcd' }>, workload: Workload): Promise<Sender> {
  const sessions = await Promise.all(target.urls.map(openSession));
  const puts = new Puts(workload);
  let turn = 0;
  return {
    send(onOutcome) {
      const { key, value } = puts.next();
      const session = sessions[turn++ % sessions.length];
      if (session === undefined) throw new RangeError('no session');
      call(session, encodePut(key, puts.json(value.n)), onOutcome);
    },
    async close() {
      for (const session of sessions) session.close();
    },
  };
}

/** Resolves when the member has said how many requests it takes at a time. */
function openSession(url: string): Promise<ClientHttp2Session> {
  return new Promise((resolve, reject) => {
    const session = connect(url, { settings: { initialWindowSize: WINDOW } });
    session.once('remoteSettings', () => {
      session.setLocalWindowSize(WINDOW);
      resolve(session);
    });
    // Later ones end the requests, which say so.
    session.on('error', reject);
  });
}

function call(session: ClientHttp2Session, message: Buffer, onOutcome: OnOutcome): void {
  let status: unknown;
  const stream = session.request(REQUEST);
  // A refusal has its status in the headers, and no trailers.
  stream.on('response', (headers) => {
    status ??= headers[STATUS];
  });
  stream.on('trailers', (headers) => {
    status = headers[STATUS];
  });
  stream.on('error', () => undefined);
  stream.on('close', () => onOutcome(status === OK ? undefined : `gRPC status ${status ?? 'missing'}`));
  stream.resume();
  stream.end(message);
}

/** Tags of PutRequest's fields `key = 1` and `value = 2`, both bytes. */
const KEY = 10;
const VALUE = 18;
/** One byte that says that nothing is compressed, and the length. */
const FRAME_BYTES = 5;

/** A PutRequest as a gRPC message. */
export function encodePut(key: string, value: string): Buffer {
  const keyBytes = Buffer.byteLength(key);
  const valueBytes = Buffer.byteLength(value);
  const length = 2 + varintBytes(keyBytes) + keyBytes + varintBytes(valueBytes) + valueBytes;
  const message = Buffer.alloc(FRAME_BYTES + length);
  message.writeUInt32BE(length, 1);
  let at = FRAME_BYTES;
  for (const [tag, content, bytes] of [
    [KEY, key, keyBytes],
    [VALUE, value, valueBytes],
  ] as const) {
    message[at++] = tag;
    at = writeVarint(message, at, bytes);
    at += message.write(content, at);
  }
  return message;
}

function varintBytes(value: number): number {
  return value < 0x80 ? 1 : 1 + varintBytes(Math.floor(value / 0x80));
}

/** Returns where the next byte goes. */
function writeVarint(target: Buffer, at: number, value: number): number {
  if (value < 0x80) {
    target[at] = value;
    return at + 1;
  }
  target[at] = (value % 0x80) | 0x80;
  return writeVarint(target, at + 1, Math.floor(value / 0x80));
}
