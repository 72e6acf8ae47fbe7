/**
 * Overwrites the same keys at full speed and shows what that leaves on the disk and in memory
 * (T10): both must stay flat.
 *
 *     npm run bench:disk -- --minutes 10
 *
 * Prints a line every so often, then the bound and whether it held. Exit code 1 when it did not.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { connect } from 'nats';
import postgres from 'postgres';
import type { LocalCluster } from '../../deploy/local/cluster.js';
import { connectCraft } from '../../shared/client/index.js';
import { startTestCluster } from '../harness/index.js';
import { residentMiB } from './processes.js';

const MIB = 1024 * 1024;
/**
 * Frame, command with id and trace fields, key and value; and what the store and the stream lay
 * around it.
 */
const ENTRY_BYTES = 400;
/**
 * Segments of the log, JetStream's blocks, Postgres's catalogs, and its write-ahead log with
 * max_wal_size = 2GB, whatever is written.
 */
const FIXED_MIB = { logs: 64, streams: 96, databases: 96, wal: 2_300 };

interface Options {
  readonly minutes: number;
  readonly keys: number;
  readonly every: number;
  readonly snapshotEntries: number;
  readonly windowSeconds: number;
  readonly inFlight: number;
}

function parseOptions(): Options {
  return new Command('disk')
    .option('--minutes <n>', 'how long', Number, 10)
    .option('--keys <n>', 'keys that are overwritten', Number, 1_000)
    .option('--every <s>', 'seconds between two looks', Number, 20)
    .option('--snapshot-entries <n>', 'CRAFT_SNAPSHOT_ENTRIES', Number, 50_000)
    .option('--window-seconds <n>', 'CRAFT_RESULT_WINDOW_MS / 1000: how long ids are remembered', Number, 30)
    .option('--in-flight <n>', 'commands in flight', Number, 256)
    .parse()
    .opts<Options>();
}

/** Sizes in MiB, summed over all servers. */
interface Look {
  readonly second: number;
  readonly commands: number;
  readonly logs: number;
  readonly nats: number;
  readonly databases: number;
  readonly wal: number;
  /** Resident memory of the largest server process. */
  readonly memory: number;
}

/**
 * What a folder takes on the disk: a segment has its full length from the beginning, and is filled
 * later.
 */
async function folderBytes(path: string): Promise<number> {
  let sum = 0;
  for (const entry of await readdir(path, { withFileTypes: true }).catch(() => [])) {
    const inner = join(path, entry.name);
    // Files come and go while they are counted.
    sum += entry.isDirectory()
      ? await folderBytes(inner)
      : await stat(inner).then(
          ({ blocks }) => blocks * 512,
          () => 0,
        );
  }
  return sum;
}

async function databaseMiB(cluster: LocalCluster): Promise<{ databases: number; wal: number }> {
  let databases = 0;
  let wal = 0;
  for (const server of cluster.servers) {
    const sql = postgres(cluster.databaseUrl(server), { max: 1, onnotice: () => undefined });
    const [row] = await sql<{ size: number; wal: number }[]>`
      select pg_database_size(current_database())::float8 as size, (select sum(size)::float8 from pg_ls_waldir()) as wal`;
    databases += (row?.size ?? 0) / MIB;
    wal = (row?.wal ?? 0) / MIB;
    await sql.end();
  }
  return { databases, wal };
}

async function look(cluster: LocalCluster, second: number, commands: number): Promise<Look> {
  const logs = await Promise.all(cluster.servers.map((server) => folderBytes(join(cluster.dataDir, server, 'log'))));
  const nats = (await folderBytes(join(cluster.dataDir, 'nats'))) / MIB;
  const memory = cluster.servers.map((server) => residentMiB(cluster.pids[server] ?? 0));
  const sizes = await databaseMiB(cluster);
  return {
    second,
    commands,
    logs: logs.reduce((a, b) => a + b, 0) / MIB,
    nats,
    ...sizes,
    memory: Math.max(...memory),
  };
}

/**
 * What the limits come to, in MiB: two intervals between snapshots and one that is being written,
 * the results of a window, the fixed parts.
 */
function bounds({ snapshotEntries, windowSeconds }: Options, servers: number, perSecond: number) {
  const interval = (snapshotEntries * ENTRY_BYTES) / MIB;
  const results = (windowSeconds * perSecond * 2 * ENTRY_BYTES) / MIB;
  return {
    logs: servers * (3 * interval + FIXED_MIB.logs),
    nats: servers * (3 * interval + FIXED_MIB.streams) + 3 * results,
    databases: servers * (3 * results + FIXED_MIB.databases),
    wal: FIXED_MIB.wal,
  };
}

async function main(options: Options): Promise<number> {
  const test = await startTestCluster({
    environment: {
      CRAFT_SNAPSHOT_ENTRIES: String(options.snapshotEntries),
      CRAFT_RESULT_WINDOW_MS: String(options.windowSeconds * 1_000),
    },
  });
  const { cluster } = test;
  const connection = await connect({ servers: cluster.natsUrl });
  const client = await connectCraft({ connection, timeoutMs: 60_000 });
  const endMs = performance.now() + options.minutes * 60_000;
  let commands = 0;
  const worker = async (number: number) => {
    for (let n = number; performance.now() < endMs; n++) {
      await client.kv.put(`key-${n % options.keys}`, { n, text: 'x'.repeat(100) });
      commands += 1;
    }
  };
  const working = Promise.all(Array.from({ length: options.inFlight }, (_, number) => worker(number * 7)));
  const looks: Look[] = [];
  const startMs = performance.now();
  console.log('second  commands  logs  nats  databases  wal  memory   (MiB)');
  while (performance.now() < endMs) {
    await delay(Math.min(options.every * 1_000, Math.max(0, endMs - performance.now())));
    const one = await look(cluster, Math.round((performance.now() - startMs) / 1_000), commands);
    looks.push(one);
    const { second, logs, nats, databases, wal, memory } = one;
    const cells = [logs, nats, databases, wal, memory].map((value) => value.toFixed(0).padStart(6)).join(' ');
    console.log(`${String(second).padStart(6)} ${String(one.commands).padStart(9)} ${cells}`);
  }
  await working;
  await connection.close();
  await test.stop();

  const bound = bounds(options, cluster.servers.length, commands / (options.minutes * 60));
  const largest = (of: keyof typeof bound) => Math.max(...looks.map((one) => one[of]));
  const half = looks.slice(Math.floor(looks.length / 2));
  const growth = (half[half.length - 1]?.memory ?? 0) / Math.max(1, half[0]?.memory ?? 1);
  let isHeld = growth < 1.3;
  for (const name of ['logs', 'nats', 'databases', 'wal'] as const) {
    const is = largest(name) <= bound[name];
    isHeld &&= is;
    console.log(
      `${name}: at most ${largest(name).toFixed(0)} MiB, bound ${bound[name].toFixed(0)} MiB${is ? '' : ': EXCEEDED'}`,
    );
  }
  console.log(
    `memory: ${growth.toFixed(2)} times over the second half; ${commands} commands; ${isHeld ? 'held' : 'NOT held'}`,
  );
  return isHeld ? 0 : 1;
}

process.exitCode = await main(parseOptions());
