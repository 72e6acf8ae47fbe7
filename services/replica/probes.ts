/**
 * Whether NATS knows of a process that takes messages for a peer. A message with a reply subject
 * that no subscription takes is answered by the NATS server at once ("no responders"). A process
 * that ended has no subscriptions, and one that hangs has.
 */
import type { NatsConnection } from '@nats-io/nats-core';
import type { ServerId } from '../../shared/raft/entry.js';
import { inboxOf } from '../../shared/wire/inbox.js';

/** Status of NATS' answer when there is no subscription. */
const NO_RESPONDERS = 503;

export class Probes {
  private readonly inbox: string;

  constructor(
    private readonly connection: NatsConnection,
    private readonly onUnreachable: (peer: ServerId) => void,
  ) {
    this.inbox = inboxOf(connection);
  }

  /** Listens until the connection is closed. */
  start(): void {
    this.connection.subscribe(`${this.inbox}.*`, {
      callback: (error, { subject, headers }) => {
        if (error === null && headers?.code === NO_RESPONDERS) this.onUnreachable(subject.slice(this.inbox.length + 1));
      },
    });
  }

  /** The reply subject of a message to `peer` that asks NATS this. */
  replyFor(peer: ServerId): string {
    return `${this.inbox}.${peer}`;
  }
}
