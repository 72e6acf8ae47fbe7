/**
 * What `craft doctor` finds in facts, and how it says so. That the facts are those of real servers:
 * test/integration/doctor.test.ts.
 */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PermissionViolationError } from '@nats-io/nats-core';
import { describe, expect, it } from 'vitest';
import { LOCAL_SETTINGS } from '../../../deploy/local/local-config.js';
import { acceptedCodes } from '../../../services/cli/commands/doctor.js';
import { diskFact } from '../../../services/cli/doctor/collect/disk.js';
import { probeDisk } from '../../../services/cli/doctor/collect/disk-probe.js';
import { LookError, within } from '../../../services/cli/doctor/collect/within.js';
import { CHECKS, examine } from '../../../services/cli/doctor/examine.js';
import {
  type DatabaseFacts,
  type Fact,
  type Facts,
  factOf,
  type StateFacts,
  type StreamFacts,
} from '../../../services/cli/doctor/facts.js';
import { nearest } from '../../../services/cli/doctor/nearest.js';
import { exitCodeOf, lookedAt, reportJson, reportText } from '../../../services/cli/doctor/report.js';
import { statusOf } from '../../../services/cli/doctor/servers.js';
import { SETTING_NAMES, settingsConflict, unknownSettings } from '../../../services/cli/doctor/settings.js';
import { overlap } from '../../../services/cli/doctor/subjects-overlap.js';
import type { StatusLine } from '../../../services/cli/health.js';
import { Subjects } from '../../../shared/wire/subjects.js';

const known = <T>(value: T): Fact<T> => ({ is: 'known', value });
const failed = (why: string): Fact<never> => ({ is: 'failed', why, remedy: 'try again' });
const notGiven = (why: string): Fact<never> => ({ is: 'not given', why, remedy: 'give it' });

const VOTERS = ['s1', 's2', 's3'];

function server(name: string, more: Partial<StatusLine> = {}): StatusLine {
  const groups = [0, 1, 2].map((group) => ({
    ...{ group, role: VOTERS[group] === name ? 'leader' : 'follower', leader: VOTERS[group] ?? '', term: 1 },
    ...{ baseIndex: 0, lastIndex: 20, commitIndex: 20, voters: VOTERS, learners: [] },
  }));
  return {
    ...{ server: name, cluster: 'craft', version: '1.0.0', node: 'v22.1.0', groups, mergedIndex: 60 },
    clock: { offsetUs: 900, ok: true, nowUs: 0 },
    state: { server: name, appliedIndex: 60, ok: true, machine: { name: 'kv', version: 1, loaded: [] } },
    ...more,
  };
}

const UNLIMITED = { max_msgs: -1, max_bytes: -1, max_age: 0, max_msg_size: -1, max_msgs_per_subject: -1 };

