/** How every service connects to NATS. */
import { setTimeout as delay } from 'node:timers/promises';
import { type ConnectionOptions, connect, type NatsConnection, type ReconnectToServerHandler, type Server } from 'nats';
import { within } from '../config/deadline.js';
import { accessOptions, type NatsAccess, whyNoConnection } from './access.js';
import { type Greeting, greetingOf } from './greeting.js';

export interface NatsOptions extends NatsAccess {
  readonly natsUrl: string;
  /** Default `random`. */
  readonly natsOrder?: 'random' | 'listed';
  /** Of all inboxes; default `_INBOX`. */
  readonly natsInboxPrefix?: string;
}

/** There is no connection to NATS, and the library does not try for one any more. */
export class NatsConnectionError extends Error {
  readonly code = 'NATS_CONNECTION';
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'NatsConnectionError';
  }
}

/** Resolves when the connection is closed, with what a service that needs it fails with. */
export async function closedForGood(connection: Pick<NatsConnection, 'closed'>): Promise<NatsConnectionError> {
  const cause = await connection.closed();
  return new NatsConnectionError('the NATS connection is closed for good', { cause });
}

export interface Connecting {
  /** Gives the connection up while there is none. A dial that is under way ends by itself. */
  readonly signal?: AbortSignal | undefined;
  /** Told within five seconds why there is no connection yet, and again while that lasts. */
  readonly onTrouble?: (why: string) => void;
}

/** Until the first look why there is no connection, and between two looks (milliseconds). */
const TROUBLE_MS = 1_000;
const TROUBLE_AGAIN_MS = 5_000;

/** What services log of `onTrouble`. */
export const NO_NATS = 'NATS cannot be reached; trying again';

/**
 * A server that takes a connection and does not greet is passed over after this (milliseconds); the
 * library's own 20 s are long for a service.
 */
const DIAL_MS_MAX = 3_000;
/**
 * A network path that has fallen silent breaks no connection. One that brings no answer to two
 * pings is given up when the third is due, at most six seconds after its last message. The same
 * server is dialled once more, then the next one.
 */
const PING_MS = 2_000;
const PINGS_OUT_MAX = 2;
/**
 * One that was dialled less than this ago comes after all others: longer than a dial takes to fail
 * (milliseconds).
 */
const REDIAL_MS = 5_000;

/** Between two rounds of dials (milliseconds): this and a random part of the second. */
const REDIAL_WAIT_MS = 100;
const REDIAL_JITTER_MS = 100;

/**
 * Connects, and keeps trying for ever, also afterwards: a server of a NATS cluster that is gone
 * must not stop a service. `name` is shown by the NATS server's own monitoring. Rejects when a file
 * of the credentials cannot be read, when the NATS servers refuse, or when `signal` aborts.
 */
export async function connectNats(
  options: NatsOptions,
  name: string,
  { signal, onTrouble }: Connecting = {},
): Promise<NatsConnection> {
  let isConnected = false;
  const address = natsAddress(options.natsUrl);
  const settings: ConnectionOptions = {
    ...address,
    ...(await accessOptions(options, address.servers)),
    ...(options.natsOrder === 'listed' && { noRandomize: true, reconnectToServer: firstListed(options.natsUrl) }),
    name,
    ...(options.natsInboxPrefix !== undefined && { inboxPrefix: options.natsInboxPrefix }),
    maxReconnectAttempts: -1,
    // Asked before each dial: the only place from which the library gives a first connection up.
    reconnectDelayHandler: () => {
      if (!isConnected) signal?.throwIfAborted();
      return REDIAL_WAIT_MS + Math.floor(Math.random() * (REDIAL_JITTER_MS + 1));
    },
    waitOnFirstConnect: true,
    timeout: DIAL_MS_MAX,
    pingInterval: PING_MS,
    maxPingOut: PINGS_OUT_MAX,
    // A stack trace for every request, in case it fails, costs more than the request.
    noAsyncTraces: true,
  };
  const ended = new AbortController();
  if (onTrouble !== undefined) void tellTrouble(settings, onTrouble, ended.signal);
  try {
    const connection = await unlessAborted(connect(settings), signal);
    isConnected = true;
    return connection;
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new NatsConnectionError(whyNoConnection(error), { cause: error });
  } finally {
    ended.abort();
  }
}

/** Rejects when `signal` aborts. A connection that comes of it later is closed. */
function unlessAborted(connecting: Promise<NatsConnection>, signal: AbortSignal | undefined): Promise<NatsConnection> {
  if (signal === undefined) return connecting;
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      reject(signal.reason);
      connecting.then((late) => late.close()).catch(() => undefined);
    };
    const settle =
      <T>(then: (value: T) => void) =>
      (value: T) => {
        signal.removeEventListener('abort', onAbort);
        then(value);
      };
    connecting.then(settle(resolve), settle(reject));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort);
  });
}

/**
 * The client says nothing while it tries for ever, so a second one tries once: what it is told is
 * the reason.
 */
