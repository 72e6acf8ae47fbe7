/**
 * A TCP proxy on this machine that is as slow as a line between two sites: each piece of a stream
 * arrives after the delay of one way and a jitter, in its order. It has no limit of bandwidth, and
 * it loses nothing. It can be cut: its connections break, and new ones are refused.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { Samples } from '../summary.js';

export interface Line {
  /** One way, the same in both directions (milliseconds). */
  readonly delayMs: number;
  /** At most so much more, evenly spread (milliseconds). */
  readonly jitterMs: number;
}

interface Piece {
  readonly chunk: Buffer;
  readonly dueMs: number;
}

/** Bytes on the line in one direction; a sender that has more is held back. */
const UNDER_WAY_BYTES_MAX = 64 * 1024 * 1024;

/** One direction of one connection. */
class SlowStream {
  private readonly pieces: Piece[] = [];
  private bytes = 0;
  private lastDueMs = 0;
  private timer: NodeJS.Timeout | undefined;
  private hasEnded = false;

  constructor(
    private readonly from: Socket,
    private readonly to: Socket,
    private readonly line: Line,
    private readonly lateness: Samples,
  ) {
    from.on('data', (chunk) => this.take(chunk));
    from.on('end', () => {
      this.hasEnded = true;
      this.deliver();
    });
    // Whatever it is ends the connection, which `close` tells.
    from.on('error', () => undefined);
    from.on('close', () => {
      clearTimeout(this.timer);
      to.destroySoon();
    });
  }

  private take(chunk: Buffer): void {
    const { delayMs, jitterMs } = this.line;
    // One piece never overtakes another.
    this.lastDueMs = Math.max(this.lastDueMs, performance.now() + delayMs + Math.random() * jitterMs);
    this.pieces.push({ chunk, dueMs: this.lastDueMs });
    this.bytes += chunk.length;
    if (this.bytes > UNDER_WAY_BYTES_MAX) this.from.pause();
    this.schedule();
  }

  private schedule(): void {
    const [next] = this.pieces;
    if (this.timer !== undefined || next === undefined) return;
    this.timer = setTimeout(
      () => {
        this.timer = undefined;
        this.deliver();
      },
      Math.max(0, next.dueMs - performance.now()),
    );
  }

  private deliver(): void {
    const nowMs = performance.now();
    for (let [next] = this.pieces; next !== undefined && next.dueMs <= nowMs; [next] = this.pieces) {
      this.pieces.shift();
      this.bytes -= next.chunk.length;
      this.lateness.add(nowMs - next.dueMs);
      this.to.write(next.chunk);
    }
    if (this.bytes <= UNDER_WAY_BYTES_MAX) this.from.resume();
    if (this.hasEnded && this.pieces.length === 0) this.to.end();
    this.schedule();
  }
}

export class DelayProxy {
  private readonly sockets = new Set<Socket>();
  private isCut = false;
  /**
   * How late pieces were delivered, beyond what the line asks for (milliseconds): the proxy's own
   * error.
   */
  readonly lateness = new Samples();

  private constructor(
    private readonly server: Server,
    private readonly targetPort: number,
    private readonly line: Line,
  ) {
    server.on('connection', (socket) => this.accept(socket));
  }

  /** Listens on a free port of 127.0.0.1 for connections to `targetPort` there. */
  static async open(targetPort: number, line: Line): Promise<DelayProxy> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    return new DelayProxy(server, targetPort, line);
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Breaks all connections and refuses new ones, until `heal`. */
  cut(): void {
    this.isCut = true;
    for (const socket of [...this.sockets]) socket.resetAndDestroy();
  }

  heal(): void {
    this.isCut = false;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.cut();
    await closed;
  }

  private accept(client: Socket): void {
    if (this.isCut) {
      client.resetAndDestroy();
      return;
    }
    const target = connect({ port: this.targetPort, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    for (const socket of [client, target]) {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    }
    new SlowStream(client, target, this.line, this.lateness);
    new SlowStream(target, client, this.line, this.lateness);
  }
}
