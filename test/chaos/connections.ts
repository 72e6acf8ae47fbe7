/** Connections to NATS that a test lends out, all closed at its end. */
import { connect, type NatsConnection } from 'nats';
import { natsAddress } from '../../shared/wire/connection.js';

export class Connections {
  private readonly all: NatsConnection[] = [];

  /** `url`: NATS servers, with commas between. */
  constructor(private readonly url: string) {}

  /** So many new ones, which never give up. */
  async open(count: number): Promise<NatsConnection[]> {
    const settings = { ...natsAddress(this.url), maxReconnectAttempts: -1, reconnectTimeWait: 250 };
    const opened = await Promise.all(Array.from({ length: count }, () => connect(settings)));
    this.all.push(...opened);
    return opened;
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map((connection) => connection.close()));
  }
}
