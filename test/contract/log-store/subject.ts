/** The adapters under test, each with the ways to open it again. */
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { connect, type NatsConnection } from 'nats';
import { JetStreamLogStore } from '../../../shared/log-store/jetstream/store.js';
import type { LogStore } from '../../../shared/log-store/port.js';
import { isLock } from '../../../shared/log-store/segments/lock.js';
import { SegmentLogStore } from '../../../shared/log-store/segments/store.js';
import { startTestNats, type TestNats } from '../../harness/servers.js';
import { MemoryLogStore } from '../../memory/log-store.js';

export const IDENTITY = { cluster: 'test', server: 's1', groups: 3 };

export interface Subject {
  readonly store: LogStore;
  /** The store as it is found after an orderly stop. */
  reopen(): Promise<Subject>;
  /** The store as it is found after the process has gone without a word. */
  crash(): Promise<Subject>;
}

export interface Adapter {
  readonly name: string;
  /** How many random sequences of steps are tried. */
  readonly runs: number;
  make(): Promise<Subject>;
  cleanUp(): Promise<void>;
  /** After the last test. */
  stop(): Promise<void>;
}

/** Own temporary folders, removed by `cleanUp`. */
export class Folders {
  readonly #made: string[] = [];
  async make(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'craft-log-store-'));
    this.#made.push(folder);
    return folder;
  }
  async copy(from: string): Promise<string> {
    const folder = await this.make();
    // A lock is a socket, which cannot be copied, and would be nobody's.
    await cp(from, folder, { recursive: true, filter: (path) => !isLock(basename(path)) });
    return folder;
  }
  async cleanUp(): Promise<void> {
    for (const folder of this.#made.splice(0)) await rm(folder, { recursive: true, force: true });
  }
}

function memoryAdapter(): Adapter {
  // A stopped store's memory stands for its disk.
  const subject = (store: MemoryLogStore): Subject => ({
    store,
    reopen: async () => {
      await store.close();
      return subject(store.crash());
    },
    crash: async () => subject(store.crash()),
  });
  return {
    name: 'memory',
    runs: 60,
    make: async () => subject(new MemoryLogStore()),
    cleanUp: async () => undefined,
    stop: async () => undefined,
  };
}

function segmentsAdapter(name: string, segmentBytes: number): Adapter {
  const folders = new Folders();
  const open: LogStore[] = [];
  const subject = async (folder: string): Promise<Subject> => {
    const store = await openSegments(folder, segmentBytes);
    open.push(store);
    return {
      store,
      reopen: async () => {
        await store.close();
        return subject(folder);
      },
      // The files as they are now, without whatever closing would still do.
      crash: async () => subject(await folders.copy(folder)),
    };
  };
  return {
    name,
    runs: 60,
    make: async () => subject(await folders.make()),
    cleanUp: async () => {
      for (const store of open.splice(0)) await store.close();
      await folders.cleanUp();
    },
    stop: async () => undefined,
  };
}

export const openSegments = (folder: string, segmentBytes?: number) =>
  SegmentLogStore.open({ ...IDENTITY, folder, ...(segmentBytes === undefined ? {} : { segmentBytes }) });

function jetStreamAdapter(): Adapter {
  const connections: NatsConnection[] = [];
  let nats: TestNats | undefined;
  let made = 0;
  const subject = async (server: TestNats, name: string): Promise<Subject> => {
    const connection = await connect({ servers: server.url });
    connections.push(connection);
    const store = await openJetStream(connection, name);
    return {
      store,
      reopen: async () => {
        await store.close();
        return subject(server, name);
      },
      // All of the machine: the store, and the NATS server with what it had not yet written.
      crash: async () => {
        await server.kill('SIGKILL');
        await connection.close();
        await server.restart();
        return subject(server, name);
      },
    };
  };
  return {
    name: 'jetstream',
    runs: 40,
    make: async () => {
      nats ??= await startTestNats({ syncAlways: true });
      return subject(nats, `TEST_${++made}`);
    },
    cleanUp: async () => {
      for (const connection of connections.splice(0)) await connection.close();
    },
    stop: async () => {
      await nats?.stop();
      nats = undefined;
    },
  };
}

export function openJetStream(connection: NatsConnection, name: string): Promise<JetStreamLogStore> {
  const options = { stream: name, subject: `${name}.store`, monitorUrls: [], isTrusted: true };
  return JetStreamLogStore.open({ ...IDENTITY, ...options, connection });
}

export const adapters: readonly Adapter[] = [
  memoryAdapter(),
  segmentsAdapter('segments', 256 * 1024),
  // So small that every few writes begin a segment, drop some, and carry entries.
  segmentsAdapter('small segments', 4_096),
  jetStreamAdapter(),
];
