/**
 * Facts of the NATS server that answers, of the account, and of the rights of this user. Nothing is
 * changed.
 */
import { type JetStreamAccountStats, JetStreamApiError, jetstreamManager } from '@nats-io/jetstream';
import { headers, type NatsConnection, NoRespondersError, PermissionViolationError } from '@nats-io/nats-core';
import { messageOf } from '../../../../shared/errors.js';
import { natsAddress } from '../../../../shared/wire/connection.js';
import { INBOX_PREFIX_DEFAULT } from '../../../../shared/wire/inbox-prefix.js';
import type { Subjects } from '../../../../shared/wire/subjects.js';
import { connectionOf, type GlobalOptions, type Session, sessionOn } from '../../session.js';
import type { AccountFacts, Facts, NatsFacts, RefusedRight } from '../facts.js';
import { isOfServer } from '../settings.js';
import { LookError } from './within.js';

/** For all addresses together, one after the other (milliseconds). */
const DIAL_MS_MAX = 3_000;
/** For one answer of JetStream (milliseconds). */
export const JETSTREAM_MS_MAX = 2_500;

/** Rejects with a LookError, without secrets. */
export async function connectDoctor(options: GlobalOptions, environment: Facts['environment']): Promise<Session> {
  const remedy = 'correct --nats (CRAFT_NATS_URL) or the credentials, or start NATS there';
  const { inboxPrefix } = prefixOf(options, environment);
  const { servers } = natsAddress(options.nats);
  const timeout = Math.max(500, Math.floor(DIAL_MS_MAX / servers.length));
  let connection: NatsConnection | undefined;
  try {
    const asked = { ...options, ...(inboxPrefix !== undefined && { inboxPrefix }) };
    const more = { name: 'craft doctor', reconnect: false, timeout, noAsyncTraces: true };
    connection = await connectionOf(asked, more);
    return await sessionOn(connection, asked);
  } catch (error) {
    await connection?.close();
    // The prefix is none that a user has set: what the error says of it would mislead.
    if (connection !== undefined && inboxPrefix !== undefined) {
      const why = `NATS does not let this user hear answers on ${inboxPrefix}.>, and servers answer nobody below their own prefix`;
      const right = `let it subscribe to ${inboxPrefix}.>, or run this as the user operator: deploy/nats/README.md`;
      throw new LookError(why, right, { cause: error });
    }
    throw new LookError(messageOf(error), remedy, { cause: error });
  }
}

/** The services answer nobody below their own prefix; their user may hear more. */
function prefixOf({ inboxPrefix }: GlobalOptions, environment: Facts['environment']): { inboxPrefix?: string } {
  if (inboxPrefix === undefined || inboxPrefix === INBOX_PREFIX_DEFAULT || !isOfServer(environment)) return {};
  return { inboxPrefix: `${inboxPrefix}_doctor` };
}

export function natsFacts({ connection }: Session, options: GlobalOptions): NatsFacts {
  const { info } = connection;
  const address = connection.getServer();
  const { servers } = natsAddress(options.nats);
  const hasCertificates = [options.tlsCa, options.tlsCert, options.tlsKey].some(Boolean);
  return {
    address,
    version: info?.version ?? '',
    hasJetStream: info?.jetstream === true,
    payloadBytesMax: info?.max_payload ?? 0,
    isTls: info?.tls_required === true || hasCertificates || servers.some((server) => server.startsWith('tls://')),
    isLocal: isLocalHost(address.replace(/:\d+$/, '')),
    nodesMax: nodesOf(servers, info?.cluster, info?.connect_urls),
  };
}

/** Each may have several addresses; a cluster that does not tell them may have any number. */
function nodesOf(servers: readonly string[], cluster: string | undefined, urls: readonly string[] | undefined): number {
  if (cluster === undefined) return 1;
  if (urls === undefined) return Number.POSITIVE_INFINITY;
  return Math.max(new Set(servers).size, new Set(urls).size);
}

/** Without a port. */
export function isLocalHost(host: string): boolean {
  return host === '' || /^(localhost|127\.\d+\.\d+\.\d+|\[?::1\]?)$/.test(host);
}

/** JetStream is not enabled for the account: codes of two ages. */
const NOT_ENABLED: readonly number[] = [10_039, 10_076];

