/**
 * The applier service on a real NATS server and a real Postgres, with the merged log written by
 * hand. Whatever happens to the stream or the database, every entry is applied once and in order,
 * or the service says why it stops.
 */
import { join } from 'node:path';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { headers, type Msg, type MsgHdrs, type NatsConnection } from '@nats-io/nats-core';
import { Objm } from '@nats-io/obj';
import { connect } from 'nats';
import postgres, { type Sql } from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startApplier } from '../../services/applier/start.js';
import type { ApplierConfig } from '../../shared/config/config.js';
import type { Service } from '../../shared/config/service.js';
import type { AppliedBatch, EngineBatch } from '../../shared/engine/port.js';
import { Merge, type MergedRun, mergeStart } from '../../shared/merge/merge.js';
import { EntryKind, type LogEntry } from '../../shared/raft/entry.js';
import { SnapshotBucket } from '../../shared/snapshot/bucket.js';
import { openFile, saveFile } from '../../shared/snapshot/file.js';
import { type CommandFields, encodeCommand } from '../../shared/wire/command.js';
import { encodeEntry } from '../../shared/wire/entry-block.js';
import { encodeMergedBatch } from '../../shared/wire/merged-batch.js';
import { Subjects } from '../../shared/wire/subjects.js';
import {
  eventually,
  startTestNats,
  startTestPostgres,
  type TestNats,
  type TestPostgres,
  temporaryFolder,
} from '../harness/index.js';
import { MemoryEngine } from '../memory/engine.js';

const SERVER = 's1';
const START_US = 1_790_000_000_000_000;
let nats: TestNats;
let database: TestPostgres;
let client: NatsConnection;
let admin: Sql;
let config: ApplierConfig;
let subjects: Subjects;
let runs = 0;
const services: Service[] = [];

