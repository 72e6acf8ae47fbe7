/**
 * Who may do what: each role against each subject, on a real NATS server that `craft nats-config`
 * has configured, for a cluster with an odd name and odd passwords. What is refused, what has no
 * effect, what is answered; and at the end the cluster serves, and all servers agree.
 */
import { mkdir, readFile, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from 'nats';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ManagedProcess } from '../../../deploy/local/managed-process.js';
import { findNatsServer } from '../../../deploy/local/tools/nats-server.js';
import { connectCraft, UnavailableError } from '../../../shared/client/index.js';
import { encodeBatchCommand, encodeCommandBatch } from '../../../shared/wire/command-batch.js';
import { natsAddress } from '../../../shared/wire/connection.js';
import { decodeMergedBatch } from '../../../shared/wire/merged-batch.js';
import { decodeReplyBatch } from '../../../shared/wire/reply-batch.js';
import { REPLY_REFUSED } from '../../../shared/wire/reply-guard.js';
import { WireError } from '../../../shared/wire/wire-error.js';
import {
  eventually,
  freePorts,
  runBlock,
  shellBlocks,
  startTestCluster,
  type TemporaryFolder,
  type TestCluster,
  temporaryFolder,
} from '../../harness/index.js';
import { converged } from './inspect.js';

const GUIDE = 'deploy/nats/README.md';
/** With what a name may have that means something elsewhere. */
const C = 'true-1_X';
const LOG = 'TRUE-1_X_LOG_s1';
const REGISTER = 'TRUE-1_X_REGISTER';
/** Each would be something else in a configuration that is not quoted. */
const PASSWORDS = {
  CRAFT_SERVICES_PASSWORD: ' a "b"; {é} \\ #$x \' ',
  CRAFT_OPERATOR_PASSWORD: '$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy',
  CRAFT_READER_PASSWORD: 'true',
  CRAFT_WEB_PASSWORD: '123456',
  CRAFT_JOBS_PASSWORD: ' ',
};
const ROLES = ['services', 'operator', 'reader', 'web', 'jobs'] as const;
type Role = (typeof ROLES)[number];

let folder: TemporaryFolder;
let home: string;
let nats: ManagedProcess;
let test: TestCluster;
const ports = { nats: 0, monitor: 0 };
const connections = new Map<Role, NatsConnection>();
/** What the NATS server has refused to a role, oldest first. */
const refusals = new Map<Role, string[]>(ROLES.map((role) => [role, []]));
/** What a user with all rights in the services' account hears. */
const heard: { subject: string; data: Uint8Array }[] = [];

const environment = (): NodeJS.ProcessEnv => ({
  ...PASSWORDS,
  ...{ HOME: home, CRAFT_CLUSTER: C, XDG_CONFIG_HOME: home },
  ...{ CRAFT_NATS_PORT: String(ports.nats), CRAFT_NATS_MONITOR_PORT: String(ports.monitor) },
});

async function variablesOf(role: Role): Promise<Record<string, string>> {
  const text = await readFile(join(home, 'nats', `${role}.env`), 'utf8');
  return Object.fromEntries(
    text
      .trimEnd()
      .split('\n')
      .map((line) => [line.split('=')[0], line.replace(/^[^=]*=/, '')]),
  );
}

async function as(role: Role): Promise<NatsConnection> {
  const { CRAFT_NATS_URL = '', CRAFT_NATS_INBOX_PREFIX = '' } = await variablesOf(role);
  const connection = await connect({ ...natsAddress(CRAFT_NATS_URL), inboxPrefix: CRAFT_NATS_INBOX_PREFIX });
  void (async () => {
    for await (const status of connection.status()) {
      if (status.type === 'error') refusals.get(role)?.push(String(status.error));
    }
  })();
  return connection;
}

const of = (role: Role): NatsConnection => {
  const found = connections.get(role);
  if (found === undefined) throw new Error(`${role} is not connected`);
  return found;
};

