/** How every service connects to NATS. */
import { readFile } from 'node:fs/promises';
import { type ConnectionOptions, connect, credsAuthenticator, type NatsConnection } from 'nats';

export interface NatsOptions {
  readonly natsUrl: string;
  /** Default `random`. */
  readonly natsOrder?: 'random' | 'listed';
  readonly natsCreds: string | undefined;
}

/** A server that takes a connection and does not greet is passed over after this (milliseconds); the library's own 20 s are long for a service. */
const DIAL_MS_MAX = 3_000;
/**
 * A way that has fallen silent breaks no connection: one that brings no answer to two pings is given up when the third is due, at
 * most six seconds after its last word. The same server is dialled once more, then the next one of the list.
 */
const PING_MS = 2_000;
const PINGS_OUT_MAX = 2;

/**
 * Connects, and keeps trying for ever afterwards: a server of a NATS cluster that is gone must not stop a service.
 * `name` is shown by the NATS server's own monitoring. Rejects when the first connection cannot be made.
 */
export async function connectNats(options: NatsOptions, name: string): Promise<NatsConnection> {
  const settings: ConnectionOptions = {
    ...natsAddress(options.natsUrl),
    noRandomize: options.natsOrder === 'listed',
    name,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
    reconnectJitter: 100,
    waitOnFirstConnect: true,
    timeout: DIAL_MS_MAX,
    pingInterval: PING_MS,
    maxPingOut: PINGS_OUT_MAX,
    // A stack trace for every request, in case it fails, costs more than the request.
    noAsyncTraces: true,
  };
  if (options.natsCreds !== undefined) {
    settings.authenticator = credsAuthenticator(await readFile(options.natsCreds));
  }
  return connect(settings);
}

/** What the NATS client needs to connect to these servers: addresses with commas between, credentials in any of them. */
export function natsAddress(urls: string): Pick<ConnectionOptions, 'servers' | 'user' | 'pass'> {
  const addresses = urls.split(',').map((url) => parseAddress(url.trim()));
  const { user, pass } = addresses.find((address) => address.user !== undefined) ?? {};
  return { servers: addresses.map(({ server }) => server), ...(user !== undefined && { user, pass: pass ?? '' }) };
}

/** Splits `nats://user:password@host:port`: the NATS client does not look for credentials there. */
function parseAddress(url: string): { server: string; user?: string; pass?: string } {
  const match = /^([a-z]+:\/\/)?([^:@/]+)(?::([^@/]*))?@(.+)$/.exec(url);
  if (match === null) return { server: url };
  const [, scheme = '', user = '', pass = '', host = ''] = match;
  return { server: `${scheme}${host}`, user: decodeURIComponent(user), pass: decodeURIComponent(pass) };
}