export async function accountFacts({ connection }: Session): Promise<AccountFacts> {
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false, timeout: JETSTREAM_MS_MAX });
    return { isEnabled: true, uses: usesOf(await manager.getAccountInfo()) };
  } catch (error) {
    if (isOff(error)) return { isEnabled: false, uses: [] };
    throw error;
  }
}

function isOff(error: unknown): boolean {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth += 1) {
    if (at instanceof NoRespondersError || (at instanceof JetStreamApiError && NOT_ENABLED.includes(at.code)))
      return true;
  }
  return false;
}

function usesOf({ tiers, ...account }: JetStreamAccountStats): AccountFacts['uses'] {
  // With tiers (replicas), each has limits of its own.
  const all = tiers === undefined ? [account] : Object.values(tiers).filter((tier) => tier !== undefined);
  return all.flatMap(({ storage, memory, streams, limits }) =>
    [
      { what: 'storage' as const, used: storage, max: limits.max_storage },
      { what: 'memory' as const, used: memory, max: limits.max_memory },
      { what: 'streams' as const, used: streams, max: limits.max_streams },
    ].filter(({ max }) => max > 0),
  );
}

/**
 * Longer than the name of any server: nobody hears what is sent there, and no stream is called so.
 */
const NOBODY = 'craft-doctor-asks-what-it-may-do-here';
/** No cluster has so many groups. */
const NO_GROUP = 1_000_000;

/** What is tried: a message that nobody hears, a subscription that ends at once. */
function wanted(subjects: Subjects, environment: Facts['environment']): RefusedRight[] {
  const send = (subject: string, needs: string) => ({ verb: 'send to' as const, subject, needs });
  const hear = (subject: string, needs: string) => ({ verb: 'hear' as const, subject, needs });
  if (!isOfServer(environment)) {
    return [
      send(subjects.sync(NOBODY), 'a read after a write'),
      send(subjects.groupCommand(NO_GROUP, NOBODY), 'craft cmd --group'),
      send(subjects.configure(NO_GROUP), 'craft members'),
      send(subjects.admin('snapshots', NOBODY), 'craft snapshot'),
      send(subjects.admin('rebuild', NOBODY), 'craft rebuild'),
      send(subjects.admin('outcomes', NOBODY), 'craft log'),
    ];
  }
  return [
    ...[subjects.rpc(NOBODY), subjects.feed(NOBODY), subjects.barrier(NOBODY), subjects.locate(NOBODY)].map((one) =>
      send(one, 'a server'),
    ),
    ...[subjects.logSubject(NOBODY), subjects.compact(NOBODY)].map((one) => send(one, 'a server')),
    ...[subjects.rpc(NOBODY), subjects.command(NOBODY), subjects.query(NOBODY), subjects.sync(NOBODY)].map((one) =>
      hear(one, 'a server'),
    ),
    ...[subjects.admin('status', NOBODY), subjects.checkpoint()].map((one) => hear(one, 'a server')),
  ];
}

/** Those of `wanted` that NATS refuses: it says so before it answers the next ping. */
export async function refusedRights(
  { connection, subjects }: Session,
  environment: Facts['environment'],
): Promise<RefusedRight[]> {
  const refused = new Set<string>();
  void (async () => {
    for await (const status of connection.status()) {
      if (status.type !== 'error' || !(status.error instanceof PermissionViolationError)) continue;
      refused.add(`${status.error.operation} ${status.error.subject}`);
    }
  })();
  const all = wanted(subjects, environment);
  // A foreign stream may store all subjects of the cluster: JetStream refuses what is meant for
  // another stream.
  const unstored = headers();
  unstored.set('Nats-Expected-Stream', NOBODY);
  for (const { verb, subject } of all) {
    if (verb === 'send to') connection.publish(subject, undefined, { headers: unstored });
    else connection.subscribe(subject, { callback: () => undefined }).unsubscribe();
  }
  await connection.flush();
  // What has been said is handed on in a later turn.
  await connection.flush();
  const key = { 'send to': 'publish', hear: 'subscription' } as const;
  return all
    .filter(({ verb, subject }) => refused.has(`${key[verb]} ${subject}`))
    .map((one) => ({ ...one, subject: one.subject.replace(NOBODY, '*').replace(String(NO_GROUP), '*') }));
}
