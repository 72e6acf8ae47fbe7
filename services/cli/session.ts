/** The session of a command with the cluster: what takes the client, and a connection to NATS. */
import { type ConnectionOptions, connect, type NatsConnection } from 'nats';
import { type CraftClient, CraftError, connectCraft } from '../../shared/client/index.js';
import { accessOptions, type NatsAccess, whyNoConnection } from '../../shared/wire/access.js';
import { natsAddress } from '../../shared/wire/connection.js';
import { Subjects } from '../../shared/wire/subjects.js';

/** Options of every command. */
export interface GlobalOptions {
  readonly nats: string;
  readonly creds?: string;
  readonly nkey?: string;
  readonly tlsCa?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly inboxPrefix?: string;
  readonly cluster: string;
  readonly prefer?: string;
  readonly timeout: number;
}

export interface Session {
  readonly connection: NatsConnection;
  readonly client: CraftClient;
  readonly subjects: Subjects;
}

/**
 * A token is no option, because every user of the machine can see those. As for the services, an
 * empty variable is none.
 */
export function accessOf({ creds, nkey, tlsCa, tlsCert, tlsKey }: GlobalOptions): NatsAccess {
  return {
    natsCreds: creds || undefined,
    natsNkey: nkey || undefined,
    natsToken: process.env['CRAFT_NATS_TOKEN'] || undefined,
    natsTlsCa: tlsCa || undefined,
    natsTlsCert: tlsCert || undefined,
    natsTlsKey: tlsKey || undefined,
  };
}

/**
 * `more`: for the connection. @throws CraftError UNAVAILABLE with the reason; Error for a file that
 * cannot be read.
 */
export async function connectionOf(options: GlobalOptions, more: ConnectionOptions = {}): Promise<NatsConnection> {
  const address = natsAddress(options.nats);
  const access = await accessOptions(accessOf(options), address.servers);
  const inbox = options.inboxPrefix === undefined ? {} : { inboxPrefix: options.inboxPrefix };
  return connect({ ...address, ...access, ...inbox, name: 'craft cli', ...more }).catch((error: unknown) => {
    throw new CraftError('UNAVAILABLE', whyNoConnection(error), { cause: error });
  });
}

/** @throws UnavailableError when NATS does not let this user hear answers. */
export async function sessionOn(connection: NatsConnection, options: GlobalOptions): Promise<Session> {
  const { cluster, timeout: timeoutMs, prefer } = options;
  const client = await connectCraft({ connection, cluster, timeoutMs, ...(prefer ? { prefer } : {}) });
  await client.requireInbox();
  return { connection, client, subjects: new Subjects(options.cluster) };
}
