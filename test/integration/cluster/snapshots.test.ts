/**
 * T10 on real processes. Logs and streams stay bounded by themselves. Whatever is lost of one
 * server comes back by itself while the others serve: a long absence, the merged-log stream, the
 * database, the log store (as a new server).
 */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { Objm } from '@nats-io/obj';
import { connect, type NatsConnection } from 'nats';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MembersAdmin } from '../../../services/cli/members.js';
import { restoreSnapshot, saveSnapshot, takeSnapshot } from '../../../services/cli/snapshots.js';
import { type CraftClient, connectCraft } from '../../../shared/client/index.js';
import { SnapshotBucket } from '../../../shared/snapshot/bucket.js';
import { openFile } from '../../../shared/snapshot/file.js';
import { StoreRegistry } from '../../../shared/wire/store-registry.js';
import { Subjects } from '../../../shared/wire/subjects.js';
import { eventually, startTestCluster, type TestCluster } from '../../harness/index.js';
import { converged } from './inspect.js';

const ENTRIES = 200;
const KEYS = 50;

let test: TestCluster;
let client: CraftClient;
let connection: NatsConnection;
let written = 0;

beforeAll(async () => {
  test = await startTestCluster({ environment: { CRAFT_SNAPSHOT_ENTRIES: String(ENTRIES) } });
  connection = await connect({ servers: test.cluster.natsUrl, maxReconnectAttempts: -1 });
  client = await connectCraft({ connection, timeoutMs: 30_000 });
});
afterAll(async () => {
  await connection?.close();
  await test?.stop();
});

/** Overwrites the same keys, with so many commands; the merged index of the last one. */
async function overwrite(count: number): Promise<number> {
  let last = 0;
  for (let done = 0; done < count; done += 100) {
    const answers = Array.from({ length: 100 }, () => client.kv.put(`k${written++ % KEYS}`, { written }));
    for (const { index = 0 } of await Promise.all(answers)) last = Math.max(last, index);
  }
  return last;
}

/**
 * Overwrites until `isReached`; the merged index of the last command. Commands of one turn come to
 * one group together, and a log drops only what the newest snapshot but one covers. How many
 * commands that takes is a matter of chance.
 */
async function overwriteUntil(what: string, isReached: () => Promise<boolean>): Promise<number> {
  let last = 0;
  await eventually(
    what,
    async () => {
      last = Math.max(last, await overwrite(100));
      return await isReached();
    },
    { timeoutMs: 60_000 },
  );
  return last;
}

/** All databases are the same, at `mergedIndex` at least. */
async function expectEqual(mergedIndex: number): Promise<void> {
  const all = await converged(test.cluster, mergedIndex, 60_000);
  expect(new Set(all.map((one) => JSON.stringify(one))).size).toBe(1);
  expect(all[0]?.keys).toBe(KEYS);
}

const basesOf = async (server: string) => {
  const status = (await test.cluster.status()).find((one) => one.server === server);
  return status?.groups.map((group) => group.baseIndex ?? 0) ?? [];
};

/** Messages and bytes of a server's merged-log stream. */
async function streamOf(server: string) {
  const manager = await jetstreamManager(connection);
  return (await manager.streams.info(new Subjects(test.cluster.cluster).logStream(server))).state;
}

it('drops what snapshots cover from every log and every stream', async () => {
  await overwrite(ENTRIES * 6);
  for (const server of test.cluster.servers) {
    const isLater = async () => (await basesOf(server)).every((base) => base > 0);
    await expectEqual(await overwriteUntil(`logs of ${server} begin later`, isLater));
    await eventually(`the stream of ${server} begins later`, async () => (await streamOf(server)).first_seq > 1, {
      timeoutMs: 30_000,
    });
  }
}, 120_000);

it('brings a server back that was away for longer than the logs reach', async () => {
  await test.cluster.kill('s3', 'SIGKILL');
  const before = await basesOf('s1');
  await overwriteUntil('the logs have gone on', async () =>
    (await basesOf('s1')).every((base, g) => base > (before[g] ?? 0)),
  );
  await test.cluster.restart('s3');
  await expectEqual(await overwrite(100));
}, 120_000);

it('pitfall: JetStream loses what it acknowledged: writes a lost merged-log stream anew from where the state is', async () => {
  const manager = await jetstreamManager(connection);
  await manager.streams.delete(new Subjects(test.cluster.cluster).logStream('s1'));
  await expectEqual(await overwrite(100));
  // It is written behind what is applied.
  await eventually('a stream of s1', async () => (await streamOf('s1')).messages > 0);
}, 120_000);

