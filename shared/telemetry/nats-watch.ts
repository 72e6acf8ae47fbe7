/** What happens to a service's connection to NATS, in its log: the client itself says nothing of it. */
import type { NatsConnection } from '@nats-io/nats-core';
import type { WarnOccasionally } from './log.js';

/**
 * Warns until the connection is closed: of a lost connection and its return, of errors that the server reports, and of a subscription that is read
 * so slowly that its messages pile up in memory (`slowConsumer`; only those are watched that have a limit, which every one that is read by
 * iteration needs, since the client holds any number of messages for it).
 */
export async function watchNats(connection: Pick<NatsConnection, 'status'>, warn: WarnOccasionally): Promise<void> {
  for await (const status of connection.status()) {
    if (status.type === 'slowConsumer') {
      warn('a subscription is read too slowly', { subject: status.sub.getSubject(), pending: status.pending });
    } else if (status.type === 'disconnect') warn('the connection to NATS is lost', status.server);
    else if (status.type === 'reconnect') warn('connected to NATS again', status.server);
    else if (status.type === 'staleConnection') warn('the connection to NATS has fallen silent');
    else if (status.type === 'error') warn('the NATS server reports an error', status.error);
  }
}
