import { jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from 'nats';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { LogStoreFencedError, LogStoreIdentityError, LogStoreSyncError } from '../../../shared/log-store/errors.js';
import { JetStreamLogStore } from '../../../shared/log-store/jetstream/store.js';
import { LogStoreCorruptError, LogStoreWriteError, type WriteBatch } from '../../../shared/log-store/port.js';
import { eventually } from '../../harness/eventually.js';
import { freePort, startTestNats, type TestNats } from '../../harness/servers.js';
import { batchOf, dumpStore, entries, entry, Model, modelAfter, position, randomOf } from './model.js';
import { IDENTITY, openJetStream } from './subject.js';

const ALL = Number.MAX_SAFE_INTEGER;
const MIB = 1024 * 1024;

let nats: TestNats;
let monitorUrl = '';
let stream = '';
let made = 0;
const connections: NatsConnection[] = [];

beforeAll(async () => {
  const monitorPort = await freePort();
  monitorUrl = `http://127.0.0.1:${monitorPort}`;
  nats = await startTestNats({ syncAlways: true, monitorPort });
});
beforeEach(() => {
  stream = `OWN_${++made}`;
});
afterEach(async () => {
  for (const connection of connections.splice(0)) await connection.close();
});
afterAll(() => nats?.stop());

async function connected(server = nats): Promise<NatsConnection> {
  const connection = await connect({ servers: server.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  connections.push(connection);
  return connection;
}

async function opened(): Promise<JetStreamLogStore> {
  const store = await openJetStream(await connected(), stream);
  await store.load();
  return store;
}

/** All of what a new opening finds. */
async function found(): Promise<{ promiseLimit: number; state: object }> {
  const store = await openJetStream(await connected(), stream);
  const loaded = await store.load();
  return { promiseLimit: loaded.promiseLimit, state: await dumpStore(store, loaded) };
}

const manager = async () => jetstreamManager(await connected());
const append = (from: number, to: number, term = 1): WriteBatch => ({
  groups: [{ group: 0, entries: entries(from, to, term) }],
});

describe('a jetstream log store with two writers', () => {
  it('refuses the one that opened first, which has changed nothing', async () => {
    const first = await opened();
    await first.write(append(1, 2));
    const second = await opened();
    await expect(first.write(append(3, 3, 2))).rejects.toThrow(LogStoreFencedError);
    await expect(first.write({ groups: [], promiseLimit: 5 })).rejects.toThrow(LogStoreFencedError);
    await second.write(append(3, 4));
    expect(await second.read(0, 1, ALL, ALL)).toHaveLength(4);
    expect((await found()).state).toEqual(new Model().apply(append(1, 2)).apply(append(3, 4)).dump());
  });

  it('refuses to go on when somebody else has put a message into the stream', async () => {
    const store = await opened();
    await store.write(append(1, 2));
    const other = await connected();
    await other.request(`${stream}.store`, 'anything');
    await expect(store.write(append(3, 3))).rejects.toThrow(LogStoreFencedError);
    await expect(openJetStream(other, stream)).rejects.toThrow(LogStoreCorruptError);
  });

  it('is not opened as that of another server', async () => {
    await opened();
    const options = { stream, subject: `${stream}.store`, monitorUrls: [], isTrusted: true };
    const opening = JetStreamLogStore.open({ ...IDENTITY, groups: 5, ...options, connection: await connected() });
    await expect(opening).rejects.toThrow(LogStoreIdentityError);
  });
});

describe('the sync interval of the NATS server', () => {
  const opening = async (more: { monitorUrls?: string[]; isTrusted?: boolean }, server = nats) =>
    JetStreamLogStore.open({
      ...IDENTITY,
      stream,
      subject: `${stream}.store`,
      monitorUrls: [],
      isTrusted: false,
      ...more,
      connection: await connected(server),
    });

  it('must be seen, or trusted unseen', async () => {
    await expect(opening({})).rejects.toThrow(/CRAFT_NATS_MONITOR_URL.*CRAFT_LOG_STORE_SYNC/);
    await expect(opening({})).rejects.toThrow(LogStoreSyncError);
    await (await opening({ isTrusted: true })).close();
    await (await opening({ monitorUrls: [monitorUrl] })).close();
  });

  it('must be that of the server which has the stream', async () => {
    const monitorUrls = [`http://127.0.0.1:${await freePort()}`];
    await expect(opening({ monitorUrls })).rejects.toThrow(LogStoreSyncError);
  });

  it('pitfall: JetStream acknowledges before fsync: must be always', async () => {
    const monitorPort = await freePort();
    const lazy = await startTestNats({ monitorPort });
    try {
      const monitorUrls = [monitorUrl, `http://127.0.0.1:${monitorPort}/`];
      await expect(opening({ monitorUrls }, lazy)).rejects.toThrow(/sync_interval: always/);
    } finally {
      await lazy.stop();
    }
  });
});

describe('damage in a jetstream log store', () => {
  it('is found when messages are gone that somebody needs', async () => {
    const store = await opened();
    for (let index = 1; index <= 6; index++) await store.write(append(index, index));
    await store.close();
    const { last_seq: last } = (await (await manager()).streams.info(stream)).state;
    await (await manager()).streams.purge(stream, { seq: last - 1 });
    await expect(openJetStream(await connected(), stream)).rejects.toThrow(LogStoreCorruptError);
    await (await manager()).streams.purge(stream);
    await expect(openJetStream(await connected(), stream)).rejects.toThrow('everything in the stream has been removed');
  });

  it('is found when the bytes of a message are those of another', async () => {
    const store = await opened();
    await store.write(append(1, 3));
    await store.write(append(4, 6));
    const api = await manager();
    const message = await api.direct.getMessage(stream, { seq: 2 });
    await store.close();
    await (await connected()).request(`${stream}.store`, message?.data);
    await expect(openJetStream(await connected(), stream)).rejects.toThrow('the checksum does not match');
  });
});

describe('a write to a jetstream log store', () => {
  it('that is larger than a message goes in parts, and is there whole', async () => {
    const big = {
      groups: [0, 1, 2].map((group) => ({ group, entries: [1, 2, 3].map((i) => entry(i, 1, 'x'.repeat(MIB))) })),
    };
    const store = await opened();
    await store.write(big);
    await store.write({ groups: [{ group: 1, truncateFrom: 3, entries: entries(3, 4, 2) }] });
    const model = new Model().apply(big).apply({ groups: [{ group: 1, truncateFrom: 3, entries: entries(3, 4, 2) }] });
    expect(await store.read(2, 1, ALL, ALL)).toHaveLength(3);
    await nats.kill('SIGKILL');
    await nats.restart();
    expect((await found()).state).toEqual(model.dump());
  });

  it('fails while the NATS server is away, and can be tried again', async () => {
    const store = await opened();
    await store.write(append(1, 3));
    await nats.kill('SIGKILL');
    const failing = store.write(append(4, 6, 2));
    const failed = expect(failing).rejects.toThrow(LogStoreWriteError);
    await failed;
    await nats.restart();
    let isWritten = false;
    while (!isWritten) {
      isWritten = await store.write(append(4, 5, 3)).then(
        () => true,
        (error: unknown) => {
          expect(error).toBeInstanceOf(LogStoreWriteError);
          return false;
        },
      );
    }
    const model = new Model().apply(append(1, 3)).apply(append(4, 5, 3));
    expect((await found()).state).toEqual(model.dump());
  }, 60_000);

  it('that failed does not count when it arrives after all', async () => {
    const store = await opened();
    await store.write(append(1, 3));
    const watch = await connected();
    // The server stands still, so that the outcome is unknown to the writer.
    process.kill(nats.pid, 'SIGSTOP');
    try {
      // The signal reaches its threads a moment later than it is sent.
      await eventually('no answer from the server', () =>
        Promise.race([
          watch.flush().then(() => false),
          new Promise<boolean>((resolve) => setTimeout(resolve, 200, true)),
        ]),
      );
      await expect(store.write(append(4, 6, 2))).rejects.toThrow(LogStoreWriteError);
    } finally {
      process.kill(nats.pid, 'SIGCONT');
    }
    await store.write(append(4, 4, 3));
    expect((await store.read(0, 4, ALL, ALL)).map(({ term }) => term)).toEqual([3]);
    await store.close();
    const { messages } = (await (await manager()).streams.info(stream)).state;
    // Opening, the first write, the one that failed, what gave it up at least once, the last.
    expect(messages).toBeGreaterThanOrEqual(5);
    expect((await found()).state).toEqual(
      new Model()
        .apply(append(1, 3))
        .apply(append(4, 4, 3))
        .dump(),
    );
  }, 60_000);
});

describe('a NATS server that is killed', () => {
  it('in the middle of writes keeps what was acknowledged, whole batches only', async () => {
    const seed = 1;
    const random = randomOf(seed);
    const bytes = 2_000;
    let durable = 0;
    for (let round = 0; round < 6; round++) {
      const connection = await connected();
      const store = await openJetStream(connection, stream);
      const { promiseLimit } = await store.load();
      const model = modelAfter(seed, promiseLimit, IDENTITY.groups, bytes);
      const goal = promiseLimit + 1 + Math.floor(random() * 60);
      let acknowledged = promiseLimit;
      let killing: Promise<void> | undefined;
      for (let isUp = true; isUp; ) {
        const batch = batchOf(seed, acknowledged + 1, model, IDENTITY.groups, bytes);
        const writing = store.write(batch).then(
          () => true,
          () => false,
        );
        if (acknowledged >= goal) {
          killing ??= nats.kill('SIGKILL');
          // The process of this store goes with it.
          void killing.then(() => connection.close());
        }
        isUp = await writing;
        if (!isUp) break;
        model.apply(batch);
        acknowledged++;
      }
      await killing;
      await nats.restart();
      const after = await found();
      const message = `seed ${seed}, round ${round}: acknowledged ${acknowledged}, found ${after.promiseLimit}`;
      expect(after.promiseLimit, message).toBeGreaterThanOrEqual(acknowledged);
      expect(after.promiseLimit, message).toBeLessThanOrEqual(acknowledged + 1);
      durable = after.promiseLimit;
      expect(after.state, message).toEqual(modelAfter(seed, durable, IDENTITY.groups, bytes).dump());
    }
    expect(durable).toBeGreaterThan(20);
  }, 120_000);
});

describe('the space of a jetstream log store', () => {
  it('is bounded under a load that compacts, also when one group keeps old entries', async () => {
    const WRITES = 6_000;
    const TRAILING = 20;
    const store = await opened();
    await store.write({ groups: [1, 2].map((group) => ({ group, entries: entries(1, 5, 1) })) });
    const api = await manager();
    let largest = 0;
    for (let index = 1; index <= WRITES; index++) {
      const base = index % 100 === 0 ? { base: position(index - TRAILING, 1) } : {};
      await store.write({ groups: [{ group: 0, entries: entries(index, index, 1), ...base }] });
      if (index % 500 === 0) largest = Math.max(largest, (await api.streams.info(stream)).state.messages);
    }
    expect(largest).toBeLessThan(2_000);
    await store.close();
    const again = await opened();
    for (const group of [1, 2]) expect(await again.read(group, 1, ALL, ALL)).toHaveLength(5);
    expect((await again.read(0, WRITES - TRAILING + 1, ALL, ALL)).map(({ index }) => index)).toHaveLength(TRAILING);
    // Opened anew it knows where the entries are that were moved, and so does the next one.
    await again.write({ groups: [{ group: 1, base: position(2, 1) }] });
    await again.close();
    expect(await (await opened()).read(1, 3, ALL, ALL)).toHaveLength(3);
  }, 120_000);
});
