/**
 * What happens to a service's connection to NATS, in its log: the client itself says nothing of it.
 */
import type { NatsConnection } from '@nats-io/nats-core';
import type { Trouble } from '../health/health.js';
import type { WarnOccasionally } from './log.js';
import type { Metrics } from './metrics.js';

/** A health that has the connection to NATS among its conditions. */
export interface NatsHealth {
  report(code: 'nats' | 'lame-duck', trouble: Trouble | undefined): void;
}

/**
 * Warns until the connection is closed: of a lost connection and its return, of errors that the
 * server reports, and of slow subscriptions (`slowConsumer`). The messages of a slow one pile up in
 * memory. Only those with a limit are watched. Every subscription that is read by iteration needs
 * one, because the client holds any number of messages for it. `health` hears whether there is a
 * connection, and whether its server is about to leave. `metrics` count its returns.
 */
export async function watchNats(
  connection: Pick<NatsConnection, 'status'>,
  warn: WarnOccasionally,
  health?: NatsHealth,
  metrics?: Pick<Metrics, 'counter'>,
): Promise<void> {
  const reconnects = metrics?.counter(
    'nats_reconnects_total',
    'Times that the connection to NATS was lost and made again',
  );
  const slow = metrics?.counter('nats_slow_consumers_total', 'Times that a subscription was read too slowly');
  health?.report('nats', undefined);
  for await (const status of connection.status()) {
    if (status.type === 'ldm')
      health?.report('lame-duck', { why: `the NATS server ${status.server} is in lame duck mode` });
    else if (status.type === 'disconnect') {
      health?.report('lame-duck', undefined);
      health?.report('nats', { why: `the connection to ${status.server} is lost` });
    } else if (status.type === 'reconnect') health?.report('nats', undefined);
    if (status.type === 'reconnect') reconnects?.add();
    if (status.type === 'slowConsumer') {
      slow?.add();
      warn('a subscription is read too slowly', { subject: status.sub.getSubject(), pending: status.pending });
    } else if (status.type === 'disconnect') warn('the connection to NATS is lost', status.server);
    else if (status.type === 'reconnect') warn('connected to NATS again', status.server);
    else if (status.type === 'ldm') warn('the NATS server is in lame duck mode', status.server);
    else if (status.type === 'staleConnection') warn('the connection to NATS has fallen silent');
    else if (status.type === 'error') warn('the NATS server reports an error', status.error);
  }
}
