/**
 * A proxy between an engine and its server: it counts round trips, throws the server's answers
 * away, or lets nobody in.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';

export class TcpProxy {
  /** From the first message with it on, the server's answers on that connection are thrown away. */
  secret: string | undefined;
  private readonly sockets = new Set<Socket>();
  /** By what the first message of a connection says of the client. */
  private readonly trips = new Map<string, number>();

  private constructor(
    private readonly server: Server,
    readonly port: number,
  ) {}

  static async start(port: number): Promise<TcpProxy> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (typeof address !== 'object' || address === null) throw new Error('not listening');
    const proxy = new TcpProxy(server, address.port);
    server.on('connection', (client) => proxy.join(client, connect(port, '127.0.0.1')));
    return proxy;
  }

  /**
   * How often clients with this in their first message (an application name, say) have spoken after
   * the server had.
   */
  roundTrips(of: string): number {
    let sum = 0;
    for (const [first, count] of this.trips) if (first.includes(of)) sum += count;
    return sum;
  }

  /** Ends all connections. */
  cut(): void {
    this.secret = undefined;
    for (const socket of this.sockets) socket.destroy();
    this.sockets.clear();
  }

  /** Connections are refused until `open`. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.cut();
    await closed;
  }

  async open(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(this.port, '127.0.0.1', resolve));
  }

  private join(client: Socket, server: Socket): void {
    let isDeaf = false;
    let isServersTurn = false;
    let first: string | undefined;
    for (const socket of [client, server]) {
      this.sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        client.destroy();
        server.destroy();
      });
    }
    client.on('data', (chunk) => {
      first ??= chunk.toString('latin1');
      if (this.secret !== undefined && chunk.includes(this.secret)) isDeaf = true;
      if (!isServersTurn) this.trips.set(first, (this.trips.get(first) ?? 0) + 1);
      isServersTurn = true;
      server.write(chunk);
    });
    server.on('data', (chunk) => {
      isServersTurn = false;
      if (!isDeaf) client.write(chunk);
    });
  }
}
