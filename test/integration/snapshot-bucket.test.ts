/**
 * The object store of snapshots on a real NATS server: what it leaves behind, and what it keeps for
 * readers.
 */
import { readdir, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from 'nats';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { EngineSnapshot } from '../../shared/engine/port.js';
import { SnapshotBucket } from '../../shared/snapshot/bucket.js';
import { openFile, saveFile } from '../../shared/snapshot/file.js';
import { Subjects } from '../../shared/wire/subjects.js';
import { startTestNats, type TestNats, temporaryFolder } from '../harness/index.js';

let nats: TestNats;
let connection: NatsConnection;
let bucket: SnapshotBucket;
/** Subjects of objects that are none. */
const bad: string[] = [];
beforeAll(async () => {
  nats = await startTestNats();
  connection = await connect({ servers: nats.url });
  bucket = await SnapshotBucket.open(connection, new Subjects('test'), 1, (subject) => bad.push(subject));
});
afterAll(async () => {
  await connection?.close();
  await nats?.stop();
});

/** Bytes that do not become fewer when they are compressed. */
function snapshot(mergedIndex: number, bytes = 1_000): EngineSnapshot {
  const data = crypto.getRandomValues(new Uint8Array(Math.min(bytes, 65_536)));
  const position = {
    mergedIndex,
    timestamp: mergedIndex,
    checksum: '0'.repeat(16),
    resultsChecksum: '0'.repeat(16),
    positions: [],
  };
  return {
    position,
    format: 'test-1',
    data: (async function* () {
      for (let left = bytes; left > 0; left -= data.length) yield data;
    })(),
  };
}

/** One that counts. */
async function confirmed(server: string, mergedIndex: number, bytes?: number): Promise<void> {
  const { name } = await bucket.save(server, snapshot(mergedIndex, bytes));
  await bucket.confirm(name);
}

const stateOf = async () => {
  const manager = await jetstreamManager(connection);
  return (await manager.streams.info('OBJ_TEST_SNAPSHOTS')).state;
};

it('is looked at again and again without leaving a consumer, of which a NATS server takes only so many', async () => {
  for (let index = 1; index <= 5; index++) await confirmed('s1', index);
  for (let n = 0; n < 20; n++) expect(await bucket.list()).toHaveLength(5);
  expect((await stateOf()).consumer_count).toBe(0);
});

it('keeps nothing of what it has pruned', async () => {
  await bucket.prune(2);
  expect((await bucket.list()).map(({ position }) => position.mergedIndex)).toEqual([4, 5]);
  // Metadata and one chunk of each.
  expect((await stateOf()).messages).toBe(4);
});

it('keeps a file that is to be restored until every kept snapshot is an hour younger', async () => {
  const folder = await temporaryFolder('file');
  const young = async (index: number) => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_700_000 });
    await confirmed('s1', index);
    vi.useRealTimers();
  };
  try {
    const [oldest] = await bucket.list();
    if (oldest === undefined) throw new Error('no snapshot');
    const path = join(folder.path, 'one.snapshot');
    await saveFile(bucket, oldest, path);
    // All rows are in it. What is there already, also a link to elsewhere, stays what it is.
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const link = join(folder.path, 'link');
    await symlink(join(folder.path, 'elsewhere'), link);
    for (const taken of [path, link]) await expect(saveFile(bucket, oldest, taken)).rejects.toThrow('exists already');
    expect((await readdir(folder.path)).sort()).toEqual(['link', 'one.snapshot']);
    const file = await bucket.saveFile(await openFile(path));
    // The same file again takes no more room.
    const { messages } = await stateOf();
    expect(await bucket.saveFile(await openFile(path))).toBe(file);
    expect((await stateOf()).messages).toBe(messages);
    // The same bytes with another header are another file.
    const { about, ...rest } = await openFile(path);
    const other = await bucket.saveFile({ ...rest, about: { ...about, format: 'other' } });
    const both = await Promise.all([file, other].map((name) => bucket.openFile(name)));
    expect(both.map(({ format }) => format)).toEqual(['test-1', 'other']);
    expect(both[0]?.digest).not.toBe(both[1]?.digest);
    // Files are no snapshots, and the other way round.
    expect(await bucket.list()).toHaveLength(2);
    await expect(bucket.openFile(oldest.name)).rejects.toThrow('is not a file');
    const read = async () => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of (await bucket.openFile(file)).data) chunks.push(chunk);
      return Buffer.concat(chunks).length;
    };
    await bucket.prune(2);
    expect(await read()).toBe(1_000);
    await young(6);
    await bucket.prune(2);
    expect(await read()).toBe(1_000);
    await young(7);
    await bucket.prune(3);
    expect(await read()).toBe(1_000);
    await bucket.prune(2);
    await expect(bucket.openFile(file)).rejects.toThrow('is gone');
  } finally {
    vi.useRealTimers();
    await folder.remove();
  }
});

