/**
 * A TCP proxy on this machine that can fall silent, in one direction or in both: a partition as the
 * two ends see it. Bytes that are held back are in the buffers of the operating system, as those of
 * a network that retransmits. They arrive when it is healed, in their order, and a sender that goes
 * on meanwhile comes to a halt.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** `up`: from the one who connected to the target; `down`: back. */
export type Direction = 'up' | 'down';

/**
 * What is wrong: these directions are silent; or connections are broken, and new ones refused, at
 * once.
 */
export type Damage = readonly Direction[] | 'refuse';

interface Stream {
  readonly from: Socket;
  readonly to: Socket;
  readonly direction: Direction;
}

export class TcpProxy {
  private readonly streams = new Set<Stream>();
  private silent: ReadonlySet<Direction> = new Set();
  private isRefusing = false;

  private constructor(
    private readonly server: Server,
    readonly port: number,
    private readonly targetPort: number,
  ) {
    server.on('connection', (socket) => this.accept(socket));
  }

  /** Listens on a free port of 127.0.0.1 for connections to `targetPort` there. */
  static async open(targetPort: number): Promise<TcpProxy> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    return new TcpProxy(server, (server.address() as AddressInfo).port, targetPort);
  }

  /** Whether a connection goes through it just now. */
  get isUsed(): boolean {
    return this.streams.size > 0;
  }

  /** Replaces whatever was wrong before. */
  damage(damage: Damage): void {
    this.isRefusing = damage === 'refuse';
    this.silent = new Set(damage === 'refuse' ? [] : damage);
    if (this.isRefusing) this.breakAll();
    for (const stream of this.streams) this.flow(stream);
  }

  /** What was held back goes on. */
  heal(): void {
    this.damage([]);
  }

  /** Breaks all connections and listens no longer. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.breakAll();
    await closed;
  }

  private breakAll(): void {
    for (const { from } of [...this.streams]) from.resetAndDestroy();
  }

  private accept(client: Socket): void {
    if (this.isRefusing) {
      client.resetAndDestroy();
      return;
    }
    const target = connect({ port: this.targetPort, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    this.join({ from: client, to: target, direction: 'up' });
    this.join({ from: target, to: client, direction: 'down' });
  }

  private join(stream: Stream): void {
    const { from, to, direction } = stream;
    this.streams.add(stream);
    from.on('data', (chunk) => {
      if (!to.write(chunk)) from.pause();
    });
    to.on('drain', () => this.flow(stream));
    from.on('end', () => to.end());
    // Whatever it is ends the connection, which `close` tells.
    from.on('error', () => undefined);
    from.on('close', (hadError) => {
      this.streams.delete(stream);
      // What breaks is not heard of behind a silent network either; the other end finds out when it
      // goes on.
      if (this.silent.has(direction)) this.streams.add(stream);
      else if (hadError) to.resetAndDestroy();
      else to.destroySoon();
    });
    this.flow(stream);
  }

  /** Lets a stream flow, or holds it, as its direction is now. */
  private flow(stream: Stream): void {
    const { from, to, direction } = stream;
    if (this.silent.has(direction)) {
      from.pause();
    } else if (from.destroyed) {
      this.streams.delete(stream);
      to.destroySoon();
    } else if (!to.writableNeedDrain) {
      from.resume();
    }
  }
}
