/** NATS protocol by hand, for what client libraries refuse to send. */
import { connect, type Socket } from 'node:net';

const NO_HEADERS = new Uint8Array(0);

export class NatsSocket {
  private received = '';
  private waiting: (() => void) | undefined;

  private constructor(private readonly socket: Socket) {
    socket.on('data', (chunk) => {
      this.received += chunk.toString('latin1');
      this.waiting?.();
    });
    // A server that refuses a message may close while we are still writing it.
    socket.on('error', () => this.waiting?.());
    socket.on('close', () => this.waiting?.());
  }

  static async open(natsUrl: string): Promise<NatsSocket> {
    const { hostname, port } = new URL(natsUrl);
    const socket = connect(Number(port), hostname);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    const nats = new NatsSocket(socket);
    socket.write(
      'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\nSUB reply.here 1\r\n',
    );
    await nats.roundTrip();
    return nats;
  }

  /**
   * Publishes with `reply.here` to answer to; returns what the server said until it had processed
   * this, or until it closed.
   */
  async publish(subject: string, payload: Uint8Array | string, headers: Uint8Array = NO_HEADERS): Promise<string> {
    this.received = '';
    const body = Buffer.concat([headers, Buffer.from(payload)]);
    const sizes = headers.length === 0 ? `${body.length}` : `${headers.length} ${body.length}`;
    const verb = headers.length === 0 ? 'PUB' : 'HPUB';
    this.socket.write(
      Buffer.concat([Buffer.from(`${verb} ${subject} reply.here ${sizes}\r\n`), body, Buffer.from('\r\n')]),
    );
    await this.roundTrip();
    return this.received;
  }

  close(): void {
    this.socket.destroy();
  }

  /**
   * Waits until the server has said something that matches, or has closed; returns all that it said
   * since the last publish.
   */
  async heard(pattern: RegExp): Promise<string> {
    while (!pattern.test(this.received) && !this.socket.closed) {
      await new Promise<void>((resolve) => {
        this.waiting = resolve;
      });
    }
    return this.received;
  }

  private async roundTrip(): Promise<void> {
    if (this.socket.closed) return;
    this.socket.write('PING\r\n');
    await this.heard(/PONG\r\n/);
  }
}