it('keeps what a running install reads, however many newer ones there are, and prunes it afterwards', async () => {
  const bytes = 8 * 1024 * 1024;
  const info = await bucket.save('s1', snapshot(6, bytes));
  await bucket.confirm(info.name);
  const { data } = await bucket.open(info.name);
  const reader = data[Symbol.asyncIterator]();
  let read = (await reader.next()).value?.length ?? 0;
  for (let index = 7; index <= 9; index++) {
    await confirmed('s2', index);
    await bucket.prune(2);
  }
  expect((await bucket.list()).map(({ position }) => position.mergedIndex)).toEqual([6, 8, 9]);
  for (let piece = await reader.next(); !piece.done; piece = await reader.next()) read += piece.value.length;
  expect(read).toBe(bytes);
  await bucket.prune(2);
  expect((await bucket.list()).map(({ position }) => position.mergedIndex)).toEqual([8, 9]);
});

it('counts a snapshot only once it is confirmed, and keeps no word of what was not', async () => {
  const first = await bucket.save('s1', snapshot(20));
  expect(first.confirmed).toBe(false);
  await bucket.confirm(first.name);
  await confirmed('s1', 21);
  const [doubtful, old] = [await bucket.save('s2', snapshot(22)), await bucket.save('s2', snapshot(19))];
  await bucket.prune(2);
  const states = async () => (await bucket.list()).map(({ name, confirmed }) => [name.slice(-5), confirmed]);
  // The newest two that count, and what may still come to count; what is older than those never
  // will.
  expect(await states()).toEqual([
    ['20-s1', true],
    ['21-s1', true],
    ['22-s2', false],
  ]);
  await expect(bucket.confirm(old.name)).rejects.toThrow('is gone');
  // Others' are not a server's to withdraw, nor are those that count.
  await bucket.withdraw('s1');
  expect(await states()).toHaveLength(3);
  await bucket.withdraw('s2', 'another');
  expect(await states()).toHaveLength(3);
  await bucket.withdraw('s2', doubtful.name);
  expect(await states()).toHaveLength(2);
  expect((await stateOf()).messages).toBe(4);
});

it('passes over what is no object, and what says that it is another one: all others are there as before', async () => {
  const before = (await bucket.list()).map(({ name }) => name);
  expect(before).toHaveLength(2);
  const subjectOf = (name: string) => `$O.TEST_SNAPSHOTS.M.${Buffer.from(name).toString('base64')}`;
  const forged = {
    name: before[0],
    nuid: '>',
    size: 1,
    chunks: 1,
    digest: 'SHA-256=x',
    mtime: new Date(0).toISOString(),
  };
  const objects: [subject: string, text: string][] = [
    [subjectOf('bad'), 'garbage'],
    [subjectOf('nul'), 'null'],
    [subjectOf('odd'), '{"name":"odd"}'],
    // Its chunks would be all there are.
    [subjectOf('all'), JSON.stringify({ ...forged, name: 'all' })],
    [subjectOf('one'), JSON.stringify({ ...forged, nuid: 'x' })],
  ];
  for (const [subject, text] of objects) connection.publish(subject, text);
  await connection.flush();
  expect((await bucket.list()).map(({ name }) => name)).toEqual(before);
  expect([...new Set(bad)].sort()).toEqual(objects.map(([subject]) => subject).sort());
  await confirmed('s1', 23);
  await bucket.prune(2);
  expect((await bucket.list()).map(({ name }) => name.slice(-5))).toEqual(['21-s1', '23-s1']);
  await expect(bucket.open('bad')).rejects.toThrow('is gone');
});

it('knows whose snapshots they are: names of clusters may differ only in case, and share a bucket', async () => {
  const before = await bucket.list();
  const other = await SnapshotBucket.open(connection, new Subjects('Test'), 1);
  expect(await other.list()).toEqual([]);
  const { name } = await other.save('s9', snapshot(99));
  await other.confirm(name);
  await bucket.prune(2);
  await bucket.withdraw('s9');
  expect(await bucket.list()).toEqual(before);
  expect((await other.list()).map((one) => [one.name, one.cluster])).toEqual([[name, 'Test']]);
  await other.prune(2);
  expect(await bucket.list()).toEqual(before);
});
