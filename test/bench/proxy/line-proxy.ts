/**
 * A TCP proxy on this machine that is as slow as a line, as narrow as a link, or both. It loses
 * nothing. It can be cut: its connections break, and new ones are refused.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { Samples } from '../summary.js';
import { Direction, type DirectionCounts, type Line } from './direction.js';

/** For each connection: what is told of all bytes of its client. */
export type Meter = () => (chunk: Buffer) => void;

const NO_METER: Meter = () => () => undefined;

export class LineProxy {
  private readonly sockets = new Set<Socket>();
  private readonly there: Direction;
  private readonly back: Direction;
  private isCut = false;
  /**
   * How late pieces passed, beyond what the line asks for (milliseconds): the proxy's own error,
   * while there is no limit of the rate.
   */
  readonly lateness = new Samples();

  private constructor(
    private readonly server: Server,
    private readonly targetPort: number,
    line: Line,
    private readonly meter: Meter,
  ) {
    this.there = new Direction(line, this.lateness);
    this.back = new Direction(line, this.lateness);
    server.on('connection', (socket) => this.accept(socket));
  }

  /** Listens on a free port of 127.0.0.1 for connections to `targetPort` there. */
  static async open(targetPort: number, line: Line, meter: Meter = NO_METER): Promise<LineProxy> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    return new LineProxy(server, targetPort, line, meter);
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** In each direction; undefined: no limit. Throws RangeError unless it is above 0. */
  limit(bytesPerSecond: number | undefined): void {
    this.there.limit(bytesPerSecond);
    this.back.limit(bytesPerSecond);
  }

  /** `sent`: from clients to the target. */
  get counts(): { readonly sent: DirectionCounts; readonly received: DirectionCounts } {
    return { sent: this.there.counts, received: this.back.counts };
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
    this.there.join(client, target, this.meter());
    this.back.join(target, client);
  }
}
