/**
 * What a NATS client sends, by kind: it reads the protocol's lines, and skips payloads. Pure.
 * See https://docs.nats.io/reference/reference-protocols/nats-protocol.
 */

/** What the bytes are for. `other`: subscriptions, requests to JetStream, status, pings. */
export const BYTE_KINDS = ['replication', 'merged log', 'answers', 'other'] as const;
export type ByteKind = (typeof BYTE_KINDS)[number];
export type BytesByKind = Readonly<Record<ByteKind, number>>;

export const NO_BYTES: BytesByKind = { replication: 0, 'merged log': 0, answers: 0, other: 0 };

const NEWLINE = 10;
/** Between a payload and the next line. */
const END_BYTES = 2;
/** A line of the protocol is a verb, two subjects and two sizes; CONNECT has credentials. */
const LINE_BYTES_MAX = 64 * 1024;

/** What a message to this subject of the cluster is. */
function kindOf(subject: string, cluster: string): ByteKind {
  if (subject.startsWith(`${cluster}.rpc.`)) return 'replication';
  if (subject.startsWith(`${cluster}.log.`)) return 'merged log';
  return subject.startsWith('_INBOX.') ? 'answers' : 'other';
}

/** One connection. */
export class NatsMeter {
  private line = '';
  private payloadLeft = 0;
  private payloadKind: ByteKind = 'other';

  /** `onBytes`: told of all bytes, each once. */
  constructor(
    private readonly cluster: string,
    private readonly onBytes: (kind: ByteKind, bytes: number) => void,
  ) {}

  /** The next bytes, cut anywhere. Throws RangeError when they cannot be the NATS protocol. */
  take(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.payloadLeft > 0) {
        const bytes = Math.min(this.payloadLeft, chunk.length - at);
        this.payloadLeft -= bytes;
        at += bytes;
        this.onBytes(this.payloadKind, bytes);
        continue;
      }
      const found = chunk.indexOf(NEWLINE, at);
      const end = found < 0 ? chunk.length : found + 1;
      this.line += chunk.toString('latin1', at, end);
      at = end;
      if (this.line.length > LINE_BYTES_MAX) throw new RangeError('not the protocol of NATS: a line without an end');
      if (found >= 0) this.endLine();
    }
  }

  private endLine(): void {
    const { line } = this;
    this.line = '';
    const [verb = '', subject = '', ...rest] = line.trimEnd().split(/\s+/);
    const isMessage = verb === 'PUB' || verb === 'HPUB';
    const kind = isMessage ? kindOf(subject, this.cluster) : 'other';
    this.onBytes(kind, line.length);
    if (!isMessage) return;
    const size = Number(rest.at(-1));
    if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`not the protocol of NATS: ${line.slice(0, 80)}`);
    this.payloadLeft = size + END_BYTES;
    this.payloadKind = kind;
  }
}
