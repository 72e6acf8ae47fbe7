/** The object store of snapshots on a real NATS server: what it leaves behind, and what it keeps for whoever reads. */
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from 'nats';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { Snapshots } from '../../services/applier/snapshots.js';
import type { EngineSnapshot } from '../../shared/engine/port.js';
import { SnapshotBucket } from '../../shared/snapshot/bucket.js';
import { openFile, saveFile } from '../../shared/snapshot/file.js';
import { createLogger } from '../../shared/telemetry/log.js';
import { openMetrics } from '../../shared/telemetry/metrics.js';
import { Subjects } from '../../shared/wire/subjects.js';
import { eventually, startTestNats, type TestNats, temporaryFolder } from '../harness/index.js';

let nats: TestNats;
let connection: NatsConnection;
let bucket: SnapshotBucket;
beforeAll(async () => {
  nats = await startTestNats();
  connection = await connect({ servers: nats.url });
  bucket = await SnapshotBucket.open(connection, 'TEST_SNAPSHOTS', 1);
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

const stateOf = async () => {
  const manager = await jetstreamManager(connection);
  return (await manager.streams.info('OBJ_TEST_SNAPSHOTS')).state;
};

it('is looked at again and again without leaving a consumer, of which a NATS server takes only so many', async () => {
  for (let index = 1; index <= 5; index++) await bucket.save('s1', snapshot(index));
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
    await bucket.save('s1', snapshot(index));
    vi.useRealTimers();
  };
  try {
    const [oldest] = await bucket.list();
    if (oldest === undefined) throw new Error('no snapshot');
    const path = join(folder.path, 'one.snapshot');
    await saveFile(bucket, oldest, path);
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
    await expect(bucket.openFile(oldest.name)).rejects.toThrow('is no file');
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
  const { data } = await bucket.open(info);
  const reader = data[Symbol.asyncIterator]();
  let read = (await reader.next()).value?.length ?? 0;
  for (let index = 7; index <= 9; index++) {
    await bucket.save('s2', snapshot(index));
    await bucket.prune(2);
  }
  expect((await bucket.list()).map(({ position }) => position.mergedIndex)).toEqual([6, 8, 9]);
  for (let piece = await reader.next(); !piece.done; piece = await reader.next()) read += piece.value.length;
  expect(read).toBe(bytes);
  await bucket.prune(2);
  expect((await bucket.list()).map(({ position }) => position.mergedIndex)).toEqual([8, 9]);
});

/** The snapshots of one server whose engine begins each when it is asked to, and ends it when `mayFinish` resolves. */
async function server(cluster: string, name: string, applied: () => number, mayFinish: Promise<void>) {
  const begun: number[] = [];
  const engine = {
    snapshot: async () => {
      const mergedIndex = applied();
      begun.push(mergedIndex);
      await mayFinish;
      return snapshot(mergedIndex);
    },
    restore: () => Promise.reject(new Error('nothing is restored here')),
  };
  const stopping = new AbortController();
  const metrics = await openMetrics({ service: 'applier', server: name, port: undefined });
  const snapshots = new Snapshots({
    connection,
    subjects: new Subjects(cluster),
    server: name,
    engine,
    limits: { entries: 1_000, bytes: 1e9, ageMs: 1e9 },
    replicas: 1,
    groups: 1,
    applied,
    exclusively: () => Promise.reject(new Error('nothing is installed here')),
    logger: createLogger({ service: 'applier', server: name, level: 'silent' }),
    warn: () => undefined,
    metrics,
    signal: stopping.signal,
  });
  const stop = async () => {
    stopping.abort();
    await metrics.close();
  };
  return { snapshots, begun, stop };
}

function gate(): { open: () => void; opened: Promise<void> } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

it('is taken anew for who asks while one is being taken that began before: what was applied since is in it', async () => {
  let applied = 20;
  const { open, opened } = gate();
  const { snapshots, begun, stop } = await server('asked', 's1', () => applied, opened);
  try {
    const first = snapshots.take();
    await eventually('the first one has begun', () => begun.length === 1);
    applied = 30;
    const second = snapshots.take();
    open();
    expect((await first).position.mergedIndex).toBe(20);
    expect((await second).position.mergedIndex).toBe(30);
    expect(begun).toEqual([20, 30]);
  } finally {
    await stop();
  }
});

it('that is due is taken by one server, however long that takes, and by another one when that fails', async () => {
  const [first, other] = [gate(), gate()];
  const applied = 5_000;
  // The second one gets there when the first one has begun.
  let appliedAtSecond = 0;
  const s1 = await server(
    'due',
    's1',
    () => applied,
    first.opened.then(() => Promise.reject(new Error('the disk is full'))),
  );
  const s2 = await server('due', 's2', () => appliedAtSecond, other.opened);
  try {
    s1.snapshots.onApplied(applied, 1);
    await eventually('the first server has begun', () => s1.begun.length === 1);
    await connection.flush();
    appliedAtSecond = applied;
    // Longer than a server hesitates at most, so that not all begin at once.
    for (const untilMs = performance.now() + 800; performance.now() < untilMs; ) {
      s2.snapshots.onApplied(applied, 1);
      await bucket.list();
    }
    expect(s2.begun).toEqual([]);
    first.open();
    await eventually('the second server has begun', () => {
      s2.snapshots.onApplied(applied, 1);
      return s2.begun.length === 1;
    });
    other.open();
    await eventually('it is there', async () => (await s1.snapshots.list()).at(-1)?.name.endsWith('s2'));
  } finally {
    await Promise.all([s1.stop(), s2.stop()]);
  }
});
