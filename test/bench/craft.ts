/** craft as it is measured: three servers, a process each, with their own NATS and Postgres. */
import { setTimeout as delay } from 'node:timers/promises';
import postgres from 'postgres';
import { LocalCluster } from '../../deploy/local/cluster.js';
import type { Processes } from './processes.js';

export interface CraftUnderTest {
  readonly cluster: string;
  readonly natsUrl: string;
  /** A database on the same Postgres server. */
  readonly postgresUrl: string;
  readonly processes: Processes;
  /** Waits until the three databases are equal and have applied at least `commands`; rejects after 30 s. */
  verify(commands: number): Promise<Verdict>;
  /** Ends the servers, so that others can be measured beside the same Postgres. */
  stopServers(): Promise<void>;
  stop(): Promise<void>;
}

export interface Verdict {
  readonly rows: number;
  /** Merged index that all three have applied. */
  readonly commands: number;
  /** Over all rows, the same in all three. */
  readonly checksum: string;
}

/** `profileFolder`: where the servers write V8 processor profiles when they end. */
export async function startCraft(dataDir: string, profileFolder?: string): Promise<CraftUnderTest> {
  const cluster = new LocalCluster({
    dataDir,
    environment: { CRAFT_LOG_LEVEL: 'warn' },
    nodeArguments: profileFolder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`],
    onNotice: (line) => console.log(line),
  });
  await cluster.start();
  try {
    await cluster.waitReady();
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  const databases = cluster.servers.map((server) => cluster.databaseUrl(server));
  return {
    cluster: cluster.cluster,
    natsUrl: cluster.natsUrl,
    postgresUrl: databases[0] ?? '',
    processes: cluster.pids,
    verify: (commands) => untilEqual(databases, commands),
    async stopServers() {
      for (const server of cluster.servers) await cluster.kill(server, 'SIGTERM');
    },
    stop: () => cluster.stop(),
  };
}

async function untilEqual(databases: readonly string[], commands: number): Promise<Verdict> {
  const connections = databases.map((url) => postgres(url, { max: 1, onnotice: () => undefined }));
  try {
    const deadline = Date.now() + 30_000;
    for (;;) {
      const verdicts = await Promise.all(connections.map(verdictOf));
      const [first] = verdicts;
      const areEqual = new Set(verdicts.map((verdict) => JSON.stringify(verdict))).size === 1;
      if (first !== undefined && areEqual && first.commands >= commands) return first;
      if (Date.now() > deadline) {
        throw new Error(`the databases are not equal, at ${commands} commands or more: ${JSON.stringify(verdicts)}`);
      }
      await delay(100);
    }
  } finally {
    await Promise.all(connections.map((sql) => sql.end()));
  }
}

async function verdictOf(sql: postgres.Sql): Promise<Verdict> {
  const [row] = await sql<Verdict[]>`
    select count(*)::float8 as rows,
      (select merged_index::float8 from craft.position) as commands,
      md5(string_agg(concat_ws(' ', key, value, version, merged_index, updated_at), ',' order by key)) as checksum
    from kv`;
  if (row === undefined) throw new Error('no answer');
  return row;
}
