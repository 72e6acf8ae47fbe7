/** What happens to a service's connection to NATS, in its log: the client itself says nothing of it. */
import type { NatsConnection } from '@nats-io/nats-core';
import type { Trouble } from '../health/health.js';
import type { WarnOccasionally } from './log.js';

/** A health that has the connection to NATS among its conditions. */
export interface NatsHealth {
  report(code: 'nats' | 'lame-duck', trouble: Trouble | undefined): void;
}

/**
 * Warns until the connection is closed: of a lost connection and its return, of errors that the server reports, and of a subscription that is read
 * so slowly that its messages pile up in memory (`slowConsumer`; only those are watched that have a limit, which every one that is read by
 * iteration needs, since the client holds any number of messages for it). `health` hears whether there is a connection, and whether its server is
 * about to leave.
 */
export async function watchNats(
  connection: Pick<NatsConnection, 'status'>,
  warn: WarnOccasionally,
  health?: NatsHealth,
): Promise<void> {
  health?.report('nats', undefined);
  for await (const status of connection.status()) {
    if (status.type === 'ldm')
      health?.report('lame-duck', { why: `the NATS server ${status.server} is in lame duck mode` });
    else if (status.type === 'disconnect') {
      health?.report('lame-duck', undefined);
      health?.report('nats', { why: `the connection to ${status.server} is lost` });
    } else if (status.type === 'reconnect') health?.report('nats', undefined);
    if (status.type === 'slowConsumer') {
      warn('a subscription is read too slowly', { subject: status.sub.getSubject(), pending: status.pending });
    } else if (status.type === 'disconnect') warn('the connection to NATS is lost', status.server);
    else if (status.type === 'reconnect') warn('connected to NATS again', status.server);
    else if (status.type === 'ldm') warn('the NATS server is in lame duck mode', status.server);
    else if (status.type === 'staleConnection') warn('the connection to NATS has fallen silent');
    else if (status.type === 'error') warn('the NATS server reports an error', status.error);
  }
}
