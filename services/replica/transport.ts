/**
 * Sends and receives messages of NATS for the replica. Any client may publish to the subjects that
 * it listens to. Therefore nothing that arrives may throw out of a callback.
 */
import type { Msg, NatsConnection } from '@nats-io/nats-core';
import type { WarnOccasionally } from '../../shared/telemetry/log.js';
import type { Counter } from '../../shared/telemetry/samples.js';
import type { ReplyGuard } from '../../shared/wire/reply-guard.js';
import { WireError } from '../../shared/wire/wire-error.js';

export interface TransportOptions {
  readonly connection: Pick<NatsConnection, 'subscribe' | 'publish'>;
  readonly replies: Pick<ReplyGuard, 'allowsService' | 'allowsClient'>;
  /** Counts what is dropped. */
  readonly malformed: Pick<Counter, 'add'>;
  readonly warn: WarnOccasionally;
}

export class Transport {
  constructor(private readonly options: TransportOptions) {}

  /**
   * Calls back with every message that may be answered, until the connection is closed. A service
   * may have its answer on an inbox of the services.
   */
  listen(subject: string, take: (message: Msg) => void, asker: 'service' | 'client' = 'service'): void {
    const { connection, replies } = this.options;
    const allows = (reply: string | undefined) =>
      asker === 'service' ? replies.allowsService(reply) : replies.allowsClient(reply);
    connection.subscribe(subject, {
      callback: (error, message) => {
        if (error === null && allows(message.reply)) this.guard(subject, () => take(message));
      },
    });
  }

  /**
   * A message that cannot be sent is a lost message: the protocol sends it again, and the log says
   * so.
   */
  publish(subject: string, data: Uint8Array, reply?: string): void {
    const options = reply === undefined ? undefined : { reply };
    this.guard(subject, () => this.options.connection.publish(subject, data, options));
  }

  /** Does what may throw because of what a message says. */
  guard(what: string, action: () => void): void {
    try {
      action();
    } catch (error) {
      if (error instanceof WireError) this.drop(`malformed message on ${what}`, error.message);
      else this.options.warn(`failed on ${what}`, error);
    }
  }

  /** A message does not count. */
  drop(kind: string, detail: string): void {
    this.options.malformed.add();
    this.options.warn(kind, detail);
  }
}
