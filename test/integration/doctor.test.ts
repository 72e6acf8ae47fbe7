/**
 * `craft doctor` where much is wrong, at a real NATS server, a real Postgres and a real disk. Each
 * mistake is named, with its place and a remedy, and nothing is changed. That it finds nothing at a
 * healthy cluster: test/integration/cluster/accounts.test.ts.
 */
import { execFile } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { jetstream, jetstreamManager, RetentionPolicy, StorageType, type StreamConfig } from '@nats-io/jetstream';
import { connect, type NatsConnection } from 'nats';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ManagedProcess } from '../../deploy/local/managed-process.js';
import { projectRoot } from '../../deploy/local/project.js';
import { findNatsServer } from '../../deploy/local/tools/nats-server.js';
import { PostgresEngine } from '../../services/applier/postgres/engine.js';
import {
  eventually,
  freePorts,
  startTestPostgres,
  type TemporaryFolder,
  type TestPostgres,
  temporaryFolder,
} from '../harness/index.js';

const PROGRAM = join(projectRoot(), 'dist/services/cli/main.js');
/** As the guide says. */
const RUN_MS_MAX = 10_000;
const DAY_NS = 86_400e9;

let folder: TemporaryFolder;
let nats: ManagedProcess;
let database: TestPostgres;
let port: number;
let admin: NatsConnection;

const natsUrl = (user: string): string => `nats://${user}:secret-word@127.0.0.1:${port}`;
const databaseUrl = (): string => `postgres://weak:secret-word@127.0.0.1:${database.port}/wrong`;

beforeAll(async () => {
  folder = await temporaryFolder('doctor');
  await mkdir(join(folder.path, 'data'));
  [port = 0] = await freePorts(1);
  await Promise.all([startWrongNats(), startWrongDatabase()]);
  await plantStreams();
  answerAsWrongServers();
});
afterAll(async () => {
  await admin?.close();
  await nats?.stop();
  await database?.stop();
  await folder?.remove();
});

/**
 * Small messages, little storage, as many streams as there are, and a user that may not do all that
 * an operator may.
 */
async function startWrongNats(): Promise<void> {
  const config = join(folder.path, 'nats.conf');
  await writeFile(
    config,
    `listen: "127.0.0.1:${port}"
    max_payload: 65536
    jetstream { store_dir: ${JSON.stringify(join(folder.path, 'jetstream'))} }
    accounts {
      A {
        jetstream { max_file: 1MB, max_mem: 1MB, max_streams: 6 }
        users: [
          { user: admin, password: secret-word }
          { user: doctor, password: secret-word, permissions: { publish: { deny: ["craft.admin.rebuild.>"] } } }
          { user: fenced, password: secret-word, permissions: { subscribe: { allow: ["_INBOX_fenced.>"] } } }
        ]
      }
      NONE { users: [{ user: stranger, password: secret-word }] }
    }`,
  );
  const { path: command } = await findNatsServer();
  nats = await ManagedProcess.start({
    ...{ name: 'nats', command, args: ['-c', config], logFile: join(folder.path, 'nats.log') },
    ...{ stopSignal: 'SIGTERM', stopTimeoutMs: 10_000 },
  });
  const { servers, user, pass } = { servers: `127.0.0.1:${port}`, user: 'admin', pass: 'secret-word' };
  admin = await eventually('a NATS server', () => connect({ servers, user, pass, reconnect: false }));
}

async function plantStreams(): Promise<void> {
  const { streams } = await jetstreamManager(admin);
  await streams.add({ name: 'CRAFT_LOG_s1', subjects: ['craft.log.s1'], max_age: DAY_NS });
  await streams.add({ name: 'CRAFT_LOG_s2', subjects: ['craft.log.s2'] });
  const sealed: Partial<StreamConfig> = { sealed: true };
  await streams.update('CRAFT_LOG_s2', sealed);
  await streams.add({ name: 'CRAFT_LOG_s3', subjects: ['craft.log.s3'], storage: StorageType.Memory });
  await streams.add({
    name: 'CRAFT_REGISTER',
    subjects: ['craft.registered.*', 'craft.registrations'],
    max_msgs_per_subject: 1,
  });
  // Also what the doctor sends to, to see what it may: it leaves nothing there.
  const caught = ['craft.cmd.>', 'craft.sync.>', 'craft.group.>', 'craft.admin.snapshots.>', 'craft.admin.outcomes.>'];
  await streams.add({ name: 'EVENTS', subjects: caught, retention: RetentionPolicy.Workqueue });
  await streams.add({ name: 'JUNK', subjects: ['junk'] });
  for (let n = 0; n < 14; n++) await jetstream(admin).publish('junk', Buffer.alloc(60_000));
}