function stream(name: string, subjects: string[], more: object = {}): StreamFacts {
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

const STREAMS = [
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

const position = (mergedIndex: number, indexes: readonly number[]) => ({
  ...{ mergedIndex, checksum: '', timestamp: 1, resultsChecksum: '' },
  positions: indexes.map((index) => ({ index, term: 1, timestamp: 1 })),
});
const NOW_MS = Date.parse('2026-01-01T12:00:00Z');
const snapshot = (savedAt: string, confirmed = true) => ({
  ...{ name: '0000000000000030-s1', position: position(30, [10, 10, 10]), savedAt, confirmed },
});

/** Of a cluster in which nothing is wrong. */
const HEALTHY: Facts = {
  cluster: 'craft',
  environment: {
    PATH: '/bin',
    CRAFT_SERVER: 's1',
    CRAFT_SERVERS: 's1,s2,s3',
    CRAFT_GROUPS: '3',
    CRAFT_SNAPSHOT_REPLICAS: '3',
  },
  unreadableFiles: [],
  here: { version: '1.0.0', node: 'v22.1.0' },
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

const environment = (more: Readonly<Record<string, string>>): Partial<Facts> => ({
  environment: { ...HEALTHY.environment, ...more },
});
const value = <K extends 'nats' | 'account' | 'disk'>(key: K, more: object) =>
  ({ [key]: known({ ...factOf(HEALTHY[key] as Fact<object>), ...more }) }) as Partial<Facts>;
const database = (more: Partial<DatabaseFacts>): Partial<Facts> => ({ database: known({ ...DATABASE, ...more }) });
const state = (more: object): Partial<Facts> =>
  database({ state: known({ ...factOf(DATABASE.state), ...more } as StateFacts) });
const setting = (name: string, value: string, source: string): Partial<Facts> =>
  database({ settings: [{ name, value, source }] });
const servers = (...all: StatusLine[]): Partial<Facts> => ({
  servers: known({ servers: all, healths: [], before: undefined }),
});
const [s1, s2, s3] = VOTERS.map((one) => server(one)) as [StatusLine, StatusLine, StatusLine];
/** With other settings of one stream; its cluster of NATS is that of all. */
const streams = (name: string, more: object, cluster?: object): Partial<Facts> => ({
  streams: known({
    streams: STREAMS.map((one) =>
      one.config.name !== name
        ? one
        : ({ config: { ...one.config, ...more }, cluster: { ...one.cluster, ...cluster } } as StreamFacts),
    ),
    isCut: false,
  }),
});
const foreign = (...subjects: string[]): Partial<Facts> => ({
  streams: known({ streams: [...STREAMS, stream('ALL', subjects)], isCut: false }),
});

/** Code, what is changed, and what is said: place, what, remedy. */
const ROWS: readonly (readonly [string, Partial<Facts>, RegExp])[] = [
  ['unknown-setting', environment({ CRAFT_SEVER: 's1' }), /^CRAFT_SEVER: .*rename it to CRAFT_SERVER$/],
  ['unknown-setting', environment({ CRAFT_QUITE_ANOTHER_THING: '' }), /remove it, or see deploy\/README/],
  ['wrong-setting', environment({ CRAFT_HEARTBEAT_MS: '-1' }), /^CRAFT_HEARTBEAT_MS: .*>=1; correct it/],
  ['settings-conflict', environment({ CRAFT_HEARTBEAT_MS: '900' }), /three times CRAFT_HEARTBEAT_MS/],
  ['settings-conflict', environment({ CRAFT_SERVERS: '' }), /CRAFT_SERVERS is not set, and CRAFT_SERVER is/],
  [
    'setting-without-effect',
    environment({ CRAFT_NATS_CREDS: 'a', CRAFT_NATS_TOKEN: 'b' }),
    /^CRAFT_NATS_TOKEN: CRAFT_NATS_CREDS is set, and wins/,
  ],
  ['setting-without-effect', environment({ CRAFT_METRICS_ADDRESS: '0.0.0.0' }), /set CRAFT_METRICS_PORT, too/],
  ['setting-without-effect', environment({ CRAFT_TEST_CLOCK_OFFSET_MS: '5' }), /for tests only; unset it/],
  [
    'setting-without-effect',
    environment({ CRAFT_NATS_MONITOR_URL: 'http://n1:8222' }),
    /set CRAFT_LOG_STORE=jetstream/,
  ],
  [
    'unreadable-file',
    { unreadableFiles: [{ variable: 'CRAFT_NATS_CREDS', path: '/x', why: 'there is no such file' }] },
    /^CRAFT_NATS_CREDS: \/x cannot be read: there is no such file; correct/,
  ],
  [
    'environment-differs',
    environment({ CRAFT_GROUPS: '4' }),
    /^CRAFT_GROUPS: it is 4, and the cluster has 3 groups; set it to 3/,
  ],
  [
    'environment-differs',
    { ...environment({ CRAFT_SERVER: 's9', CRAFT_SERVERS: 's9' }), ...database({ state: known(undefined) }) },
    /^CRAFT_SERVER: s9 is no member .*craft members add s9/,
  ],
  [
    'servers-differ',
    servers(s1, s2, { ...s3, cluster: 'Craft' }),
    /^s3: it belongs to the cluster Craft, not to craft; start it/,
  ],
  [
    'servers-differ',
    { ...servers(s1, s2, { ...s3, groups: [...s3.groups, ...s3.groups.slice(2)] }) },
    /^CRAFT_GROUPS: the servers disagree: s1, s2 have 3; s3 has 4; start/,
  ],
  ['nats-unreachable', { nats: failed('it is away') }, /^NATS: it is away; try again$/],
  [
    'nats-version',
    value('nats', { version: '2.10.29' }),
    /^n1:4222: nats-server 2\.10\.29 is too old .*install nats-server 2\.11/,
  ],
  [
    'jetstream-off',
    { ...value('nats', { hasJetStream: false }), ...value('account', { isEnabled: false, uses: [] }) },
    /^n1:4222: JetStream is off here, and no other NATS server has it for this account; add the block/,
  ],
  ['jetstream-off', value('account', { isEnabled: false, uses: [] }), /off for this account; set jetstream: enabled/],
  [
    'jetstream-limit',
    value('account', { uses: [{ what: 'storage', used: 80, max: 100 }] }),
    /uses 80 of 100 bytes of storage; raise max_file of/,
  ],
  [
    'jetstream-limit',
    value('account', { uses: [{ what: 'streams', used: 7, max: 7 }] }),
    /uses 7 of 7 streams; raise max_streams/,
  ],
  [
    'max-payload',
    value('nats', { payloadBytesMax: 300_000 }),
    /^n1:4222: max_payload is 300000 bytes, .*set max_payload: 4MB/,
  ],
  ['nats-plain', value('nats', { isTls: false }), /without TLS; set up TLS: deploy\/nats\/README/],
  [
    'nats-right',
    { rights: known([{ verb: 'send to', subject: 'craft.rpc.s1', needs: 'a server' }]) },
    /^craft\.rpc\.s1: this user may not send to it: a server needs that; run it as the user services/,
  ],
  [
    'replicas-impossible',
    environment({ CRAFT_SNAPSHOT_REPLICAS: '5' }),
    /it is 5, and there are 3 NATS servers at most: .*; set it to 3/,
  ],
  [
    'stream-sealed',
    streams('CRAFT_LOG_s2', { sealed: true }),
    /^CRAFT_LOG_s2: it is sealed.*nats stream rm CRAFT_LOG_s2$/,
  ],
  [
    'stream-limits',
    streams('CRAFT_LOG_s2', { max_age: 1e9 }),
    /^CRAFT_LOG_s2: it drops old messages because of max_age 1 s; nats stream edit CRAFT_LOG_s2 --max-age=-1/,
  ],
  [
    'stream-limits',
    streams('OBJ_CRAFT_SNAPSHOTS', { max_bytes: 5 }),
    /refuses new messages because of max_bytes 5; nats stream edit/,
  ],
  [
    'stream-kind',
    streams('CRAFT_REGISTER', { storage: 'memory' }),
    /in memory, .*restart one server after the other.*nats stream rm CRAFT_REGISTER/,
  ],
  [
    'stream-kind',
    streams('CRAFT_LOG_s1', { retention: 'interest' }),
    /its retention is interest.*nats stream rm CRAFT_LOG_s1/,
  ],
  [
    'stream-subjects',
    streams('CRAFT_LOG_s1', { subjects: ['craft.log.s1', 'craft.cmd.>'] }),
    /it stores craft\.log\.s1, craft\.cmd\.> instead of craft\.log\.s1; nats stream edit CRAFT_LOG_s1 --subjects=craft\.log\.s1$/,
  ],
  [
    'stream-subjects',
    streams('CRAFT_LOG_s1', { subjects: ['Craft.log.s1'] }),
    /correct CRAFT_CLUSTER, or give the clusters names/,
  ],
  [
    'foreign-stream',
    foreign('other', 'craft.cmd.>', 'orders.*'),
    /^ALL: it stores craft\.cmd\.>: .*only subjects outside of craft\.>: nats stream edit ALL --subjects=other,orders\.\*$/,
  ],
  ['foreign-stream', foreign('*.log.s9'), /^ALL: it stores \*\.log\.s9: .*nats stream edit ALL --subjects=SUBJECTS$/],
  [
    'single-replica',
    streams('CRAFT_REGISTER', { num_replicas: 1 }),
    /^CRAFT_REGISTER: its only replica .*--replicas=3, and set CRAFT_SNAPSHOT_REPLICAS=3/,
  ],
  [
    'replica-offline',
    streams('CRAFT_REGISTER', {}, { replicas: [{ name: 'n2', offline: true }] }),
    /1 of 3 replicas are away: n2; start the NATS servers/,
  ],
  ['replica-offline', streams('CRAFT_LOG_s1', {}, { leader: '' }), /^CRAFT_LOG_s1: it has no leader; start/],
  [
    'missing-stream',
    { streams: known({ streams: STREAMS.slice(1), isCut: false }) },
    /^CRAFT_LOG_s1: it does not exist, .*merger of s1/,
  ],
  [
    'missing-stream',
    { streams: known({ streams: STREAMS.filter(({ config }) => config.name !== 'CRAFT_REGISTER'), isCut: false }) },
    /^CRAFT_REGISTER: .*restart one server after the other/,
  ],
  [
    'clock-offset',
    servers(s1, s2, { ...s3, clock: { offsetUs: -150_000, ok: true } }),
    /^s3: its clock is 150 ms ahead of the others; beyond 500 ms, CRAFT_CLOCK_OFFSET_MAX_MS, it leads.*chrony/,
  ],
  [
    'clock-offset',
    servers(s1, s2, { ...s3, clock: { offsetUs: 240_000, ok: true } }),
    /^s3: its clock is 240 ms behind the others; /,
  ],
  [
    'clock-here',
    { clocks: known(VOTERS.map((one) => ({ server: one, offsetUs: -400_000, roundTripUs: 900 }))) },
    /^this machine: its clock is 400 ms ahead of those of s1, s2, s3; .*chrony/,
  ],
  ['database-unreachable', { database: failed('it is away') }, /^database: it is away; try again$/],
  [
    'database-version',
    database({ versionNumber: 130_022, version: '13.22' }),
    /^db:5432\/craft_s1: Postgres 13\.22 is older than craft supports; upgrade to Postgres 14/,
  ],
  [
    'database-superuser',
    database({ isSuperuser: true }),
    /the role craft_s1 is a superuser; give craft a role of its own/,
  ],
  [
    'database-right',
    database({ missingRights: known([{ right: 'connect', grant: 'grant connect' }]) }),
    /lacks the right to connect; grant connect$/,
  ],
  [
    'database-encoding',
    database({ encoding: 'LATIN1' }),
    /its encoding is LATIN1; create it anew with encoding 'UTF8'/,
  ],
  [
    'database-read-only',
    database({
      settings: [{ name: 'default_transaction_read_only', value: 'on', source: 'database' }],
      isReadOnly: true,
    }),
    /read-only by default; alter database "bank-1" reset default_transaction_read_only/,
  ],
  ['database-read-only', database({ isStandby: true, isReadOnly: true }), /a standby.*address of the primary/],
  [
    'database-durability',
    setting('full_page_writes', 'off', 'configuration file'),
    /full_page_writes is off.*set full_page_writes = on .*, or accept it where the storage guarantees/,
  ],
  [
    'database-timeouts',
    setting('statement_timeout', '90', 'user'),
    /statement_timeout is preset to 90 ms; alter role craft_s1 reset statement_timeout/,
  ],
  [
    'database-timeouts',
    setting('statement_timeout', '5', 'database'),
    /alter database "bank-1" reset statement_timeout/,
  ],
  [
    'database-timeouts',
    setting('idle_session_timeout', '86400000', 'database user'),
    /alter role craft_s1 in database "bank-1" reset idle_session_timeout/,
  ],
  [
    'database-timeouts',
    setting('idle_session_timeout', '5', 'configuration file'),
    /alter role craft_s1 set idle_session_timeout = 0/,
  ],
  [
    'database-connections',
    database({ connections: known({ limits: [{ what: 'role', max: 5, used: 1 }], hasApplier: false }) }),
    /1 of 5 connections of the role are taken, 6 are needed; raise/,
  ],
  ['database-plain', database({ isTls: false }), /without TLS; add sslmode=verify-full/],
  [
    'database-of-another',
    state({ cluster: 'bank' }),
    /it belongs to the cluster bank, not to craft; correct CRAFT_DATABASE_URL/,
  ],
  ['database-of-another', state({ server: 's2' }), /it belongs to the server s2, not to s1/],
  ['database-of-another', state({ machine: 'bank' }), /state machine bank, and the cluster runs kv/],
  [
    'database-migrations',
    state({ missingMigrations: ['0006_cluster'] }),
    /lacks migrations of this release: 0006_cluster; restart the applier/,
  ],
  ['database-migrations', state({ unknownMigrations: 1 }), /a newer release of craft has opened it; upgrade/],
  [
    'database-migrations',
    state({ migrationProblem: 'migration 0001 was changed' }),
    /0001 was changed; install the release/,
  ],
  [
    'database-nondeterminism',
    state({ nondeterminism: [{ where: 'the default of x', why: 'uses now()', remedy: 'give the value' }] }),
    /the default of x uses now\(\); give the value/,
  ],
  ['database-trigger', state({ triggers: ['audit'] }), /kv has the trigger audit.*drop trigger audit on kv/],
  ['disk-volatile', value('disk', { fileSystem: 'tmpfs' }), /^\/data: it is a tmpfs.*set CRAFT_DATA_DIR/],
  ['disk-not-local', value('disk', { fileSystem: 'nfs' }), /it is on nfs.*local disk/],
  ['disk-full', value('disk', { freeBytes: 3 * 1024 ** 2 }), /3 MiB of 102400 MiB are free; make room/],
  [
    'disk-full',
    value('disk', { freeBytes: 9 * 1024 ** 3, totalBytes: 4 * 1024 ** 4 }),
    /9216 MiB of 4194304 MiB are free/,
  ],
  [
    'disk-slow',
    value('disk', { writes: { syncMs: [1, 2, 101, 250, 300] } }),
    /^\/data: 3 of 5 fsyncs took more than 100 ms \(median 101\.0 ms, longest 300\.0 ms\).*faster disk/,
  ],
  ['disk-slow', value('disk', { writes: { syncMs: [1_600] } }), /1 of 1 fsyncs took/],
  [
    'releases-differ',
    servers(s1, s2, { ...s3, version: '1.1.0' }),
    /several releases of craft: s1, s2 1\.0\.0; s3 1\.1\.0; finish the upgrade/,
  ],
  [
    'release-here',
    { here: { version: '0.9.0', node: 'v22.1.0' } },
    /this craft is 0\.9\.0, the servers are 1\.0\.0; install/,
  ],
  [
    'node-version',
    { here: { version: '1.0.0', node: 'v20.2.0' } },
    /^this machine: Node\.js v20\.2\.0 is too old.*install Node\.js 22/,
  ],
  ['node-version', servers(s1, s2, { ...s3, node: 'v24.0.0' }), /s1, s2 22; s3 24; run one version/],
  [
    'snapshot-late',
    { snapshots: known({ snapshots: [snapshot('2026-01-01T09:00:00Z')], nowMs: NOW_MS }) },
    /the newest one is 180 min and 30 commands old.*craft snapshot take/,
  ],
  [
    'snapshot-late',
    {
      ...environment({ CRAFT_SNAPSHOT_ENTRIES: '20' }),
      snapshots: known({ snapshots: [snapshot('2026-01-01T11:00:00Z', false)], nowMs: NOW_MS }),
    },
    /no confirmed snapshot after 60 commands, and one that no majority has confirmed/,
  ],
  [
    'snapshot-groups',
    {
      snapshots: known({
        snapshots: [{ ...snapshot('2026-01-01T11:00:00Z'), position: position(30, [10, 21]) }],
        nowMs: NOW_MS,
      }),
    },
    /does not match the log of group 1, 2; check whether/,
  ],
  [
    'degraded',
    servers(s1, s2, { ...s3, logStore: { ok: false, since: '2026-01-01', error: 'ENOSPC' } }),
    /^cluster: s3 cannot write its log store/,
  ],
  ['not-serving', servers(), /^cluster: no server answers; check that the servers run/],
  [
    'not-looked-at',
    { account: failed('could not look: there was no answer') },
    /^JetStream: could not look: there was no answer; try again/,
  ],
  [
    'not-looked-at',
    { streams: known({ streams: STREAMS, isCut: true }) },
    /^streams: there are too many.*an account|^streams: .*account of its own/,
  ],
  [
    'not-looked-at',
    database({ state: failed('could not look: permission denied for table position') }),
    /^db:5432\/craft_s1: could not look: permission denied for table position; try again/,
  ],
  [
    'not-looked-at',
    database({ missingRights: failed('no answer within 1 s') }),
    /^db:5432\/craft_s1: no answer within 1 s/,
  ],
  ['not-looked-at', database({ connections: failed('no answer within 1 s') }), /^db:5432\/craft_s1: no answer/],
  [
    'not-looked-at',
    value('disk', { writes: { why: 'this user may not write there' } }),
    /^\/data: the speed of its disk was not measured: this user may not write there; .*as the user of the server/,
  ],
  ['not-given', { disk: notGiven('not looked at') }, /^disk: not looked at; give it$/],
];

describe('the checks', () => {
  it('find nothing where nothing is wrong', () => {
    expect(examine(HEALTHY)).toEqual([]);
    expect(statusOf(HEALTHY)?.level).toBe('healthy');
  });

  it.each(ROWS)('%s is found alone, with its place and a remedy: %#', (code, change, said) => {
    const found = examine({ ...HEALTHY, ...change });
    expect(found.map((one) => one.code)).toEqual([code]);
    const [{ where, what, remedy } = { where: '', what: '', remedy: '' }] = found;
    expect(`${where}: ${what}; ${remedy}`).toMatch(said);
    expect([where, what, remedy].filter((one) => one === '')).toEqual([]);
  });

  it('are all in this list, each with a code of its own', () => {
    const codes = Object.values(CHECKS).flatMap((checks) => checks.map(({ code }) => code));
    expect(new Set(codes).size).toBe(codes.length);
    expect([...new Set(ROWS.map(([code]) => code))].sort()).toEqual([...codes].sort());
  });

  it('say nothing of what depends on facts that could not be had', () => {
    const skipped = { is: 'skipped' } as const;
    const none = { account: skipped, rights: skipped, streams: skipped, snapshots: skipped, servers: skipped };
    const facts = { ...HEALTHY, ...none, clocks: skipped, nats: failed('it is away') };
    expect(examine(facts).map(({ code }) => code)).toEqual(['nats-unreachable']);
    expect(statusOf(facts)).toBeUndefined();
  });

  it('take the word of the account, not of the NATS server that answers, for JetStream', () => {
    expect(examine({ ...HEALTHY, ...value('nats', { hasJetStream: false }) })).toEqual([]);
  });

  it('take no settings for those of the servers, in an environment that is of none', () => {
    const client = {
      ...HEALTHY,
      ...value('nats', { payloadBytesMax: 300_000, nodesMax: 1 }),
      snapshots: known({ snapshots: [snapshot('2026-01-01T01:00:00Z')], nowMs: NOW_MS }),
    };
    const codesOf = (environment: Facts['environment']) => examine({ ...client, environment }).map(({ code }) => code);
    expect(codesOf({})).toEqual([]);
    expect(codesOf({ CRAFT_PAYLOAD_BYTES_MAX: '1000000' })).toEqual(['max-payload']);
    expect(codesOf({ CRAFT_SNAPSHOT_AGE_MS: '3600000' })).toEqual(['snapshot-late']);
    expect(codesOf(HEALTHY.environment)).toEqual(['max-payload', 'replicas-impossible', 'snapshot-late']);
  });

  it('leave a snapshot alone that goes beyond the log of a follower, where no leader answers', () => {
    const beyond = { ...snapshot('2026-01-01T11:00:00Z'), position: position(30, [10, 21, 10]) };
    const snapshots = known({ snapshots: [beyond], nowMs: NOW_MS });
    const codesOf = (...all: StatusLine[]) =>
      examine({ ...HEALTHY, snapshots, ...servers(...all) }).map(({ code }) => code);
    expect(codesOf(s1, s2, s3)).toContain('snapshot-groups');
    expect(codesOf(s1, s3)).not.toContain('snapshot-groups');
  });

  it('advise no two replicas, which stop with either', () => {
    const two = { ...HEALTHY, ...value('nats', { nodesMax: 2 }), ...streams('CRAFT_REGISTER', { num_replicas: 1 }) };
    expect(examine(two).map(({ code, remedy }) => `${code}: ${remedy}`)).toEqual([
      expect.stringMatching(/^replicas-impossible: set it to 1, or add NATS servers$/),
    ]);
  });

  it('leave a fresh cluster alone: no snapshot yet, no bucket, an empty database', () => {
    const fresh = servers(
      ...VOTERS.map((one) => server(one, { state: { server: one, appliedIndex: 0, ok: true }, mergedIndex: 0 })),
    );
    const facts = {
      ...HEALTHY,
      ...fresh,
      ...database({ state: known(undefined) }),
      snapshots: known({ snapshots: [], nowMs: NOW_MS }),
    };
    expect(examine(facts)).toEqual([]);
  });
});

describe('remedies', () => {
  const STORE_SUBJECT = new Subjects('craft').storeSubject('s1');
  const store = (more: object): Partial<Facts> => ({
    streams: known({ streams: [...STREAMS, stream('CRAFT_STORE_s1', [STORE_SUBJECT], more)], isCut: false }),
  });
  const remediesOf = (change: Partial<Facts>) => examine({ ...HEALTHY, ...change }).map(({ remedy }) => remedy);

  it.each([{ sealed: true }, { storage: 'memory' }, { retention: 'interest' }])(
    'delete no log of a voter and no snapshot: %o',
    (more) => {
      const kept = [
        [store(more), /removed from all groups; .*"Replace a server"$/],
        [streams('OBJ_CRAFT_SNAPSHOTS', more), /^save the newest snapshot first: craft snapshot save FILE; /],
      ] as const;
      for (const [change, said] of kept) {
        const remedies = remediesOf(change);
        expect(remedies).toEqual([expect.stringMatching(said)]);
        expect(remedies.join()).not.toContain('stream rm');
      }
    },
  );

  it('delete no stream of somebody else', () => {
    const remedies = [foreign('>'), foreign('a', 'craft.>')].flatMap(remediesOf);
    expect(remedies).toHaveLength(2);
    expect(remedies.join()).not.toContain('stream rm');
  });
});

describe('a disk', () => {
  it('of which a small part is free has enough when that is much', () => {
    const large = value('disk', { freeBytes: 150 * 1024 ** 3, totalBytes: 4 * 1024 ** 4 });
    expect(examine({ ...HEALTHY, ...large })).toEqual([]);
  });

  it('that takes no file is known all the same', async () => {
    const facts = await probeDisk('/proc/1/task');
    expect(facts).toMatchObject({ totalBytes: expect.any(Number), writes: { why: expect.stringMatching(/\w/) } });
  });

  it.each([undefined, ''])('that is not given is not looked at: %o', async (folder) => {
    const said = await diskFact(folder, {});
    expect(said).toMatchObject({ is: 'not given', remedy: expect.stringContaining('CRAFT_DATA_DIR') });
    // There, the log store has no folder.
    expect(await diskFact(folder, { CRAFT_LOG_STORE: 'jetstream' })).toEqual({ is: 'skipped' });
  });
});

describe('the report', () => {
  const findings = examine({
    ...HEALTHY,
    ...value('nats', { isTls: false }),
    ...streams('CRAFT_LOG_s2', { max_age: 1e9, max_msgs: 5 }),
    disk: notGiven('not looked at'),
  });

  it('begins with what is worst, fits into 80 columns, and ends with the status', () => {
    const lines = reportText(findings, statusOf(HEALTHY), lookedAt(HEALTHY)).split('\n');
    expect(lines.filter((line) => /^\w/.test(line)).map((line) => line.split(':')[0])).toEqual([
      ...['error stream-limits', 'warning nats-plain', 'note not-given', 'looked at', 'found', 'status'],
    ]);
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
    expect(lines.slice(-3)).toEqual([
      'looked at: cluster craft, NATS n1:4222',
      'found: 1 error, 1 warning',
      'status: healthy: 3 of 3 servers, 3 of 3 groups led, behind by 0',
    ]);
    const place = lookedAt({ ...HEALTHY, nats: failed('it is away') });
    expect(reportText([], undefined, place)).toBe('looked at: cluster craft, no NATS\nfound: nothing');
  });

  it('is an object for programs', () => {
    expect(reportJson(findings, statusOf(HEALTHY), lookedAt(HEALTHY))).toMatchObject({
      ...{ cluster: 'craft', nats: 'n1:4222', errors: 1, warnings: 1, accepted: 0, status: { level: 'healthy' } },
      findings: [{ level: 'error', code: 'stream-limits', where: 'CRAFT_LOG_s2' }, {}, { level: 'note' }],
    });
  });

  it('shows what is accepted last, and does not count it', () => {
    const facts = { ...HEALTHY, ...value('nats', { isTls: false }), ...streams('CRAFT_LOG_s2', { max_age: 1e9 }) };
    const part = examine(facts, ['stream-limits']);
    expect(part.map(({ code, level, accepted }) => [code, level, accepted])).toEqual([
      ['nats-plain', 'warning', undefined],
      ['stream-limits', 'error', true],
    ]);
    expect([exitCodeOf(part), exitCodeOf(examine(facts, ['stream-limits', 'nats-plain']))]).toEqual([1, 0]);
    const text = reportText(part, undefined, lookedAt(facts));
    expect(text).toMatch(/^accepted stream-limits: CRAFT_LOG_s2: /m);
    expect(text).toMatch(/^found: 0 errors, 1 warning, 1 accepted$/m);
    expect(reportJson(part, undefined, lookedAt(facts))).toMatchObject({ errors: 0, warnings: 1, accepted: 1 });
  });

  it('accepts codes of findings alone', () => {
    expect(acceptedCodes('nats-plain, disk-slow')).toEqual(['nats-plain', 'disk-slow']);
    for (const wrong of ['nats-plane', '', 'nats-plain,'])
      expect(() => acceptedCodes(wrong)).toThrow(/^no findings: .*deploy\/README\.md/);
  });

  it('has exit codes, in which notes do not count', () => {
    const codes = (levels: readonly string[]) => exitCodeOf(findings.filter(({ level }) => levels.includes(level)));
    expect([codes([]), codes(['note']), codes(['warning', 'note']), codes(['error'])]).toEqual([0, 0, 1, 2]);
  });
});

describe('settings', () => {
  it('that something reads are known: of services, of the command line, of npm start', () => {
    const local = Object.keys(LOCAL_SETTINGS).filter((name) => name.startsWith('CRAFT_'));
    expect(local.filter((name) => !SETTING_NAMES.includes(name))).toEqual([]);
    expect(unknownSettings({ CRAFT_CONTEXT: 'x', CRAFT_WEB_SHOP_PASSWORD: 'y', OTHER: 'z' })).toEqual([]);
  });

  it('of an operator need no server; two that belong together are told', () => {
    expect(settingsConflict({ CRAFT_CLUSTER: 'bank' })).toBeUndefined();
    expect(settingsConflict({ CRAFT_NATS_TLS_CERT: 'x' })).toMatch(/CRAFT_NATS_TLS_CERT and CRAFT_NATS_TLS_KEY/);
  });

  it('that are mistyped are recognised', () => {
    expect(nearest('CRAFT_NATS_ULR', SETTING_NAMES)).toBe('CRAFT_NATS_URL');
    expect(nearest('CRAFT_SNAPSHOTS_ENTRIES', SETTING_NAMES)).toBe('CRAFT_SNAPSHOT_ENTRIES');
    expect(nearest('CRAFT_', SETTING_NAMES)).toBeUndefined();
  });
});

it.each([
  ['craft.cmd.>', 'craft.>', true],
  ['>', 'craft.>', true],
  ['*.cmd', 'craft.>', true],
  ['craft', 'craft.>', false],
  ['crafts.>', 'craft.>', false],
  ['a.*.c', 'a.b.*', true],
  ['a.b', 'a.b.c', false],
])('subjects: %s and %s overlap: %s', (a, b, isSo) => {
  expect([overlap(a, b), overlap(b, a)]).toEqual([isSo, isSo]);
});

describe('a look', () => {
  it('that hangs ends in time, and says so', async () => {
    expect(await within(() => new Promise(() => undefined), 'see whether it hangs', 5)).toEqual({
      ...{ is: 'failed', why: 'no answer within 0.005 s', remedy: 'see whether it hangs' },
    });
  });

  it('that is refused says as whom to try again; another failure says what it is', async () => {
    const refusal = new PermissionViolationError('no', 'publish', 'craft.admin.x');
    const failing = (error: Error) => within(() => Promise.reject(error), 'try again');
    expect(await failing(new Error('outer', { cause: refusal }))).toMatchObject({
      ...{ why: 'could not look: this user may not send to craft.admin.x' },
      ...{ remedy: expect.stringContaining('as the user operator') },
    });
    expect(await failing(new LookError('own words', 'own remedy'))).toMatchObject({
      why: 'own words',
      remedy: 'own remedy',
    });
    expect(await failing(new Error('boom'))).toMatchObject({ why: 'could not look: boom', remedy: 'try again' });
  });

  it('at a disk looks above a folder that is not there yet, and leaves nothing', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'craft-doctor-'));
    try {
      const { path, writes, freeBytes, totalBytes } = await probeDisk(join(folder, 'not', 'yet'));
      const { syncMs } = writes as { syncMs: readonly number[] };
      expect(path).toBe(folder);
      expect(syncMs.length).toBeGreaterThan(0);
      expect(syncMs).toEqual([...syncMs].sort((a, b) => a - b));
      expect(freeBytes).toBeLessThanOrEqual(totalBytes);
      expect(await readdir(folder)).toEqual([]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