async function tellTrouble(
  settings: ConnectionOptions,
  onTrouble: (why: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const once = { ...settings, waitOnFirstConnect: false, reconnect: false };
  for (let waitMs = TROUBLE_MS; ; waitMs = TROUBLE_AGAIN_MS) {
    await delay(waitMs, undefined, { signal, ref: false }).catch(() => undefined);
    if (signal.aborted) return;
    try {
      await (await connect(once)).close();
    } catch (error) {
      if (!signal.aborted) onTrouble(whyNoConnection(error));
    }
  }
}

/**
 * What subscribes next would throw in the middle of it. @throws NatsConnectionError when the
 * connection is closed.
 */
export function requireOpen(connection: NatsConnection): void {
  if (connection.isClosed()) throw new NatsConnectionError('the NATS connection was closed while the service started');
}

/** How long messages on their way may take when a connection ends (milliseconds). */
const DRAIN_MS_MAX = 1_500;

/**
 * Delivers what is on its way, for as long as that may take, then closes. A connection without a
 * server has nothing to deliver to.
 */
export async function drainAndClose(connection: NatsConnection): Promise<void> {
  if (!connection.isClosed()) await within(DRAIN_MS_MAX, connection.drain()).catch(() => undefined);
  await connection.close();
}

/** Before a NATS server has said what it takes: its default (bytes). */
const MESSAGE_BYTES_DEFAULT = 1024 * 1024;

/**
 * Gives what the NATS server takes in one message (bytes). After a reconnect another server may
 * take more or less; while there is none, the last one's word stands.
 */
export function messageBytesMax(connection: Pick<NatsConnection, 'info'>): () => number {
  let last = MESSAGE_BYTES_DEFAULT;
  return () => {
    last = connection.info?.max_payload ?? last;
    return last;
  };
}

/**
 * Of a message around the entries or the command that it carries: envelope, headers, merged batch
 * (bytes).
 */
export const MESSAGE_OVERHEAD_BYTES = 128 * 1024;

/** Between two looks at the greeting of the NATS server (milliseconds). */
const GREETING_EVERY_MS = 3_000;

/**
 * Hears how many bytes of entries a message carries now: at once, and after every reconnect. A
 * server that is reloaded with another max_payload does not say so. Therefore its greeting is
 * looked at. When that has another one, the connection is made anew: the client learns of it in no
 * other way.
 */
export function onCarriedBytes(connection: NatsConnection, hear: (bytes: number) => void): void {
  const bytesMax = messageBytesMax(connection);
  const say = () => hear(Math.max(1, bytesMax() - MESSAGE_OVERHEAD_BYTES));
  say();
  const looks = new GreetingLooks(connection);
  const looking = setInterval(() => void looks.look(), GREETING_EVERY_MS);
  looking.unref();
  void connection.closed().then(() => clearInterval(looking));
  void (async () => {
    for await (const status of connection.status()) if (status.type === 'reconnect') say();
  })();
}

class GreetingLooks {
  /** The last one that was not what the connection knows. */
  private last: Greeting | undefined;

  constructor(private readonly connection: NatsConnection) {}

  async look(): Promise<void> {
    const { connection } = this;
    if (connection.isClosed() || connection.isDraining()) return;
    const known = connection.info;
    const greeting = await greetingOf(connection.getServer());
    // Another server of the same name says nothing of this one, nor does one that was left
    // meanwhile.
    if (greeting === undefined || connection.info !== known || greeting.serverId !== known?.server_id) return;
    const { last } = this;
    this.last = greeting;
    if (greeting.payloadBytesMax === known.max_payload) return;
    // The limit of a user may be another one than the server's: once is enough for each greeting.
    if (last?.serverId === greeting.serverId && last.payloadBytesMax === greeting.payloadBytesMax) return;
    // Closed meanwhile, or about to connect again by itself.
    await connection.reconnect().catch(() => undefined);
  }
}

/**
 * The client itself goes round the list, from wherever it is; this begins at the front each time.
 */
function firstListed(urls: string): ReconnectToServerHandler {
  const { servers } = natsAddress(urls);
  // What NATS tells of more servers comes last.
  const rank = ({ src }: Server): number => (servers.includes(src) ? servers.indexOf(src) : servers.length);
  return (pool) => {
    const nowMs = Date.now();
    const rested = pool.filter(({ lastConnect }) => nowMs - lastConnect >= REDIAL_MS);
    const inOrder = [...rested].sort((a, b) => rank(a) - rank(b));
    return inOrder[0] ?? [...pool].sort((a, b) => a.lastConnect - b.lastConnect)[0] ?? null;
  };
}

/**
 * What the NATS client needs to connect to these servers: addresses with commas between,
 * credentials in any of them.
 */
export function natsAddress(urls: string): { servers: string[]; user?: string; pass?: string } {
  const addresses = urls.split(',').map((url) => parseAddress(url.trim()));
  const { user, pass } = addresses.find((address) => address.user !== undefined) ?? {};
  return { servers: addresses.map(({ server }) => server), ...(user !== undefined && { user, pass: pass ?? '' }) };
}

/** Splits `nats://user:password@host:port`: the NATS client does not look for credentials there. */
function parseAddress(url: string): { server: string; user?: string; pass?: string } {
  // The host begins after the last `@`: user and password may have one, too.
  const match = /^([a-z]+:\/\/)?([^:/]+)(?::(.*))?@([^@]+)$/.exec(url);
  if (match === null) return { server: url };
  const [, scheme = '', user = '', pass = '', host = ''] = match;
  return { server: `${scheme}${host}`, user: decodeURIComponent(user), pass: decodeURIComponent(pass) };
}
