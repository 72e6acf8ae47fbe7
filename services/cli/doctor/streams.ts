/**
 * What is wrong with the streams of the cluster, and with those of others that take its messages.
 * Pure.
 */
import type { StreamConfig } from '@nats-io/jetstream';
import { limitsOf, limitsTrouble } from '../../../shared/health/stream-limits.js';
import { Subjects } from '../../../shared/wire/subjects.js';
import type { Check, Sighting } from './check.js';
import { type Facts, factOf, type StreamFacts } from './facts.js';
import { overlap } from './subjects-overlap.js';

type Kind = 'log' | 'store' | 'registry' | 'bucket';

interface OwnStream {
  readonly kind: Kind;
  /** All that it stores. */
  readonly subjects: readonly string[];
}

/** Which stream of this cluster it is, by its name; undefined for a foreign one. */
function ownStream(name: string, cluster: string): OwnStream | undefined {
  const subjects = new Subjects(cluster);
  const serverAfter = (prefix: string) => (name.startsWith(prefix) ? name.slice(prefix.length) : '');
  const log = serverAfter(subjects.logStream(''));
  if (log !== '') return { kind: 'log', subjects: [subjects.logSubject(log)] };
  const store = serverAfter(subjects.storeStream(''));
  if (store !== '') return { kind: 'store', subjects: [subjects.storeSubject(store)] };
  if (name === subjects.registry()) return { kind: 'registry', subjects: [subjects.registered('*')] };
  const bucket = subjects.snapshotBucket();
  if (name === `OBJ_${bucket}`) return { kind: 'bucket', subjects: [`$O.${bucket}.C.>`, `$O.${bucket}.M.>`] };
  return undefined;
}

/** The fewest that do without any one. */
const REPLICAS = 3;

/** One sighting at most for each stream of the cluster. */
function perOwn(
  { streams, cluster }: Facts,
  look: (stream: StreamFacts, own: OwnStream) => Omit<Sighting, 'where'> | undefined,
): Sighting[] {
  return (factOf(streams)?.streams ?? []).flatMap((stream) => {
    const own = ownStream(stream.config.name, cluster);
    const seen = own === undefined ? undefined : look(stream, own);
    return seen === undefined ? [] : [{ where: stream.config.name, ...seen }];
  });
}

/**
 * How a stream that cannot be mended comes to be made anew. No command deletes what exists only
 * there: the log of a voter, and the snapshots that stand for what the logs have dropped.
 */
const REMAKE: Readonly<Record<Kind, (name: string) => string>> = {
  log: (name) => `delete it, and the merger makes it anew: nats stream rm ${name}`,
  store: () =>
    'keep it until its server is removed from all groups; replace the server: deploy/README.md, "Replace a server"',
  registry: (name) =>
    `delete it, then restart one server after the other, each enters itself again: nats stream rm ${name}`,
  bucket: () =>
    'save the newest snapshot first: craft snapshot save FILE; only with that file at hand, delete the bucket and take another one: craft snapshot take',
};

