/** Real servers for one test file, on free ports, with data in folders that go with them. */

import type { ManagedProcess } from '../../deploy/local/managed-process.js';
import { type LocalNatsOptions, startNats } from '../../deploy/local/nats.js';
import { freePort } from '../../deploy/local/ports.js';
import {
  createDatabases,
  type LocalPostgresOptions,
  localDatabaseUrl,
  startPostgres,
} from '../../deploy/local/postgres.js';
import { temporaryFolder } from './folder.js';
import { preparePostgres, removePostgres } from './postgres-template.js';

export { freePort, freePorts } from '../../deploy/local/ports.js';

export interface TestNats {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same port and data after `kill`. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export interface TestPostgres {
  readonly port: number;
  readonly pid: number;
  /** Address of a database; `createDatabases` makes it exist. */
  url(database: string): string;
  createDatabases(names: readonly string[]): Promise<void>;
  kill(signal: NodeJS.Signals): Promise<void>;
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** A nats-server with JetStream. */
export async function startTestNats(
  options: Pick<LocalNatsOptions, 'syncAlways' | 'monitorPort'> = {},
): Promise<TestNats> {
  const { port, server } = await startTestServer('nats', (dataDir, port) => startNats({ ...options, dataDir, port }));
  return Object.assign(server, { url: `nats://127.0.0.1:${port}`, port });
}

/**
 * A Postgres server, which does not wait for the disk; takes about a second, so share one in a
 * file.
 */
export async function startTestPostgres(
  databases: readonly string[] = [],
  options: Pick<LocalPostgresOptions, 'isVolatile'> = { isVolatile: true },
): Promise<TestPostgres> {
  const start = (dataDir: string, port: number) => startPostgres({ ...options, dataDir, port });
  const { port, server } = await startTestServer('postgres', start, preparePostgres, removePostgres);
  const create = (names: readonly string[]): Promise<void> =>
    createDatabases(localDatabaseUrl(port, 'postgres'), names);
  await create(databases);
  const url = (database: string): string => localDatabaseUrl(port, database);
  return Object.assign(server, { port, url, createDatabases: create });
}

async function startTestServer(
  name: string,
  start: (dataDir: string, port: number) => Promise<ManagedProcess>,
  prepare: (dataDir: string) => Promise<void> = async () => undefined,
  cleanUp: (dataDir: string) => Promise<void> = async () => undefined,
): Promise<{ port: number; server: Pick<TestNats, 'pid' | 'kill' | 'restart' | 'stop'> }> {
  const folder = await temporaryFolder(name);
  const port = await freePort();
  let running: ManagedProcess;
  try {
    await prepare(folder.path);
    running = await start(folder.path, port);
  } catch (error) {
    await folder.remove();
    throw error;
  }
  return {
    port,
    server: {
      get pid() {
        return running.pid;
      },
      async kill(signal) {
        running.kill(signal);
        await running.exited;
      },
      async restart() {
        running = await start(folder.path, port);
      },
      async stop() {
        await running.stop();
        await cleanUp(folder.path);
        await folder.remove();
      },
    },
  };
}