/**
 * Servers that never were: one has another number of groups, another release and a clock that is
 * off.
 */
function answerAsWrongServers(): void {
  const voters = ['s1', 's2', 's3'];
  const status = (server: string, groups: number, version: string, node: string, offsetUs: number) => ({
    ...{ server, cluster: 'craft', version, node },
    groups: Array.from({ length: groups }, (_, group) => ({
      ...{
        group,
        role: 'follower',
        leader: null,
        term: 1,
        voters,
        learners: [],
        baseIndex: 0,
        lastIndex: 5,
        commitIndex: 5,
      },
    })),
    // All are an hour ahead of this machine.
    clock: { offsetUs, ok: true, nowUs: (Date.now() + 3_600_000) * 1_000 },
  });
  admin.subscribe('craft.admin.status', {
    callback: (_error, message) => {
      message.respond(JSON.stringify(status('s1', 3, '0.0.1', 'v22.1.0', 0)));
      message.respond(JSON.stringify(status('s2', 3, '0.0.1', 'v20.1.0', 240_000)));
      message.respond(JSON.stringify(status('s3', 2, '0.0.2', 'v22.1.0', 0)));
    },
  });
}

/**
 * The state of another cluster, in LATIN1, with what differs on every server, for a role that lacks
 * rights and has too few connections.
 */
async function startWrongDatabase(): Promise<void> {
  database = await startTestPostgres();
  const on = async (name: string, ...statements: string[]): Promise<void> => {
    const sql = postgres(database.url(name), { max: 1, onnotice: () => undefined });
    for (const statement of statements) await sql.unsafe(statement);
    await sql.end();
  };
  await on('postgres', `create database wrong encoding 'LATIN1' locale 'C' template template0`);
  const engine = new PostgresEngine({
    ...{ databaseUrl: database.url('wrong'), server: 's2', cluster: 'bank', resultWindowMs: 600_000 },
  });
  await engine.open();
  await engine.close();
  await on(
    'wrong',
    'alter table kv add column seen timestamptz not null default clock_timestamp()',
    'create function no() returns trigger language plpgsql as $$ begin return new; end $$',
    'create trigger audit before insert on kv for each row execute function no()',
    'delete from craft.migrations where id = (select max(id) from craft.migrations)',
    `create role weak login password 'secret-word' connection limit 3`,
    `create role blind login password 'secret-word'`,
    'revoke all on database wrong from public',
    'grant connect on database wrong to weak, blind',
    'grant usage on schema craft to weak',
    'grant select on all tables in schema craft to weak',
    'alter role weak set statement_timeout = 4000',
    'alter database wrong set default_transaction_read_only = on',
  );
}

interface Run {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly tookMs: number;
}

function doctor(environment: NodeJS.ProcessEnv, ...args: string[]): Promise<Run> {
  const startMs = performance.now();
  return new Promise((resolve) => {
    const env = { PATH: process.env['PATH'], HOME: folder.path, ...environment };
    execFile(process.execPath, [PROGRAM, 'doctor', ...args], { env }, (error, stdout, stderr) => {
      const exitCode = error === null ? 0 : Number(error.code);
      resolve({ exitCode, stdout, stderr, tookMs: performance.now() - startMs });
    });
  });
}

interface Said {
  readonly level: string;
  readonly code: string;
  readonly where: string;
  readonly what: string;
  readonly remedy: string;
}
const findingsOf = ({ stdout }: Run): Said[] => (JSON.parse(stdout) as { findings: Said[] }).findings;
const lineOf = ({ level, code, where, what, remedy }: Said): string => `${level} ${code}: ${where}: ${what}; ${remedy}`;

const wrongEnvironment = (): NodeJS.ProcessEnv => ({
  ...{
    CRAFT_NATS_URL: natsUrl('doctor'),
    CRAFT_DATABASE_URL: databaseUrl(),
    CRAFT_DATA_DIR: join(folder.path, 'data'),
  },
  ...{ CRAFT_SNAPSHOT_REPLICAS: '3', CRAFT_GROUPS: '5', CRAFT_NATS_TOKENS: 'x', CRAFT_METRICS_ADDRESS: '0.0.0.0' },
  ...{ CRAFT_NATS_TLS_CA: '', CRAFT_STATE_MACHINE: join(folder.path, 'machine.js'), CRAFT_HEARTBEAT_MS: '900' },
  CRAFT_PAYLOAD_BYTES_MAX: '1000000',
});