beforeAll(async () => {
  folder = await temporaryFolder('accounts');
  home = join(folder.path, 'home');
  await mkdir(join(folder.path, 'bin'), { recursive: true });
  await mkdir(home);
  [ports.nats = 0, ports.monitor = 0] = await freePorts(2);
  const { path } = await findNatsServer();
  await symlink(path, join(folder.path, 'bin', 'nats-server'));
  for (const block of await shellBlocks(GUIDE, 'Write it')) await runBlock(block, folder.path, environment());
  nats = await ManagedProcess.start({
    ...{ name: 'nats', command: path, args: ['-c', join(home, 'nats', 'n1.conf')] },
    ...{ logFile: join(folder.path, 'nats.log'), stopSignal: 'SIGTERM', stopTimeoutMs: 10_000 },
  });
  await eventually('a NATS server', async () => {
    const { ok } = await fetch(`http://127.0.0.1:${ports.monitor}/healthz`);
    return ok;
  });
  const { CRAFT_NATS_URL = '', ...services } = await variablesOf('services');
  test = await startTestCluster({
    ...{ cluster: C, natsUrl: CRAFT_NATS_URL, databasePrefix: 'accounts_', environment: services },
  });
  for (const role of ROLES) connections.set(role, await as(role));
  of('services').subscribe('>', { callback: (_error, { subject, data }) => void heard.push({ subject, data }) });
  await of('services').flush();
});
afterAll(async () => {
  for (const connection of connections.values()) await connection.close();
  await test?.stop();
  await nats?.stop();
  await folder?.remove();
});

