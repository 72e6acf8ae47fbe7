/** The facts of a cluster in which nothing is wrong, and ways to change them. */
import {
  type DatabaseFacts,
  type Fact,
  type Facts,
  factOf,
  type StateFacts,
  type StreamFacts,
} from '../../../../services/cli/doctor/facts.js';
import type { StatusLine } from '../../../../services/cli/health.js';

export const known = <T>(value: T): Fact<T> => ({ is: 'known', value });
export const failed = (why: string): Fact<never> => ({ is: 'failed', why, remedy: 'try again' });
export const notGiven = (why: string): Fact<never> => ({ is: 'not given', why, remedy: 'give it' });

export const VOTERS = ['s1', 's2', 's3'];

export function server(name: string, more: Partial<StatusLine> = {}): StatusLine {
  const groups = [0, 1, 2].map((group) => ({
    ...{ group, role: VOTERS[group] === name ? 'leader' : 'follower', leader: VOTERS[group] ?? '', term: 1 },
    ...{ baseIndex: 0, lastIndex: 20, commitIndex: 20, voters: VOTERS, learners: [] },
  }));
  return {
    ...{ server: name, cluster: 'craft', version: '1.0.0', node: 'v22.2.0', groups, mergedIndex: 60 },
    clock: { offsetUs: 900, ok: true, nowUs: 0 },
    state: { server: name, appliedIndex: 60, ok: true, machine: { name: 'kv', version: 1, loaded: [] } },
    ...more,
  };
}

const UNLIMITED = { max_msgs: -1, max_bytes: -1, max_age: 0, max_msg_size: -1, max_msgs_per_subject: -1 };

export function stream(name: string, subjects: string[], more: object = {}): StreamFacts {
  const config = {
    name,
    subjects,
    storage: 'file',
    retention: 'limits',
    discard: 'old',
    num_replicas: 3,
    sealed: false,
  };
  const cluster = { leader: 'n1', replicas: [{ name: 'n2', offline: false }] };
  return { config: { ...config, ...UNLIMITED, ...more }, cluster } as unknown as StreamFacts;
}

export const STREAMS = [
  ...VOTERS.map((one) => stream(`CRAFT_LOG_${one}`, [`craft.log.${one}`], { num_replicas: 1 })),
  stream('CRAFT_REGISTER', ['craft.registered.*'], { max_msgs_per_subject: 1 }),
  stream('OBJ_CRAFT_SNAPSHOTS', ['$O.CRAFT_SNAPSHOTS.C.>', '$O.CRAFT_SNAPSHOTS.M.>'], { discard: 'new' }),
  stream('ORDERS', ['orders.>', 'craft']),
];

const DATABASE: DatabaseFacts = {
  ...{ place: 'db:5432/craft_s1', isTls: true, isLocal: false, versionNumber: 180_001, version: '18.1' },
  ...{ role: 'craft_s1', quoted: { role: 'craft_s1', database: '"bank-1"' }, isSuperuser: false, encoding: 'UTF8' },
  ...{ missingRights: known([]), isReadOnly: false, isStandby: false },
  settings: [
    { name: 'fsync', value: 'on', source: 'default' },
    { name: 'idle_session_timeout', value: '0', source: 'default' },
    // The engine lifts it where it matters.
    { name: 'statement_timeout', value: '60000', source: 'user' },
  ],
  connections: known({ limits: [{ what: 'server', max: 97, used: 20 }], hasApplier: true }),
  state: known({
    ...{ cluster: 'craft', server: 's1', machine: 'kv', missingMigrations: [], unknownMigrations: 0 },
    ...{ migrationProblem: undefined, nondeterminism: [], triggers: [] },
  }),
};

export const position = (mergedIndex: number, indexes: readonly number[]) => ({
  ...{ mergedIndex, checksum: '', timestamp: 1, resultsChecksum: '' },
  positions: indexes.map((index) => ({ index, term: 1, timestamp: 1 })),
});
export const NOW_MS = Date.parse('2026-01-01T12:00:00Z');
export const snapshot = (savedAt: string, confirmed = true, bytes = 1_000) => ({
  ...{ name: '0000000000000030-s1', position: position(30, [10, 10, 10]), bytes, savedAt, confirmed },
});

/** Of a cluster in which nothing is wrong. */
export const HEALTHY: Facts = {
  cluster: 'craft',
  environment: {
    PATH: '/bin',
    CRAFT_SERVER: 's1',
    CRAFT_SERVERS: 's1,s2,s3',
    CRAFT_GROUPS: '3',
    CRAFT_SNAPSHOT_REPLICAS: '3',
  },
  unreadableFiles: [],
  here: { version: '1.0.0', node: 'v22.2.0' },
  nats: known({
    ...{ address: 'n1:4222', version: '2.11.4', hasJetStream: true, payloadBytesMax: 4 * 1024 ** 2 },
    ...{ isTls: true, isLocal: false, nodesMax: 3 },
  }),
  account: known({
    isEnabled: true,
    uses: [
      { what: 'storage', used: 70, max: 100 },
      { what: 'streams', used: 6, max: 7 },
    ],
  }),
  rights: known([]),
  streams: known({ streams: STREAMS, isCut: false }),
  snapshots: known({ snapshots: [snapshot('2026-01-01T11:00:00Z')], nowMs: NOW_MS }),
  servers: known({ servers: VOTERS.map((name) => server(name)), healths: [], before: undefined }),
  clocks: known(VOTERS.map((one) => ({ server: one, offsetUs: 2_000, roundTripUs: 900 }))),
  database: known(DATABASE),
  disk: known({
    path: '/data',
    fileSystem: 'ext4',
    freeBytes: 50 * 1024 ** 3,
    totalBytes: 100 * 1024 ** 3,
    // One slow write is no slow disk.
    writes: { syncMs: [1, 2, 3, 250, 900] },
  }),
};

export const environment = (more: Readonly<Record<string, string>>): Partial<Facts> => ({
  environment: { ...HEALTHY.environment, ...more },
});
export const value = <K extends 'nats' | 'account' | 'disk'>(key: K, more: object) =>
  ({ [key]: known({ ...factOf(HEALTHY[key] as Fact<object>), ...more }) }) as Partial<Facts>;
export const database = (more: Partial<DatabaseFacts>): Partial<Facts> => ({
  database: known({ ...DATABASE, ...more }),
});
export const state = (more: object): Partial<Facts> =>
  database({ state: known({ ...factOf(DATABASE.state), ...more } as StateFacts) });
export const setting = (name: string, value: string, source: string): Partial<Facts> =>
  database({ settings: [{ name, value, source }] });
export const servers = (...all: StatusLine[]): Partial<Facts> => ({
  servers: known({ servers: all, healths: [], before: undefined }),
});
export const [s1, s2, s3] = VOTERS.map((one) => server(one)) as [StatusLine, StatusLine, StatusLine];
/** With other settings of one stream; its cluster of NATS is that of all. */
export const streams = (name: string, more: object, cluster?: object): Partial<Facts> => ({
  streams: known({
    streams: STREAMS.map((one) =>
      one.config.name !== name
        ? one
        : ({ config: { ...one.config, ...more }, cluster: { ...one.cluster, ...cluster } } as StreamFacts),
    ),
    isCut: false,
  }),
});
export const foreign = (...subjects: string[]): Partial<Facts> => ({
  streams: known({ streams: [...STREAMS, stream('ALL', subjects)], isCut: false }),
});
