/**
 * A TCP proxy on this machine that is as narrow as the network link of a server: all its
 * connections share one token bucket in each direction, first come first served. It adds no delay
 * of its own, and loses nothing.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type ByteKind, type BytesByKind, NatsMeter, NO_BYTES } from './nats-meter.js';
import { TokenBucket } from './token-bucket.js';

/** Both count since the link was opened. */
export interface DirectionCounts {
  readonly bytes: number;
  /**
   * Bytes that the limit allowed while something waited, and that were late: the proxy's own error.
   */
  readonly lostBytes: number;
}

export interface LinkCounts {
  /** From the server to NATS. */
  readonly sent: DirectionCounts;
  readonly received: DirectionCounts;
  /** Of `sent`. */
  readonly sentByKind: BytesByKind;
}

/** What passes at once. */
const PIECE_BYTES = 4 * 1024;
/**
 * A link that was idle for so long may send that much at once: timers are late by a millisecond or
 * more (milliseconds).
 */
const BURST_MS = 20;
/**
 * Bytes that wait in one direction; a sender that has more is held back, as by the buffers of a
 * socket.
 */
const WAITING_BYTES_MAX = 1024 * 1024;

interface Piece {
  readonly to: Socket;
  chunk: Buffer;
}

/** One direction of all connections of a link. */
class Direction {
  private readonly pieces: Piece[] = [];
  private readonly heldBack = new Set<Socket>();
  private waiting = 0;
  private timer: NodeJS.Timeout | undefined;
  private bucket: TokenBucket | undefined;
  private lostBefore = 0;
  private bytes = 0;

  /** `bytesPerSecond`: undefined for no limit. */
  limit(bytesPerSecond: number | undefined): void {
    this.lostBefore += this.bucket?.lostBytes ?? 0;
    this.bucket =
      bytesPerSecond === undefined
        ? undefined
        : new TokenBucket(
            bytesPerSecond,
            Math.max(PIECE_BYTES, (bytesPerSecond * BURST_MS) / 1_000),
            performance.now(),
          );
    this.pass();
  }

  join(from: Socket, to: Socket, onBytes: (chunk: Buffer) => void): void {
    from.on('data', (chunk) => {
      onBytes(chunk);
      this.pieces.push({ to, chunk });
      this.waiting += chunk.length;
      if (this.waiting > WAITING_BYTES_MAX) {
        this.heldBack.add(from);
        from.pause();
      }
      this.pass();
    });
    // Whatever it is ends the connection, which `close` tells.
    from.on('error', () => undefined);
    from.on('close', () => {
      this.heldBack.delete(from);
      to.destroy();
    });
  }

  get counts(): DirectionCounts {
    return { bytes: this.bytes, lostBytes: this.lostBefore + (this.bucket?.lostBytes ?? 0) };
  }

  private pass(): void {
    const nowMs = performance.now();
    // Something waits since the timer was set.
    if (this.timer !== undefined) this.bucket?.onWaited(nowMs);
    for (let [next] = this.pieces; next !== undefined; [next] = this.pieces) {
      const bytes = next.to.destroyed ? next.chunk.length : Math.min(PIECE_BYTES, next.chunk.length);
      if (!next.to.destroyed) {
        if (this.bucket?.tryTake(bytes, nowMs) === false) break;
        next.to.write(next.chunk.subarray(0, bytes));
        this.bytes += bytes;
      }
      this.waiting -= bytes;
      next.chunk = next.chunk.subarray(bytes);
      if (next.chunk.length === 0) this.pieces.shift();
    }
    if (this.waiting <= WAITING_BYTES_MAX) {
      for (const socket of this.heldBack) socket.resume();
      this.heldBack.clear();
    }
    this.schedule();
  }

  private schedule(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const [next] = this.pieces;
    if (next === undefined || this.bucket === undefined) return;
    const waitMs = this.bucket.waitMs(Math.min(PIECE_BYTES, next.chunk.length));
    this.timer = setTimeout(() => this.pass(), Math.ceil(waitMs));
  }
}

export class LimitedLink {
  private readonly sockets = new Set<Socket>();
  private readonly sent = new Direction();
  private readonly received = new Direction();
  private readonly sentByKind: Record<ByteKind, number> = { ...NO_BYTES };

  private constructor(
    private readonly server: Server,
    private readonly targetPort: number,
    private readonly cluster: string,
  ) {
    server.on('connection', (socket) => this.accept(socket));
  }

  /**
   * Listens on a free port of 127.0.0.1, without a limit, for connections to the NATS server at
   * `targetPort` there.
   */
  static async open(targetPort: number, cluster: string): Promise<LimitedLink> {
    const server = createServer({ noDelay: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    return new LimitedLink(server, targetPort, cluster);
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** In each direction; undefined: no limit. Throws RangeError unless it is above 0. */
  limit(bytesPerSecond: number | undefined): void {
    this.sent.limit(bytesPerSecond);
    this.received.limit(bytesPerSecond);
  }

  get counts(): LinkCounts {
    return { sent: this.sent.counts, received: this.received.counts, sentByKind: { ...this.sentByKind } };
  }

  /** Breaks all connections. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    for (const socket of [...this.sockets]) socket.resetAndDestroy();
    await closed;
  }

  private accept(client: Socket): void {
    const target = connect({ port: this.targetPort, host: '127.0.0.1', noDelay: true });
    for (const socket of [client, target]) {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    }
    const meter = new NatsMeter(this.cluster, (kind, bytes) => {
      this.sentByKind[kind] += bytes;
    });
    this.sent.join(client, target, (chunk) => meter.take(chunk));
    this.received.join(target, client, () => undefined);
  }
}
