/**
 * craft as it is measured: three servers with default settings, NATS of their own, databases on the
 * common Postgres.
 */
import { LocalCluster } from '../../../deploy/local/cluster.js';
import type { Processes } from '../processes.js';
import { untilEqual } from './equal-databases.js';
import { type Nats, startNatsCluster, startNatsServer } from './nats.js';
import type { Stage } from './stage.js';

const SERVERS = ['s1', 's2', 's3'];
const PREFIX = 'bench_craft_';

const STATE = `select count(*)::float8 as rows,
    (select merged_index::float8 from craft.position) as commands,
    md5(string_agg(concat_ws(' ', key, value, version, merged_index, updated_at), ',' order by key)) as checksum
  from kv`;

export interface CraftSystem {
  readonly cluster: LocalCluster;
  readonly nats: Nats;
  /** Asked for again after a server was started again. */
  processes(): Processes;
  /** Rejects when the databases do not become equal, with at least `commands` applied. */
  verify(commands: number): Promise<string>;
  stop(): Promise<void>;
}

/** Resolves when every group has a leader. */
export async function startCraft(stage: Stage, { groups = 3 }: { groups?: number } = {}): Promise<CraftSystem> {
  const { layout, craftNats, profileFolder } = stage.options;
  const folder = await stage.nextTurn();
  const names = SERVERS.map((server) => `${PREFIX}${server}`);
  const databases = await stage.createDatabases(names);
  const nats = craftNats === 1 ? await startNatsServer(folder) : await startNatsCluster(folder);
  const cluster = new LocalCluster({
    dataDir: folder,
    servers: SERVERS,
    groups,
    layout,
    natsUrl: nats.urls.join(','),
    databaseUrl: stage.databaseUrl,
    databasePrefix: PREFIX,
    environment: { CRAFT_LOG_LEVEL: 'warn' },
    nodeArguments: profileFolder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`],
  });
  const stop = async (): Promise<void> => {
    await cluster.stop();
    await nats.stop();
    await stage.dropDatabases(names);
  };
  try {
    await cluster.start();
    await cluster.waitReady();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    cluster,
    nats,
    processes: () => ({ ...cluster.pids, ...nats.processes, postgres: stage.postgresPid }),
    async verify(commands) {
      const state = await untilEqual(databases, commands, STATE);
      return `three equal databases: ${state.rows} rows, ${state.commands} commands`;
    },
    stop,
  };
}