/** What is planted, and what is said of it: each exactly once. */
const PLANTED: readonly RegExp[] = [
  /^warning unknown-setting: CRAFT_NATS_TOKENS: .*rename it to CRAFT_NATS_TOKEN$/,
  /^error settings-conflict: environment: CRAFT_ELECTION_TIMEOUT_MS must be at least three times CRAFT_HEARTBEAT_MS; correct/,
  /^warning setting-without-effect: CRAFT_METRICS_ADDRESS: .*set CRAFT_METRICS_PORT, too$/,
  /^error unreadable-file: CRAFT_STATE_MACHINE: .*machine\.js cannot be read: there is no such file; correct the path/,
  /^error environment-differs: CRAFT_GROUPS: it is 5, and the cluster has 3 groups; set it to 3/,
  /^error servers-differ: CRAFT_GROUPS: .*s1, s2 have 3; s3 has 2; start all of them/,
  /^warning jetstream-limit: JetStream: the account uses \d+ of 1048576 bytes of storage; raise max_file/,
  /^warning jetstream-limit: JetStream: the account uses 6 of 6 streams; raise max_streams/,
  /^error max-payload: 127\.0\.0\.1:\d+: max_payload is 65536 bytes, .*set max_payload: 4MB/,
  /^warning nats-right: craft\.admin\.rebuild\.\*: this user may not send to it: craft rebuild needs that; run it as the user operator/,
  /^error replicas-impossible: CRAFT_SNAPSHOT_REPLICAS: it is 3, and there is 1 NATS server: .*set it to 1/,
  /^error stream-sealed: CRAFT_LOG_s2: it is sealed.*nats stream rm CRAFT_LOG_s2$/,
  /^error stream-limits: CRAFT_LOG_s1: it drops old messages because of max_age 86400 s; nats stream edit CRAFT_LOG_s1 --max-age=-1$/,
  /^error stream-kind: CRAFT_LOG_s3: it is in memory.*nats stream rm CRAFT_LOG_s3$/,
  /^error stream-subjects: CRAFT_REGISTER: it stores craft\.registered\.\*, craft\.registrations .*nats stream edit CRAFT_REGISTER --subjects=craft\.registered\.\*$/,
  /^error foreign-stream: EVENTS: it stores craft\.cmd\.>, craft\.sync\.>, .*nats stream edit EVENTS --subjects=SUBJECTS$/,
  /^warning clock-offset: s2: its clock is 240 ms behind the others; .*chrony/,
  /^warning clock-here: this machine: its clock is \d+ ms behind those of s1, s2, s3; .*chrony/,
  /^error database-right: \S+\/wrong: the role weak lacks the right to use temporary tables; grant temporary on database wrong to weak$/,
  /^error database-right: \S+\/wrong: the role weak lacks the right to use and create tables in schema craft; grant usage, create on schema craft to weak$/,
  /^error database-right: \S+\/wrong: the role weak lacks the right to change tables that it does not own: craft\.migrations, .*, kv; for each of them: alter table NAME owner to weak$/,
  /^error database-encoding: \S+\/wrong: its encoding is LATIN1; create it anew/,
  /^error database-read-only: \S+\/wrong: .*reset default_transaction_read_only$/,
  /^warning database-durability: \S+\/wrong: fsync is off.*set fsync = on/,
  /^warning database-durability: \S+\/wrong: full_page_writes is off/,
  /^warning database-timeouts: \S+\/wrong: statement_timeout is preset to 4000 ms; alter role weak reset statement_timeout$/,
  /^warning database-connections: \S+\/wrong: 0 of 3 connections of the role are taken, 6 are needed; raise/,
  /^error database-of-another: \S+\/wrong: it belongs to the cluster bank, not to craft; correct CRAFT_DATABASE_URL/,
  /^warning database-migrations: \S+\/wrong: it lacks migrations of this release: 0006_cluster; restart the applier/,
  /^error database-nondeterminism: \S+\/wrong: the default of column seen of table kv uses .*clock_timestamp\(\).*give the value in the handler/,
  /^warning database-trigger: \S+\/wrong: the table kv has the trigger audit.*drop trigger audit on kv$/,
  /^warning releases-differ: servers: .*s1, s2 0\.0\.1; s3 0\.0\.2; finish the upgrade/,
  /^warning release-here: this machine: this craft is \S+, the servers are 0\.0\.1, 0\.0\.2; install/,
  /^warning node-version: s2: Node\.js v20\.1\.0 is too old for craft; install/,
  /^warning node-version: servers: .*s1, s3 22; s2 20; run one version/,
];

