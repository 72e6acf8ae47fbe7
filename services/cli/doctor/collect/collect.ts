/** Gathers all facts at once: every look has its time, and what cannot be had is a fact, too. */
import { VERSION } from '../../../../shared/config/version.js';
import { lookTwice } from '../../looks.js';
import type { GlobalOptions, Session } from '../../session.js';
import { type Fact, type Facts, factOf, SKIPPED } from '../facts.js';
import { clockFacts } from './clocks.js';
import { databaseFact } from './database.js';
import { diskFact } from './disk.js';
import { unreadableFiles } from './files.js';
import { accountFacts, connectDoctor, natsFacts, refusedRights } from './nats.js';
import { snapshotsFacts, streamsFacts } from './streams.js';
import { within } from './within.js';

export interface Looks {
  readonly options: GlobalOptions;
  readonly environment: Facts['environment'];
  readonly database: string | undefined;
  readonly dataDir: string | undefined;
}

type OnNats = Pick<Facts, 'nats' | 'account' | 'rights' | 'streams' | 'snapshots' | 'servers' | 'clocks'>;

/**
 * What comes one after the other has less time for each, so that all of it ends within ten seconds
 * (milliseconds).
 */
const CONNECT_MS_MAX = 3_500;
const STREAMS_MS_MAX = 2_750;

/** Takes less than ten seconds, whatever hangs. */
export async function collect(looks: Looks): Promise<Facts> {
  const { options, environment } = looks;
  const [onNats, database, disk, files] = await Promise.all([
    collectOnNats(looks),
    databaseFact(looks.database),
    diskFact(looks.dataDir, environment),
    unreadableFiles(environment),
  ]);
  return {
    ...{ cluster: options.cluster, environment, unreadableFiles: files },
    here: { version: VERSION, node: process.version },
    ...{ ...onNats, database, disk },
  };
}

async function collectOnNats({ options, environment }: Looks): Promise<OnNats> {
  const connecting = connectDoctor(options, environment);
  const session = await within(() => connecting, 'check whether NATS hangs', CONNECT_MS_MAX);
  if (session.is !== 'known') {
    // One that comes after all is not kept.
    connecting.then(
      ({ connection }) => connection.close(),
      () => undefined,
    );
    const none = { account: SKIPPED, rights: SKIPPED, streams: SKIPPED, snapshots: SKIPPED };
    return { nats: session, ...none, servers: SKIPPED, clocks: SKIPPED };
  }
  try {
    return await lookAround(session.value, options, environment);
  } finally {
    await session.value.connection.close();
  }
}

async function lookAround(
  session: Session,
  options: GlobalOptions,
  environment: Facts['environment'],
): Promise<OnNats> {
  const nats = natsFacts(session, options);
  const jetStream = 'check that JetStream is up: nats server report jetstream';
  const [account, rights, [streams, snapshots], [servers, clocks]] = await Promise.all([
    within(() => accountFacts(session), jetStream),
    within(() => refusedRights(session, environment), 'check whether NATS hangs'),
    onStreams(session, jetStream),
    onServers(session),
  ]);
  const isOff = factOf(account)?.isEnabled === false;
  return {
    ...{ nats: { is: 'known', value: nats }, account, rights },
    ...(isOff ? { streams: SKIPPED, snapshots: SKIPPED } : { streams, snapshots }),
    ...{ servers, clocks },
  };
}

async function onStreams(session: Session, remedy: string): Promise<[Facts['streams'], Facts['snapshots']]> {
  const streams = await within(() => streamsFacts(session), remedy, STREAMS_MS_MAX);
  if (streams.is !== 'known') return [streams, SKIPPED];
  return [streams, await within(() => snapshotsFacts(session, streams.value), remedy, STREAMS_MS_MAX)];
}

async function onServers(session: Session): Promise<[Facts['servers'], Facts['clocks']]> {
  const servers = await within(() => lookTwice(session), 'check that the servers run');
  const count = factOf(servers)?.servers.length ?? 0;
  const clocks: Fact<never> | Facts['clocks'] =
    count === 0 ? SKIPPED : await within(() => clockFacts(session, count), 'check that the servers run');
  return [servers, clocks];
}