it('fills an empty database from a snapshot', async () => {
  await test.cluster.kill('s2', 'SIGKILL');
  await dropDatabase(test, 's2');
  await test.cluster.restart('s2');
  await expectEqual(await overwrite(100));
}, 120_000);

it('refuses to start a server whose log store is gone, and replaces it by a new one', async () => {
  await test.cluster.kill('s3', 'SIGKILL');
  await rm(join(test.cluster.dataDir, 's3', 'log'), { recursive: true });
  const subjects = new Subjects(test.cluster.cluster);
  const registry = await StoreRegistry.open(connection, subjects);
  expect(await registry.has('s3')).toBe(true);
  await test.cluster.restart('s3');
  // It has forgotten its votes: it must not have any say under its name.
  await eventually('the end of s3', async () => expect(test.cluster.pids).not.toHaveProperty('s3'));
  const log = await readFile(join(test.cluster.dataDir, 's3', 's3.log'), 'utf8');
  expect(log).toContain('server s3 has had a log store');
  expect(log).toContain('craft members remove s3');
  await test.cluster.addServer('s4');
  const lines: string[] = [];
  const { cluster } = test;
  const admin = new MembersAdmin({
    connection,
    subjects,
    groups: cluster.groups,
    timeoutMs: 90_000,
    print: (line) => lines.push(line),
  });
  // Out first, so that a quorum is two again; then the new one comes in while commands go on.
  await admin.remove('s3');
  expect(await registry.has('s3')).toBe(false);
  const load = overwrite(ENTRIES * 3);
  await admin.add('s4');
  const last = await load;
  cluster.forget('s3');
  await expectEqual(last);
  for (const { voters, learners } of await admin.list()) {
    expect([...voters].sort()).toEqual(['s1', 's2', 's4']);
    expect(learners).toEqual([]);
  }
  expect(lines).toHaveLength(3 + 3 * 2);
}, 180_000);