/** What could have been changed. */
async function everything(): Promise<unknown> {
  const manager = await jetstreamManager(admin);
  const streams = [];
  for await (const { config, state } of manager.streams.list()) streams.push([config, state.messages, state.last_seq]);
  const sql = postgres(database.url('wrong'), { max: 1, onnotice: () => undefined });
  const [position] = await sql`select * from craft.position`;
  await sql.end();
  return { streams, position, files: await readdir(join(folder.path, 'data')) };
}

it('names every mistake with its place and the remedy, says no secret, and changes nothing', async () => {
  const before = await everything();
  const run = await doctor(wrongEnvironment(), '--json');
  expect(run).toMatchObject({ exitCode: 2, stderr: '' });
  const lines = findingsOf(run).map(lineOf);
  for (const planted of PLANTED) {
    expect(
      lines.filter((line) => planted.test(line)),
      `${planted} in\n${lines.join('\n')}`,
    ).toHaveLength(1);
  }
  expect(run.stdout).not.toContain('secret-word');
  expect(run.tookMs).toBeLessThan(RUN_MS_MAX);
  expect(JSON.parse(run.stdout)).toMatchObject({ cluster: 'craft', nats: `127.0.0.1:${port}` });
  expect(await everything()).toEqual(before);
});

it('prints the same for people, in 80 columns but for long names, and ends with the status', async () => {
  const { exitCode, stdout } = await doctor(wrongEnvironment(), '--accept', 'foreign-stream,max-payload');
  expect(exitCode).toBe(2);
  expect(stdout).toMatch(/^found: \d+ errors, \d+ warnings, 2 accepted$/m);
  const wide = stdout.split('\n').filter((line) => line.length > 80 && line.trim().includes(' '));
  expect(wide).toEqual([]);
  expect(stdout.trimEnd().split('\n').at(-1)).toMatch(/^status: not serving: 3 of 3 servers/);
});

it('says that JetStream is off for an account, what of a database a role may not read, and a wrong password for what it is', async () => {
  const blind = { CRAFT_NATS_URL: natsUrl('stranger'), CRAFT_DATABASE_URL: databaseUrl().replace('weak', 'blind') };
  const off = findingsOf(await doctor(blind, '--json')).map(lineOf);
  expect(off).toContainEqual(
    expect.stringMatching(
      /^warning not-looked-at: \S+\/wrong: could not look: permission denied for schema craft; look/,
    ),
  );
  expect(off).toContainEqual(expect.stringMatching(/^error database-encoding: \S+\/wrong: /));
  expect(off).toContainEqual(
    expect.stringMatching(/^error jetstream-off: .*off for this account; set jetstream: enabled/),
  );
  const refused = await doctor(
    { CRAFT_NATS_URL: natsUrl('nobody'), CRAFT_DATABASE_URL: databaseUrl().replace('secret-word', 'wrong-word') },
    '--json',
  );
  const said = findingsOf(refused).map(lineOf);
  expect(said).toContainEqual(expect.stringMatching(/^error nats-unreachable: NATS: NATS refuses these credentials/));
  expect(said).toContainEqual(
    expect.stringMatching(/^error database-unreachable: .*password authentication failed.*28P01/),
  );
  expect(refused.stdout).not.toMatch(/secret-word|wrong-word/);
  const server = { CRAFT_SERVER: 's1', CRAFT_SERVERS: 's1', CRAFT_NATS_INBOX_PREFIX: '_INBOX_fenced' };
  const fenced = findingsOf(await doctor({ ...server, CRAFT_NATS_URL: natsUrl('fenced') }, '--json')).map(lineOf);
  expect(fenced).toContainEqual(
    expect.stringMatching(
      /^error nats-unreachable: .* hear answers on _INBOX_fenced_doctor\.>, .*; let it subscribe to/,
    ),
  );
});

it('ends in time when NATS and Postgres hang, and says so', async () => {
  const [silentNats, silentPostgres] = await Promise.all([silent(), silent()]);
  const at = (server: Server): string => {
    const address = server.address();
    return `127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  };
  try {
    const run = await doctor(
      { CRAFT_NATS_URL: `nats://${at(silentNats)}`, CRAFT_DATABASE_URL: `postgres://a:b@${at(silentPostgres)}/c` },
      '--json',
    );
    const findings = findingsOf(run);
    expect(findings.map(({ code }) => code)).toEqual(['nats-unreachable', 'database-unreachable', 'not-given']);
    expect(run.exitCode).toBe(2);
    expect(run.tookMs).toBeLessThan(RUN_MS_MAX);
  } finally {
    silentNats.close();
    silentPostgres.close();
  }
});

/** Takes connections and says nothing. */
function silent(): Promise<Server> {
  const server = createServer((socket) => void socket.on('error', () => undefined));
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}