it('the sites of the guide have configurations that a NATS server takes', async () => {
  const [block = '', ...more] = await shellBlocks('deploy/sites/README.md', 'Set up three sites');
  expect(more).toEqual([]);
  await runBlock(block, folder.path, environment());
  const of = (site: string) => readFile(join(home, site, `${site}1.conf`), 'utf8');
  const passwords = await Promise.all(
    ['eu', 'us', 'ap'].map(async (site) => /"nats:\/\/routes:([^@]+)@/.exec(await of(site))?.[1]),
  );
  expect(new Set(passwords).size).toBe(1);
});

const MARK = 'this-is-forged';
/**
 * Where a forger wants an answer to go; of some kinds there is a name that nobody has, where
 * nothing else comes.
 */
const FORGED = [
  ...[`${C}.log.s1`, `${C}.log.s9`, `${C}.registered.s4`, `${C}.rpc.s9`],
  ...[`$JS.API.STREAM.PURGE.${LOG}`, '_INBOX_services.x', '_INBOX_jobs.x'],
];

/**
 * The subjects in the services' account on which a forgery has arrived so far: one that comes late
 * fails a later test.
 */
function effects(): string[] {
  const isForged = ({ subject, data }: (typeof heard)[number]) =>
    Buffer.from(data).includes(MARK) ||
    // A merger writes its batches there.
    (subject === `${C}.log.s1` ? !isMergedBatch(data) : FORGED.includes(subject));
  return heard.filter(isForged).map(({ subject }) => subject);
}

function isMergedBatch(data: Uint8Array): boolean {
  try {
    decodeMergedBatch(data);
    return true;
  } catch (error) {
    if (error instanceof WireError) return false;
    throw error;
  }
}

/** Between the services, and for operators. */
const INTERNAL = [
  ...['rpc', 'feed', 'barrier', 'install', 'restart-log', 'compact', 'store', 'log', 'version', 'voters'].map(
    (one) => `${one}.s1`,
  ),
  ...['restore', 'snapshots', 'checkpoint', 'registered.s4'],
].map((one) => `${C}.${one}`);
const OPERATORS = [
  'verify',
  'machine',
  'group.0.configure',
  'admin.snapshot',
  'admin.restore.s1',
  'admin.rebuild.s1',
].map((one) => `${C}.${one}`);
const JETSTREAM = [
  ...['INFO', 'STREAM.NAMES', `STREAM.INFO.${LOG}`, `STREAM.MSG.GET.${LOG}`, `STREAM.MSG.DELETE.${LOG}`],
  ...[
    `STREAM.PURGE.${LOG}`,
    `STREAM.DELETE.${LOG}`,
    `STREAM.UPDATE.${LOG}`,
    `STREAM.CREATE.X`,
    `STREAM.SNAPSHOT.${LOG}`,
  ],
  ...[
    `CONSUMER.CREATE.${LOG}`,
    `CONSUMER.CREATE.${LOG}.x`,
    `CONSUMER.DURABLE.CREATE.${LOG}.x`,
    `CONSUMER.NAMES.${LOG}`,
  ],
  ...[`CONSUMER.PAUSE.${LOG}.x`, `CONSUMER.DELETE.${LOG}.x`, `CONSUMER.MSG.NEXT.${LOG}.x`],
  ...['DIRECT.GET.OBJ_TRUE-1_X_SNAPSHOTS', `DIRECT.GET.${REGISTER}`],
].map((one) => `$JS.API.${one}`);
const OTHERS = [
  `$JS.ACK.${LOG}.x.1.1.1.1.1`,
  '$JS.FC.x',
  '$O.TRUE-1_X_SNAPSHOTS.M.x',
  '$SYS.REQ.SERVER.PING',
  '_R_.x.y',
];
const INBOXES = ['services', 'operator', 'reader', 'web', 'jobs'].map((user) => `_INBOX_${user}.x`);
const COMMANDS = [
  ...['', 'group.0.', 'server.s1.'].flatMap((to) => [`${to}cmd.kv.put`, `${to}batch`]),
  ...['query.kv.get', 'server.s1.query.kv.get', 'sync.s1'],
].map((one) => `${C}.${one}`);
const STATUS = ['admin.status', 'admin.applied', 'admin.health'].map((one) => `${C}.${one}`);
const DIRECT = [`$JS.API.DIRECT.GET.${LOG}`, `$JS.API.DIRECT.GET.${LOG}.${C}.log.s1`];
const may = (role: Role, subject: string) => [role, subject] as const;
const MAY_NOT_SEND = [
  ...[...INTERNAL, ...OPERATORS, ...JETSTREAM, ...OTHERS, ...DIRECT, ...INBOXES].map((one) => may('web', one)),
  ...[...INTERNAL, ...OPERATORS, ...JETSTREAM, ...OTHERS, ...COMMANDS, ...INBOXES].map((one) => may('reader', one)),
  ...[...INTERNAL, ...INBOXES, '$SYS.REQ.SERVER.PING', '_R_.x.y'].map((one) => may('operator', one)),
];
const HEAR = ['>', `${C}.>`, `${C}.log.s1`, '_INBOX.>', '_R_.>', '$JS.>', '$SYS.>', '$O.>'];
const MAY_NOT_HEAR = (['web', 'reader', 'operator'] as const).flatMap((role) =>
  [...HEAR, ...ROLES.filter((one) => one !== role).map((one) => `_INBOX_${one}.>`)].map((one) => may(role, one)),
);

describe('nobody', () => {
  const ways = { 'without a user': {}, 'with a wrong password': { user: 'web', pass: 'wrong' } };
  it.each([
    ...Object.entries(ways),
    ...['', PASSWORDS.CRAFT_READER_PASSWORD].map(
      (pass) => [`as routes with ${JSON.stringify(pass)}`, { user: 'routes', pass }] as const,
    ),
  ])('is let in %s', async (_way, access) => {
    await expect(connect({ servers: `127.0.0.1:${ports.nats}`, reconnect: false, ...access })).rejects.toThrow(
      /[Aa]uthorization/,
    );
  });
});

/** What it sends, or subscribes to, is refused by NATS, and nobody has heard of it. */
async function expectRefused(role: Role, what: RegExp, act: (connection: NatsConnection) => void): Promise<void> {
  const connection = of(role);
  const said = refusals.get(role) ?? [];
  const before = said.length;
  act(connection);
  await connection.flush();
  await eventually('a refusal', () => said.slice(before).some((one) => what.test(one)), {
    timeoutMs: 2_000,
    everyMs: 5,
  });
  await of('services').flush();
  expect(effects()).toEqual([]);
}

describe('is refused to', () => {
  it.each(MAY_NOT_SEND)('%s: to send to %s', (role, subject) =>
    expectRefused(role, /[Pp]ublish/, (connection) => connection.publish(subject, MARK)),
  );

  it.each(MAY_NOT_HEAR)('%s: to hear %s', (role, subject) =>
    expectRefused(role, /[Ss]ubscription/, (connection) => {
      connection.subscribe(subject, { callback: () => undefined });
    }),
  );
});

describe('an answer to a forged reply subject has no effect', () => {
  const put = '{"key":"forged","value":1}';
  const rows = [
    ...[...COMMANDS, ...STATUS].map((subject) => may('web', subject)),
    ...[...STATUS, ...DIRECT].map((subject) => may('reader', subject)),
  ].flatMap(([role, subject]) => FORGED.map((reply) => [role, subject, reply] as const));

  it.each(rows)('%s: %s with reply %s', async (role, subject, reply) => {
    const connection = of(role);
    const jobs: string[] = [];
    const inbox = of('jobs').subscribe('_INBOX_jobs.>', {
      callback: (_error, message) => void jobs.push(message.subject),
    });
    await of('jobs').flush();
    const isDirect = subject === DIRECT[0];
    const payload = subject.endsWith('batch')
      ? encodeCommandBatch(1, reply, [frame('forged')])
      : isDirect
        ? '{"seq":1}'
        : put;
    connection.publish(subject, payload, { reply });
    // Some answers come at once.
    await connection.request(STATUS[0] ?? '', '', { timeout: 2_000 });
    await of('services').flush();
    await of('jobs').flush();
    inbox.unsubscribe();
    expect(jobs).toEqual([]);
    expect(effects()).toEqual([]);
  });

  it.each([
    ...['cmd.kv.put', 'query.kv.get', 'admin.status', 'admin.applied', 'admin.health', 'sync.s1'],
    ...['admin.status.s1', 'admin.outcomes.s1', 'admin.snapshots.s1', 'group.0.configure'],
  ])('operator, who shares the account of the services: %s', async (subject) => {
    for (const reply of FORGED.slice(0, -1)) of('operator').publish(`${C}.${subject}`, put, { reply });
    await of('operator').request(STATUS[0] ?? '', '', { timeout: 2_000 });
    await of('services').flush();
    expect(effects()).toEqual([]);
  });

  it('client, whose batch has no reply subject and names the inbox of another one', async () => {
    const jobs: string[] = [];
    const inbox = of('jobs').subscribe('_INBOX_jobs.>', { callback: (_error, one) => void jobs.push(one.subject) });
    await of('jobs').flush();
    of('web').publish(`${C}.batch`, encodeCommandBatch(1, '_INBOX_jobs.x', [frame('no-reply')]));
    await eventually('the row', async () => {
      const found = await of('web').request(`${C}.query.kv.get`, '{"key":"no-reply"}', { timeout: 5_000 });
      return found.json<{ result: unknown }>().result !== null;
    });
    await of('jobs').flush();
    inbox.unsubscribe();
    expect(jobs).toEqual([]);
    expect(effects()).toEqual([]);
  });

  it('operator, who lists the services: nats micro', async () => {
    for (const verb of ['PING', 'INFO', 'STATS'])
      for (const reply of FORGED.slice(0, -1)) of('operator').publish(`$SRV.${verb}`, '', { reply });
    await of('operator').request('$SRV.PING', '', { timeout: 2_000 });
    await of('services').flush();
    expect(effects()).toEqual([]);
  });

  it('operator, who names a forged inbox in a batch: it is refused as a whole, and told', async () => {
    for (const inbox of FORGED.slice(0, -1)) {
      const batch = encodeCommandBatch(1, inbox, [frame(`forged-${inbox}`)]);
      const { data } = await of('operator').request(`${C}.batch`, batch, { timeout: 5_000 });
      expect(decodeReplyBatch(data).error, inbox).toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
    const logs = await Promise.all(test.cluster.servers.map((server) => readFile(test.cluster.logOf(server), 'utf8')));
    expect(logs.filter((log) => log.includes(REPLY_REFUSED)).length).toBeGreaterThan(0);
    await of('services').flush();
    expect(effects()).toEqual([]);
  });
});

function frame(key: string): Uint8Array {
  return encodeBatchCommand({
    ...{ name: 'kv.put', payload: Buffer.from(JSON.stringify({ key, value: 1 })), id: `id-of-${key}` },
    ...{ acknowledgement: 'applied', after: 0, traceparent: '', payloadFormat: 'json' },
  });
}

describe('is allowed to', () => {
  it.each(['web', 'jobs', 'operator'] as const)('%s: commands, batches, reads and the status', async (role) => {
    const connection = of(role);
    const key = `of-${role}`;
    for (const subject of [
      'cmd.kv.put',
      'group.1.cmd.kv.put',
      'query.kv.get',
      'server.s2.query.kv.get',
      'sync.s2',
      'admin.status',
      'admin.applied',
      'admin.health',
    ]) {
      const input = subject.includes('put') ? { key, value: 1 } : { key };
      const answer = await connection.request(`${C}.${subject}`, JSON.stringify(input), { timeout: 5_000 });
      expect(answer.json(), subject).toMatchObject(subject.startsWith('admin') ? { cluster: C } : { ok: true });
    }
    for (const subject of ['batch', 'group.2.batch']) {
      const batch = encodeCommandBatch(1, '', [frame(`${key}-${subject}`)]);
      const answer = await connection.request(`${C}.${subject}`, batch, { timeout: 5_000 });
      expect(decodeReplyBatch(answer.data).replies, subject).toMatchObject([
        { number: 1, index: expect.any(Number), error: undefined },
      ]);
    }
  });

  it('reader: the merged log by direct gets, and the status', async () => {
    const manager = await jetstreamManager(of('reader'), { checkAPI: false });
    const last = await eventually('a batch of the log', () =>
      manager.direct.getMessage(LOG, { last_by_subj: `${C}.log.s1` }),
    );
    expect(decodeMergedBatch(last.data).after.mergedIndex).toBeGreaterThan(0);
    const all: number[] = [];
    for await (const message of await manager.direct.getBatch(LOG, { seq: 1, batch: 100 })) all.push(message.seq);
    expect(all.length).toBeGreaterThan(1);
    expect((await of('reader').request(`${C}.admin.status`, '', { timeout: 5_000 })).json()).toMatchObject({
      cluster: C,
    });
  });

  it('web: everything that the client does, in one account and out of it', async () => {
    const { CRAFT_NATS_URL: servers = '', CRAFT_NATS_INBOX_PREFIX: inboxPrefix = '' } = await variablesOf('web');
    const craft = await connectCraft({ servers, cluster: C, nats: { inboxPrefix } });
    const keys = Array.from({ length: 200 }, (_, at) => `many-${at}`);
    const replies = await Promise.all(keys.map((key, at) => craft.kv.put(key, at, { group: at % 3 })));
    expect(new Set(replies.map(({ index }) => index)).size).toBe(200);
    const others = await Promise.all(
      (['committed', 'ordered'] as const).map((ack) => craft.command('kv.put', { key: ack, value: 1 }, { ack })),
    );
    expect(others.every(({ timestamp }) => timestamp > 0)).toBe(true);
    expect(await craft.kv.get('many-7')).toMatchObject({ value: 7 });
    expect((await craft.sync('s3')).index).toBeGreaterThan(200);
    expect((await craft.status()).map(({ server, state }) => [server, state?.ok])).toEqual([
      ['s1', true],
      ['s2', true],
      ['s3', true],
    ]);
    expect((await craft.describe()).name).toBe('kv');
    await craft.close();
  });
});

it('a client that has not the inbox prefix of its user is told so at once', async () => {
  const { CRAFT_NATS_URL: servers = '' } = await variablesOf('web');
  const connecting = connectCraft({ servers, cluster: C });
  await expect(connecting).rejects.toThrow(/set the inbox prefix.*"_INBOX\./);
  await expect(connecting).rejects.toBeInstanceOf(UnavailableError);
});

describe('the commands of the guide run as they stand', () => {
  it('"Use it", each with the file of its user', async () => {
    const blocks = await shellBlocks(GUIDE, 'Use it');
    expect(blocks).toHaveLength(3);
    const run = (block = '') => runBlock(block, folder.path, { HOME: home, XDG_CONFIG_HOME: home });
    const operator = await run(blocks[0]);
    const web = await run(blocks[1]);
    const reader = await run(blocks[2]);
    const said = operator.join('\n');
    expect(said).toMatch(/^group +voters/m);
    expect(operator.filter((line) => /"rows"|"checksum"|equal/.test(line)).length, said).toBeGreaterThan(0);
    expect(JSON.parse(web[0] ?? '')).toMatchObject({ index: expect.any(Number) });
    expect(JSON.parse(web[1] ?? '')).toMatchObject({ value: { n: 1 } });
    expect(web[2]).toMatch(/^healthy: 3 of 3 servers/);
    expect(JSON.parse(reader[0] ?? '')).toMatchObject({ index: 1, name: 'kv.put' });
    expect(reader.find((line) => line.startsWith('healthy'))).toMatch(/3 of 3 servers/);
  });

  it('keeps the files for their owner', async () => {
    for (const name of ['n1.conf', 'web.env', 'services.env', 'passwords.json']) {
      expect((await stat(join(home, 'nats', name))).mode & 0o777, name).toBe(0o600);
    }
    const configuration = await readFile(join(home, 'nats', 'n1.conf'), 'utf8');
    for (const password of [PASSWORDS.CRAFT_SERVICES_PASSWORD, PASSWORDS.CRAFT_OPERATOR_PASSWORD]) {
      expect(configuration).not.toContain(password);
    }
  });
});

describe('craft doctor', () => {
  /** A role that is no superuser: the server's own one is. */
  async function databaseUrl(): Promise<string> {
    const url = new URL(test.cluster.databaseUrl('s1'));
    const admin = postgres(url.href, { max: 1 });
    const [{ user } = {}] = await admin`select current_user as user`;
    await admin.unsafe(`create role doctor login password 'doctor' in role ${user}`);
    await admin.end();
    return Object.assign(url, { username: 'doctor', password: 'doctor' }).href;
  }
  const doctor = async (role: Role, more: NodeJS.ProcessEnv = {}): Promise<string[]> =>
    runBlock('craft doctor || echo "exit code $?"', folder.path, { ...(await variablesOf(role)), ...more });

  it('finds nothing wrong, as an operator and in the environment of a server', async () => {
    const healthy = expect.stringMatching(/^status: healthy: 3 of 3 servers, 3 of 3 groups led, behind by \d+$/);
    const CRAFT_DATABASE_URL = await databaseUrl();
    // How fast this machine's disk is just now is no matter of the cluster.
    const notes = (what: string) => expect.stringMatching(`^note not-given: ${what}: not looked at`);
    const operator = await doctor('operator', { CRAFT_DATABASE_URL });
    const looked = expect.stringMatching(`^looked at: cluster ${C}, NATS \\S+$`);
    expect(operator.filter((line) => /^\S/.test(line))).toEqual([notes('disk'), looked, 'found: nothing', healthy]);
    const server = { CRAFT_SERVER: 's1', CRAFT_SERVERS: 's1,s2,s3', CRAFT_GROUPS: '3', CRAFT_DATABASE_URL };
    const services = await doctor('services', server);
    expect(services.filter((line) => /^\S/.test(line))).toEqual([notes('disk'), looked, 'found: nothing', healthy]);
  });

  it('tells a client what it could not look at, and as whom to look', async () => {
    const said = (await doctor('web')).join('\n').replaceAll('\n  ', ' ');
    const could = 'could not look: this user may not send to';
    expect(said).toContain(`warning not-looked-at: JetStream: ${could} $JS.API.INFO; run it as the user operator`);
    expect(said).toContain(`warning not-looked-at: streams: ${could} $JS.API.STREAM.LIST; run it as the user operator`);
    expect(said).toContain(
      `warning nats-right: ${C}.admin.rebuild.*: this user may not send to it: craft rebuild needs`,
    );
    expect(said).not.toMatch(/^error/m);
    expect(said).toMatch(/^exit code 1$/m);
  });
});

it('afterwards the cluster serves, nothing was dropped as malformed, and all servers agree', async () => {
  const statuses = await test.cluster.status();
  expect(statuses.map((one) => one['malformed'])).toEqual([0, 0, 0]);
  const manager = await jetstreamManager(of('services'));
  const { state } = await manager.streams.info(REGISTER, { subjects_filter: '>' });
  expect(Object.keys(state.subjects ?? {}).sort()).toEqual(['s1', 's2', 's3'].map((one) => `${C}.registered.${one}`));
  for (const server of ['s1', 's2', 's3']) {
    expect((await manager.streams.info(`TRUE-1_X_LOG_${server}`)).state.consumer_count).toBe(0);
  }
  const { CRAFT_NATS_URL: servers = '', CRAFT_NATS_INBOX_PREFIX: inboxPrefix = '' } = await variablesOf('jobs');
  const craft = await connectCraft({ servers, cluster: C, nats: { inboxPrefix } });
  const { index = 0 } = await craft.kv.put('last', 1);
  await craft.close();
  const all = await converged(test.cluster, index);
  // All commands are applied and answered now, also those of the forgers.
  await of('services').flush();
  expect(effects()).toEqual([]);
  expect(new Set(all.map((one) => JSON.stringify(one))).size).toBe(1);
});