describe('a file of the old cluster, restored in a new one', () => {
  let other: TestCluster;
  let theirs: CraftClient;
  let file: string;

  beforeAll(async () => {
    other = await startTestCluster();
    theirs = await connectCraft({ servers: other.cluster.natsUrl, timeoutMs: 30_000 });
    file = join(test.folder, 'backup.snapshot');
  }, 60_000);
  afterAll(async () => {
    await theirs?.close();
    await other?.stop();
  });

  /** What `craft snapshot restore` prints. */
  async function restore(path: string, replace: boolean): Promise<{ mergedIndex: number }> {
    let printed = { mergedIndex: 0 };
    const session = { connection: theirs.connection, client: theirs, subjects: new Subjects(other.cluster.cluster) };
    await restoreSnapshot(session, path, { replace, timeoutMs: 60_000 }, (value) => {
      printed = value as typeof printed;
    });
    return printed;
  }

  async function expectEqualThere(mergedIndex: number): Promise<void> {
    const all = await converged(other.cluster, mergedIndex, 60_000);
    expect(new Set(all.map((one) => JSON.stringify(one))).size).toBe(1);
  }

  it('is there at every server, rows, versions and results by id; also at one that was away', async () => {
    const first = await client.command('kv.put', { key: 'once', value: 1 }, { id: 'backup-1' });
    const subjects = new Subjects(test.cluster.cluster);
    const session = { connection, client, subjects };
    await expect(takeSnapshot(session, 1, () => undefined)).rejects.toThrow(/within 1 ms: .* may still be taken/);
    await saveSnapshot(session, file, 30_000, () => undefined);
    const list = await client.kv.list({ limit: 1_000 });
    await other.cluster.kill('s3', 'SIGKILL');
    await other.cluster.waitReady();
    const { mergedIndex } = await restore(file, false);
    expect(mergedIndex).toBe(1);
    expect(await theirs.kv.list({ limit: 1_000 })).toEqual(list);
    const again = await theirs.command('kv.put', { key: 'once', value: 2 }, { id: 'backup-1' });
    expect(again.result).toEqual(first.result);
    await other.cluster.restart('s3');
    const { index = 0 } = await theirs.kv.put('k0', 'new');
    // After the restored file and one put; servers may have looked at their rows in between.
    expect(index).toBeGreaterThanOrEqual(3);
    await expectEqualThere(index);
  });

  it('is refused where there is a state, and when it is damaged, and changes nothing then', async () => {
    const before = await theirs.kv.list({ limit: 1_000 });
    await expect(restore(file, false)).rejects.toMatchObject({ code: 'REJECTED' });
    const damaged = await readFile(file);
    damaged[damaged.length - 10] = (damaged[damaged.length - 10] ?? 0) ^ 1;
    await writeFile(`${file}.damaged`, damaged);
    await expect(restore(`${file}.damaged`, true)).rejects.toThrow('damaged');
    await expect(restore(join(test.folder, 'missing'), true)).rejects.toThrow();
    // Whole, and of another version of the tables, or with another position than its bytes have.
    const [head = '', ...rest] = (await readFile(file)).toString('latin1').split('\n');
    const header = JSON.parse(head);
    const { position } = header;
    for (const wrong of [{ format: 'postgres/other' }, { position: { ...position, mergedIndex: 9 } }]) {
      const altered = [JSON.stringify({ ...header, ...wrong }), ...rest].join('\n');
      await writeFile(`${file}.other`, Buffer.from(altered, 'latin1'));
      await expect(restore(`${file}.other`, true)).rejects.toMatchObject({ code: 'REJECTED' });
    }
    // Asked for by hand, past what the command line looks at: by the server, and at its place in
    // the log.
    const ask = (subject: string, request: object) =>
      theirs.connection.request(subject, JSON.stringify(request), { timeout: 30_000 }).then((reply) => reply.json());
    const subjects = new Subjects(other.cluster.cluster);
    const bucket = await SnapshotBucket.find(theirs.connection, subjects);
    const object = await bucket.saveFile(await openFile(file));
    const { digest } = await bucket.openFile(object);
    const rejected = { ok: false, error: { code: 'REJECTED', message: expect.stringContaining('a state exists') } };
    expect(await ask(subjects.admin('restore', 's1'), { object, replace: false })).toMatchObject(rejected);
    expect(await ask(subjects.restore(), { object, digest, replace: false })).toMatchObject(rejected);
    // Nor is it for clients.
    await expect(theirs.command('craft.restore', { object: 'x', digest: 'x', format: 'x' })).rejects.toMatchObject({
      code: 'UNKNOWN_COMMAND',
    });
    expect(await theirs.kv.list({ limit: 1_000 })).toEqual(before);
  });

  it('replaces a state while commands go on, and an applier and a database die: every server has the same, each command once', async () => {
    let isOver = false;
    const acknowledged: number[] = [];
    const writing = (async () => {
      while (!isOver) acknowledged.push((await theirs.kv.put('meanwhile', acknowledged.length)).index ?? 0);
    })();
    await eventually('some commands', () => acknowledged.length > 20);
    const restoring = restore(file, true);
    await other.cluster.kill('s2', 'SIGKILL');
    await other.cluster.kill('postgres', 'SIGKILL');
    await other.cluster.restart('postgres');
    await other.cluster.restart('s2');
    const { mergedIndex } = await restoring;
    const count = acknowledged.length;
    await eventually('some more commands', () => acknowledged.length > count + 20, { timeoutMs: 30_000 });
    isOver = true;
    await writing;
    await expectEqualThere(acknowledged[acknowledged.length - 1] ?? 0);
    // What came after it in the one order is there, and what came before it is not.
    const later = acknowledged.filter((index) => index > mergedIndex).length;
    expect(await theirs.kv.get('meanwhile')).toMatchObject({ version: later });
    expect(later).toBeLessThan(acknowledged.length);
  });

  it('comes back by itself to a server that has lost its database, also when the file is gone by then', async () => {
    await other.cluster.kill('s3', 'SIGKILL');
    const { mergedIndex } = await restore(file, true);
    const objects = await new Objm(jetstream(theirs.connection)).open(
      new Subjects(other.cluster.cluster).snapshotBucket(),
    );
    const names = (await objects.list()).map(({ name }) => name).filter((name) => name.startsWith('file-'));
    expect(names.length).toBeGreaterThan(0);
    for (const name of names) await objects.delete(name);
    await dropDatabase(other, 's3');
    await other.cluster.restart('s3');
    const { index = 0 } = await theirs.kv.put('last', 1);
    expect(index).toBeGreaterThan(mergedIndex);
    await expectEqualThere(index);
  });
}, 180_000);

async function dropDatabase({ cluster }: TestCluster, server: string): Promise<void> {
  const sql = postgres(cluster.databaseUrl(server), { max: 1, onnotice: () => undefined });
  await sql`drop schema craft cascade`;
  await sql`drop table kv`;
  await sql`drop schema if exists drizzle cascade`;
  await sql.end();
}