export const STREAM_CHECKS: readonly Check[] = [
  {
    code: 'stream-sealed',
    level: 'error',
    about: 'A stream of the cluster is sealed: nothing is stored any more.',
    find: (facts) =>
      perOwn(facts, ({ config }, { kind }) =>
        config.sealed ? { what: 'it is sealed, and takes nothing more', remedy: REMAKE[kind](config.name) } : undefined,
      ),
  },
  {
    code: 'stream-limits',
    level: 'error',
    about: 'A stream of the cluster has a limit: messages are dropped or refused.',
    find: (facts) =>
      perOwn(facts, ({ config }, { kind }) => {
        const limits = limitsOf(foreignLimits(config, kind));
        const trouble = limitsTrouble(config.name, limits);
        if (trouble === undefined) return undefined;
        const effect = config.discard === 'new' ? 'refuses new messages' : 'drops old messages';
        return { what: `it ${effect} because of ${limits.join(', ')}`, remedy: trouble.remedy ?? '' };
      }),
  },
  {
    code: 'stream-kind',
    level: 'error',
    about: 'A stream of the cluster keeps messages in memory, or removes those that were read.',
    find: (facts) =>
      perOwn(facts, ({ config }, { kind }) => {
        const { storage, retention, name } = config;
        const remedy = REMAKE[kind](name);
        if (storage === 'memory') return { what: 'it is in memory, and lost when NATS restarts', remedy };
        if (retention === 'limits') return undefined;
        return { what: `its retention is ${retention}: messages are removed once they are read`, remedy };
      }),
  },
  {
    code: 'stream-subjects',
    level: 'error',
    about: 'A stream with the name of one of this cluster stores other subjects.',
    find: (facts) =>
      perOwn(facts, ({ config }, { subjects }) => {
        const stored = config.subjects ?? [];
        const isSame = stored.length === subjects.length && subjects.every((one) => stored.includes(one));
        if (isSame) return undefined;
        const what = `it stores ${stored.join(', ') || 'no subject'} instead of ${subjects.join(', ')}`;
        // The other cluster needs it as it is.
        const isOfOther = stored.some((one) => subjects.some((own) => isCaseApart(one, own)));
        const remedy = isOfOther
          ? 'correct CRAFT_CLUSTER, or give the clusters names that differ in more than case'
          : `nats stream edit ${config.name} --subjects=${subjects.join(',')}`;
        return { what, remedy };
      }),
  },
  {
    code: 'foreign-stream',
    level: 'error',
    about: 'A stream of another application stores subjects of the cluster: its acknowledgements look like answers.',
    find: ({ streams, cluster }) =>
      (factOf(streams)?.streams ?? []).flatMap(({ config }) => {
        if (ownStream(config.name, cluster) !== undefined) return [];
        const { subjects = [] } = config;
        const caught = subjects.filter((subject) => overlap(subject, `${cluster}.>`));
        if (caught.length === 0) return [];
        const kept = subjects.filter((subject) => !caught.includes(subject));
        const what = `it stores ${caught.join(', ')}: clients take its acknowledgements for answers of craft`;
        // Its messages belong to another application: it gives up subjects, and nothing else.
        const remedy = `give it only subjects outside of ${cluster}.>: nats stream edit ${config.name} --subjects=${kept.join(',') || 'SUBJECTS'}`;
        return [{ where: config.name, what, remedy }];
      }),
  },
  {
    code: 'single-replica',
    level: 'warning',
    about: 'The snapshots or the registry have one replica although there are three NATS servers or more.',
    find: (facts) => {
      const { nodesMax = 1 } = factOf(facts.nats) ?? {};
      // With two replicas, the loss of either stops the stream.
      if (nodesMax < REPLICAS) return [];
      return perOwn(facts, ({ config, cluster }, { kind }) => {
        // The others can be written again, or are replicated by craft. Without a cluster of
        // JetStream there is nowhere else to keep it.
        if (cluster === undefined || config.num_replicas > 1 || (kind !== 'registry' && kind !== 'bucket'))
          return undefined;
        const what = 'its only replica is lost with one NATS server';
        const remedy = `nats stream edit ${config.name} --replicas=${REPLICAS}, and set CRAFT_SNAPSHOT_REPLICAS=${REPLICAS}`;
        return { what, remedy };
      });
    },
  },
  {
    code: 'replica-offline',
    level: 'warning',
    about: 'A replica of a stream is away, or the stream has no leader.',
    find: (facts) =>
      perOwn(facts, ({ config, cluster }) => {
        if (cluster === undefined) return undefined;
        const remedy = 'start the NATS servers that are missing: nats server report jetstream';
        if (!cluster.leader) return { what: 'it has no leader', remedy };
        const away = (cluster.replicas ?? []).filter(({ offline }) => offline).map(({ name }) => name);
        if (away.length === 0) return undefined;
        return { what: `${away.length} of ${config.num_replicas} replicas are away: ${away.join(', ')}`, remedy };
      }),
  },
  {
    code: 'missing-stream',
    level: 'warning',
    about: 'A server runs, and a stream of the cluster does not exist.',
    find: missingStreams,
  },
];

const isCaseApart = (a: string, b: string): boolean => a !== b && a.toLowerCase() === b.toLowerCase();

/** Without those that craft sets itself. */
function foreignLimits(config: StreamConfig, kind: Kind): Partial<StreamConfig> {
  const { sealed: _, ...limits } = config;
  return kind === 'registry' ? { ...limits, max_msgs_per_subject: -1 } : limits;
}

function missingStreams({ streams, servers, cluster }: Facts): Sighting[] {
  const known = factOf(streams);
  const { servers: answering = [] } = factOf(servers) ?? {};
  if (known === undefined || known.isCut || answering.length === 0) return [];
  const subjects = new Subjects(cluster);
  const names = new Set(known.streams.map(({ config }) => config.name));
  const found = answering.flatMap(({ server }) => {
    const where = subjects.logStream(server);
    const remedy = `check that the merger of ${server} runs: it creates the stream`;
    return names.has(where) ? [] : [{ where, what: 'it does not exist, although the server runs', remedy }];
  });
  if (names.has(subjects.registry())) return found;
  const what = 'it does not exist: a member whose disk is wiped would not be noticed';
  return [
    ...found,
    { where: subjects.registry(), what, remedy: 'restart one server after the other: each one registers itself' },
  ];
}