beforeAll(async () => {
  [nats, database] = await Promise.all([startTestNats(), startTestPostgres()]);
});
beforeEach(async () => {
  const name = `applier${runs++}`;
  await database.createDatabases([name]);
  config = {
    cluster: name,
    server: SERVER,
    servers: ['s1', 's2', 's3'],
    join: false,
    snapshots: { entries: 1_000_000, bytes: 2 ** 30, ageMs: 3_600_000, replicas: 1 },
    groups: 1,
    natsUrl: nats.url,
    natsOrder: 'random',
    natsInboxPrefix: '_INBOX',
    natsCreds: undefined,
    logLevel: 'silent',
    metricsPort: undefined,
    stateMachine: undefined,
    databaseUrl: database.url(name),
    applyCommandsMax: 64,
    resultWindowMs: 600_000,
    verifyEveryMs: 600_000,
  };
  subjects = new Subjects(name);
  client = await connect({ servers: nats.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  admin = postgres(config.databaseUrl, { max: 1, onnotice: () => undefined, backoff: () => 0.05 });
});
afterEach(async () => {
  await Promise.all(services.splice(0).map((service) => service.stop()));
  await client.close();
  await admin.end({ timeout: 1 });
});
afterAll(async () => {
  await nats?.stop();
  await database?.stop();
});

async function start(): Promise<Service> {
  const service = await startApplier(config);
  services.push(service);
  return service;
}

const put = (key: string, value: unknown, more: Partial<CommandFields> = {}): CommandFields => ({
  name: 'kv.put',
  payload: Buffer.from(JSON.stringify({ key, value })),
  id: '',
  server: SERVER,
  reply: '',
  traceparent: '',
  replyFormat: 'json',
  ...more,
});

/** `n` puts that count: the key's version is how often one was executed. */
const counting = (n: number): CommandFields[] => Array.from({ length: n }, (_, at) => put('n', at + 1));

/**
 * The commands as a merger would write them, in messages of `size`. Pure, so that the same log can
 * be written with other borders.
 */
function messages(commands: readonly CommandFields[], size: number): MergedRun[] {
  const merge = new Merge(mergeStart(1));
  const entries: LogEntry[] = commands.map((command, at) => {
    const timestamp = START_US + at;
    const bytes = encodeEntry(1, timestamp, EntryKind.command, encodeCommand(command));
    return { index: at + 1, term: 1, timestamp, kind: EntryKind.command, bytes };
  });
  merge.add(0, entries, START_US + commands.length);
  const all: MergedRun[] = [];
  for (let run = merge.emit(size, 1 << 20); run !== null; run = merge.emit(size, 1 << 20)) all.push(run);
  return all;
}

function natsHeaders(given: Readonly<Record<string, string>>): MsgHdrs {
  const made = headers();
  for (const [name, value] of Object.entries(given)) made.set(name, value);
  return made;
}

async function createStream(): Promise<void> {
  const manager = await jetstreamManager(client);
  const [name, subject] = [subjects.logStream(SERVER), subjects.logSubject(SERVER)];
  await manager.streams.add({ name, subjects: [subject], allow_direct: true });
}

async function deleteStream(): Promise<void> {
  await (await jetstreamManager(client)).streams.delete(subjects.logStream(SERVER));
}

async function publish(all: readonly MergedRun[]): Promise<void> {
  for (const run of all) await jetstream(client).publish(subjects.logSubject(SERVER), encodeMergedBatch(run));
}

/** Adds to the log that the stream has. */
async function append(log: CommandFields[], more: readonly CommandFields[]): Promise<void> {
  const before = log.length;
  log.push(...more);
  await publish(before === 0 ? messages(log, log.length) : messages(log, before).slice(1));
}

/** Does what the leader of group 0 does when it is asked for a `craft.verify`. */
function appendMarks(log: CommandFields[]): void {
  client.subscribe(subjects.verify(), {
    callback: (_, { data }) => void append(log, [put('', 0, { name: 'craft.verify', payload: data })]),
  });
}

async function version(): Promise<number> {
  const [row] = await admin`select version::int from kv where key = 'n'`;
  return Number(row?.['version'] ?? 0);
}

async function untilVersion(wanted: number): Promise<void> {
  await eventually(`version ${wanted}`, async () => (await version()) >= wanted, { timeoutMs: 40_000 });
  expect(await version()).toBe(wanted);
}

describe('the applier', () => {
  it('waits for its stream, applies what comes, and goes on where it was after a restart', async () => {
    const all = messages(counting(50), 7);
    const service = await start();
    await createStream();
    await publish(all.slice(0, 3));
    await untilVersion(21);
    await service.stop();
    await publish(all.slice(3));
    expect(await version()).toBe(21);
    await start();
    await untilVersion(50);
    const [position] = await admin`select merged_index::int, checksum from craft.position`;
    expect(position).toEqual({ merged_index: 50, checksum: all[all.length - 1]?.after.checksum });
  });

  it('answers the clients of its own server in the form that they want', async () => {
    const heard: Msg[] = [];
    client.subscribe('answers.>', { callback: (_, message) => void heard.push(message) });
    await client.flush();
    const conditional = Buffer.from('{"key":"a","value":1,"ifVersion":7}');
    await createStream();
    await publish(
      messages(
        [
          put('a', 1, { reply: 'answers.put', id: 'x' }),
          put('a', 2, { reply: 'answers.again', id: 'x' }),
          put('a', 1, { reply: 'answers.rejected', payload: conditional }),
          put('a', 3, { reply: 'answers.stranger', server: 's2' }),
          put('a', 4, { reply: 'answers.binary', replyFormat: 'protobuf' }),
        ],
        2,
      ),
    );
    await start();
    await eventually('four answers', () => heard.length >= 4);
    await client.flush();
    expect(heard.map((message) => message.subject)).toEqual([
      'answers.put',
      'answers.again',
      'answers.rejected',
      'answers.binary',
    ]);
    const first = `{"ok":true,"index":1,"group":0,"timestamp":${START_US},"result":{"version":1}}`;
    expect(heard[0]?.string()).toBe(first);
    expect(heard[1]?.string()).toBe(first);
    expect(heard[2]?.json()).toEqual({
      ok: false,
      error: { code: 'REJECTED', message: 'key "a" has version 1, ifVersion is 7', retryable: false },
    });
    expect(heard[2]?.headers?.get('Nats-Service-Error-Code')).toBe('409');
  });

  it('answers what it has read before it ends', async () => {
    const heard: string[] = [];
    client.subscribe('last.>', { callback: (_, { subject }) => void heard.push(subject) });
    await client.flush();
    let begin: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    let open: () => void = () => undefined;
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    class SlowEngine extends MemoryEngine {
      override async apply(batch: EngineBatch): Promise<AppliedBatch> {
        begin();
        await opened;
        return super.apply(batch);
      }
    }
    await createStream();
    const commands = [1, 2, 3].map((value) => put('a', value, { reply: `last.${value}` }));
    config = { ...config, applyCommandsMax: 2 };
    const service = await startApplier(config, { engine: new SlowEngine({ resultWindowMs: 60_000 }) });
    services.push(service);
    await publish(messages(commands, 3));
    await begun;
    const stopping = service.stop();
    open();
    await stopping;
    await client.flush();
    expect(heard).toEqual(['last.1', 'last.2', 'last.3']);
  });

  it('pitfall: JetStream loses what it acknowledged: takes a stream that lost its tail, and one with other borders, for what they are', async () => {
    const log = counting(60);
    await createStream();
    await publish(messages(log.slice(0, 40), 4));
    const service = await start();
    await untilVersion(40);
    await service.stop();
    // The new stream ends before the database, and then goes on past it in one message that begins
    // far behind.
    await deleteStream();
    await createStream();
    await publish(messages(log.slice(0, 30), 6));
    await start();
    const rest = messages(log, 30);
    await publish(rest.slice(1));
    await untilVersion(60);
  });

  it('finds its stream again when that is deleted and written anew while it runs', async () => {
    const log = counting(60);
    await createStream();
    await publish(messages(log.slice(0, 40), 4));
    await start();
    await untilVersion(40);
    await deleteStream();
    await createStream();
    await publish(messages(log, 25));
    await untilVersion(60);
  });

  it('passes over damaged messages, but never over an entry', async () => {
    const all = messages(counting(20), 5);
    await createStream();
    await publish(all.slice(0, 1));
    await jetstream(client).publish(subjects.logSubject(SERVER), 'no merged batch');
    await publish(all.slice(1, 3));
    await start();
    await untilVersion(15);
  });

  it('stops at a hole in the stream, asks for a snapshot, and goes on from one that reaches over it (T10)', async () => {
    const mark = put('', 0, { name: 'craft.verify', payload: Buffer.from('{"snapshotBy":"s2"}') });
    const all = messages([...counting(14), mark, ...counting(5)], 5);
    // Only the other one has a vote.
    config = { ...config, servers: ['s2'] };
    await createStream();
    await publish([...all.slice(0, 2), ...all.slice(3)]);
    const asked = client.subscribe(subjects.admin('snapshot'), { max: 1 });
    await start();
    await untilVersion(10);
    for await (const _ of asked) break;
    expect(await version()).toBe(10);

    // Another server has what is missing here, and nothing beyond it.
    const other = `${config.cluster}_s2`;
    await database.createDatabases([other]);
    const service = await startApplier({ ...config, server: 's2', databaseUrl: database.url(other) });
    services.push(service);
    const manager = await jetstreamManager(client);
    const [name, subject] = [subjects.logStream('s2'), subjects.logSubject('s2')];
    await manager.streams.add({ name, subjects: [subject], allow_direct: true });
    for (const run of all.slice(0, 3))
      await jetstream(client).publish(subjects.logSubject('s2'), encodeMergedBatch(run));
    await untilVersion(19);
  });

  it('stops when the stream is not the log that its database was made from', async () => {
    await createStream();
    await publish(messages(counting(10), 5));
    const service = await start();
    await untilVersion(10);
    await service.stop();
    await deleteStream();
    await createStream();
    await publish(messages([put('other', 0), ...counting(19)], 5));
    const other = await start();
    expect(await other.failed).toMatchObject({ code: 'LOG_MISMATCH' });
    expect(await version()).toBe(10);
  });

  it('goes on by itself after Postgres was killed', async () => {
    const all = messages(counting(200), 10);
    await createStream();
    await start();
    await publish(all.slice(0, 10));
    await untilVersion(100);
    await database.kill('SIGKILL');
    await publish(all.slice(10));
    await database.restart();
    await untilVersion(200);
  });

  it('goes on by itself after NATS was killed', async () => {
    const all = messages(counting(200), 10);
    await createStream();
    await start();
    await publish(all.slice(0, 10));
    await untilVersion(100);
    await nats.kill('SIGKILL');
    await nats.restart();
    await eventually('NATS', () => client.flush().then(() => true));
    // What the stream forgot in the crash is written again.
    const { state } = await (await jetstreamManager(client)).streams.info(subjects.logStream(SERVER));
    await publish(all.slice(state.messages));
    await untilVersion(200);
  });

  it('stops when another applier takes over its database', async () => {
    await createStream();
    const first = await start();
    const second = await start();
    await publish(messages(counting(10), 5));
    expect(await first.failed).toMatchObject({ code: 'FENCED' });
    await untilVersion(10);
    const verdict = await Promise.race([second.failed, client.flush().then(() => 'alive')]);
    expect(verdict).toBe('alive');
  });

  it('goes on against one other opinion; against two it keeps its verdict, answers no read, and says how to heal it', async () => {
    const checkpoints: Msg[] = [];
    client.subscribe(subjects.checkpoint(), { callback: (_, message) => void checkpoints.push(message) });
    const mark = put('', 0, { name: 'craft.verify', payload: Buffer.from('{"snapshotBy":"s1"}') });
    await createStream();
    const service = await start();
    await publish(messages([...counting(1_500), mark], 500));
    await untilVersion(1_500);
    const heard = () => checkpoints.map((message) => message.json<Record<string, unknown>>());
    const own = await eventually('its rows', () => heard().find((one) => one['rows_checksum'] !== undefined));
    expect(own).toMatchObject({ server: SERVER, merged_index: 1_501 });
    expect(heard()).toContainEqual(expect.objectContaining({ server: SERVER, merged_index: 1_000 }));
    // Saved, and no majority has the same: it does not count.
    const bucket = await SnapshotBucket.open(client, subjects, 1);
    await eventually('its snapshot', async () => (await bucket.list()).length === 1);
    expect(await bucket.list()).toMatchObject([{ confirmed: false }]);
    const query = async () => {
      const local = natsHeaders({ 'Craft-Consistency': 'local' });
      const reply = await client.request(subjects.query('kv.get'), '{"key":"n"}', { headers: local, timeout: 5_000 });
      return reply.json<{ ok: boolean; error?: { code: string; message: string } }>();
    };
    client.publish(subjects.checkpoint(), 'garbage');
    const say = (server: string) => ({ ...own, server, rows_checksum: 'f'.repeat(16) });
    client.publish(subjects.checkpoint(), JSON.stringify(say('s2')));
    await client.flush();
    expect(await query()).toMatchObject({ ok: true });
    client.publish(subjects.checkpoint(), JSON.stringify(say('s3')));
    const refused = await eventually('its verdict', async () => {
      const answer = await query();
      return answer.ok ? undefined : answer;
    });
    expect(refused.error?.code).toBe('UNAVAILABLE');
    for (const part of ['s1', 's2', '1501', String(own['rows_checksum']), 'f'.repeat(16), 'craft rebuild s1']) {
      expect(refused.error?.message).toContain(part);
    }
    await eventually('its snapshot is withdrawn', async () => (await bucket.list()).length === 0);
    await service.stop();
    await start();
    // It has started before NATS knows what it listens to.
    const answer = await eventually('its answer', () => query().catch(() => undefined));
    expect(answer).toMatchObject({ ok: false, error: { code: 'UNAVAILABLE' } });
    const state = (await client.request(subjects.admin('applied', SERVER), '')).json();
    expect(state).toMatchObject({ ok: false, appliedIndex: 1_501 });
  });

  it('goes past the restoring of a file that is not there any more by a snapshot of later', async () => {
    const folder = await temporaryFolder('restoring');
    try {
      config = { ...config, servers: [SERVER] };
      await createStream();
      const service = await start();
      const log: CommandFields[] = [];
      appendMarks(log);
      await append(log, counting(4));
      await untilVersion(4);
      const take = () => client.request(subjects.admin('snapshot', SERVER), '', { timeout: 10_000 });
      await take();
      const bucket = await SnapshotBucket.open(client, subjects, 1);
      const [taken] = await bucket.list();
      if (taken === undefined) throw new Error('no snapshot');
      const path = join(folder.path, 'file.snapshot');
      await saveFile(bucket, taken, path);
      const object = await bucket.saveFile(await openFile(path));
      const { digest } = await bucket.openFile(object);
      // Without a replica there is nobody who could give it a place in the log, and that is no
      // unknown outcome.
      const asked = JSON.stringify({ object, replace: true });
      const refused = await client.request(subjects.admin('restore', SERVER), asked, { timeout: 10_000 });
      expect(refused.json()).toMatchObject({ ok: false, error: { code: 'UNAVAILABLE' } });
      const payload = Buffer.from(JSON.stringify({ object, digest, replace: true }));
      await append(log, [...counting(2), put('', 0, { name: 'craft.restore', payload }), ...counting(3)]);
      // Six, then the file's four, then three more.
      await eventually('the file and what comes after it', async () => {
        const [row] = await admin`select merged_index::int as at from craft.position`;
        return row?.['at'] === log.length;
      });
      expect(await version()).toBe(7);
      await take();
      await service.stop();
      await (await new Objm(jetstream(client)).open(subjects.snapshotBucket())).delete(object);

      const name = `${config.cluster}_again`;
      await database.createDatabases([name]);
      config = { ...config, databaseUrl: database.url(name) };
      await admin.end({ timeout: 1 });
      admin = postgres(config.databaseUrl, { max: 1, onnotice: () => undefined, backoff: () => 0.05 });
      await start();
      await eventually('the snapshot', async () => {
        const [row] = await admin`select merged_index::int as at from craft.position`.catch(() => []);
        return row?.['at'] === log.length;
      });
      expect(await version()).toBe(7);
    } finally {
      await folder.remove();
    }
  });
});
