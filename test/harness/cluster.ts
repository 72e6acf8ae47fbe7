/**
 * A whole cluster for one test file: NATS, Postgres and the built services as processes, in a
 * folder that goes with it.
 */
import { join } from 'node:path';
import { LocalCluster, type LocalClusterOptions } from '../../deploy/local/cluster.js';
import { temporaryFolder } from './folder.js';
import { preparePostgres, removePostgres } from './postgres-template.js';

export interface TestCluster {
  readonly cluster: LocalCluster;
  readonly folder: string;
  /** Stops everything and removes the folder. */
  stop(): Promise<void>;
}

/** Resolves when every group has a leader. Needs the built services (`npm run build`). */
export async function startTestCluster(options: Omit<LocalClusterOptions, 'dataDir'> = {}): Promise<TestCluster> {
  const folder = await temporaryFolder('cluster');
  const cluster = new LocalCluster({ ...options, dataDir: folder.path });
  const hasPostgres = options.databaseUrl === undefined;
  const postgresDir = join(folder.path, 'postgres');
  const stop = async (): Promise<void> => {
    await cluster.stop();
    if (hasPostgres) await removePostgres(postgresDir);
    await folder.remove();
  };
  try {
    if (hasPostgres) await preparePostgres(postgresDir);
    await cluster.start();
    await cluster.waitReady();
  } catch (error) {
    // The folder stays: the logs in it say why.
    await cluster.stop();
    throw error;
  }
  return { cluster, folder: folder.path, stop };
}
