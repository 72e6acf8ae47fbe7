/**
 * `npm start` and `craft dev`: a cluster of three servers on this machine that keeps its data.
 * Settings: local-config.ts. Ends with everything that it started at Ctrl-C, or with exit code 1
 * and the reason when no server is left.
 *
 *     node start.js [--watch]      --watch: the servers start again after a change of the state machine's files
 */
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'nats';
import { newerVersion, switchMachine } from '../../services/cli/machine.js';
import { type CraftClient, connectCraft, type ServerStatus } from '../../shared/client/index.js';
import { natsAddress } from '../../shared/wire/connection.js';
import { Subjects } from '../../shared/wire/subjects.js';
import { LocalCluster, StoppedError } from './cluster.js';
import { localConfig } from './local-config.js';
import { newestError } from './log-errors.js';
import { type CheckedMachine, checkMachine, watchedPaths, watchPaths } from './machine-watch.js';
import { isInstalled } from './project.js';
import { stopOnSignal } from './until-signal.js';

/** The migrations of a developer's database (milliseconds). */
const SWITCH_MS_MAX = 120_000;
/**
 * Until all appliers have said which versions they have loaded, and between two looks
 * (milliseconds).
 */
const LOADED_MS_MAX = 30_000;
const LOADED_LOOK_MS = 100;
/** An error that a service gets over by itself is gone by then (milliseconds). */
const TRANSIENT_MS = 3_000;

function print(line = ''): void {
  process.stdout.write(`${line}\n`);
}

function printAddresses(cluster: LocalCluster): void {
  print(`NATS       ${cluster.natsUrl}`);
  for (const server of cluster.servers) print(`Postgres   ${cluster.databaseUrl(server)}`);
  if (cluster.jaegerUrl !== undefined) print(`Jaeger     ${cluster.jaegerUrl}`);
  if (cluster.otlpEndpoint !== undefined) print(`OTLP       ${cluster.otlpEndpoint}`);
  for (const [name, url] of cluster.metricsUrls) print(`Metrics    ${url} (${name})`);
  print(`Data, logs ${cluster.dataDir}`);
}

function printCommands(cluster: LocalCluster): void {
  const elsewhere = cluster.natsUrl === 'nats://127.0.0.1:4222' ? '' : `CRAFT_NATS_URL=${cluster.natsUrl} `;
  const named = cluster.cluster === 'craft' ? '' : `CRAFT_CLUSTER=${cluster.cluster} `;
  const craft = `  ${elsewhere}${named}${isInstalled() ? 'npx craft' : 'npm run --silent craft --'}`;
  const hasOwnMachine = (process.env['CRAFT_STATE_MACHINE'] ?? '') !== '';
  print('Try, in another terminal:');
  print(hasOwnMachine ? `${craft} commands` : `${craft} cmd kv.put '{"key":"a","value":{"n":1}}'`);
  print(`${craft} log`);
  print(`${craft} status`);
}

function printReady(cluster: LocalCluster, leaders: readonly string[], isNewest: boolean): void {
  printCommands(cluster);
  print();
  const led = leaders.map((leader, group) => `group ${group} by ${leader}`).join(', ');
  print(
    isNewest
      ? `craft is ready (${led}); Ctrl-C stops it`
      : `craft runs, without the newest version of the state machine (${led}); Ctrl-C stops it`,
  );
}

/**
 * Puts a newer version into force when all servers have it (T12): a developer's cluster needs no
 * operator for that. Resolves with whether the newest version is in force; otherwise the reason is
 * printed.
 * @param startedMs when the servers were started (milliseconds since the Unix epoch)
 */
async function switchIfNewer(cluster: LocalCluster, startedMs: number): Promise<boolean> {
  const connection = await connect({ ...natsAddress(cluster.natsUrl), name: 'craft start' });
  try {
    const client = await connectCraft({ connection, cluster: cluster.cluster });
    const session = { connection, client, subjects: new Subjects(cluster.cluster) };
    const version = newerVersion(await statusOfAll(client, cluster, startedMs));
    if (version === undefined) return true;
    await switchMachine(session, version, SWITCH_MS_MAX, () =>
      print(`the state machine is switched to version ${version}`),
    );
    return true;
  } catch (error) {
    // The version before goes on: the cluster is of use, and the reason is worth reading.
    print(`the state machine is not switched: ${error instanceof Error ? error.message : String(error)}`);
    return false;
  } finally {
    await connection.close();
  }
}

/**
 * Resolves when every server says what its applier has loaded. @throws Error naming those that do
 * not, and why when their logs know.
 */
async function statusOfAll(client: CraftClient, cluster: LocalCluster, startedMs: number): Promise<ServerStatus[]> {
  const startMs = performance.now();
  for (;;) {
    const statuses = await client.status();
    const known = statuses.filter(({ state }) => state?.machine !== undefined).map(({ server }) => server);
    const [silent, ...others] = cluster.servers.filter((server) => !known.includes(server));
    if (silent === undefined) return statuses;
    const waitedMs = performance.now() - startMs;
    const why = waitedMs > TRANSIENT_MS ? await newestError(cluster.logOf(silent), startedMs) : undefined;
    if (why !== undefined || waitedMs > LOADED_MS_MAX) {
      throw new Error(`the database of ${[silent, ...others].join(', ')} does not go on${why ? `: ${why}` : ''}`);
    }
    await delay(LOADED_LOOK_MS);
  }
}

/**
 * All servers go on with the module as it is now. Resolves with whether its newest version is in
 * force.
 */
async function restartServers(cluster: LocalCluster): Promise<boolean> {
  // What their logs say from before was the module before.
  const startedMs = Date.now();
  await Promise.all(
    cluster.servers.map(async (server) => {
      // What they have acknowledged is on the disk.
      await cluster.kill(server, 'SIGKILL');
      await cluster.restart(server);
    }),
  );
  await cluster.waitReady();
  return switchIfNewer(cluster, startedMs);
}

/**
 * Starts the servers again after each change with which the machine loads. Until then, the ones
 * before go on.
 */
async function watchMachine(cluster: LocalCluster, path: string, first: CheckedMachine): Promise<never> {
  let machine = first;
  const onChange = async (): Promise<void> => {
    try {
      const before = machine;
      machine = await checkMachine(path);
      const { name, version, fingerprints } = machine;
      if (JSON.stringify(fingerprints) === JSON.stringify(before.fingerprints)) return;
      print(`${name} has changed; the servers start again …`);
      if (before.name !== name) {
        print(`  it was called ${before.name}: another machine needs a data folder of its own (CRAFT_DATA_DIR)`);
      } else if (before.fingerprints[version] !== undefined) {
        print(
          `  what version ${version} has executed stays as it was; give a change a version of its own before it counts`,
        );
      }
      const isReady = await restartServers(cluster);
      print(isReady ? `${name} ${version} is ready` : 'the servers start again after the next change');
    } catch (error) {
      if (error instanceof StoppedError) return;
      print(error instanceof Error ? error.message : String(error));
    }
  };
  await watchPaths(() => watchedPaths(machine, path), onChange, new AbortController().signal);
  throw new Error('the watch has ended');
}

/**
 * The user's state machine; undefined: the built-in one. @throws Error when it does not load:
 * nothing is started then.
 */
async function ownMachine(): Promise<{ path: string; machine: CheckedMachine } | undefined> {
  const path = process.env['CRAFT_STATE_MACHINE'];
  return path === undefined || path === '' ? undefined : { path, machine: await checkMachine(path) };
}

async function main(): Promise<void> {
  const own = await ownMachine();
  const startedMs = Date.now();
  const isWatching = process.argv.includes('--watch');
  if (isWatching && own === undefined) throw new Error('nothing to watch: set CRAFT_STATE_MACHINE to a module');
  const cluster = new LocalCluster({ ...localConfig(), supervise: true, onNotice: (line) => print(`craft: ${line}`) });
  stopOnSignal(async () => {
    print('stopping …');
    await cluster.stop();
  }, 0);
  await cluster.start();
  printAddresses(cluster);
  print();
  const noServer = cluster.givenUp.then((error): never => {
    throw error;
  });
  // Awaited below, and not yet while the cluster starts.
  noServer.catch(() => undefined);
  try {
    const leaders = await Promise.race([cluster.waitReady(), noServer]);
    const isNewest = await switchIfNewer(cluster, startedMs);
    printReady(cluster, leaders, isNewest);
    if (!isWatching || own === undefined) await noServer;
    else {
      if (!isNewest) print('the servers start again after the next change');
      // A change may mend what has ended them.
      await watchMachine(cluster, own.path, own.machine);
    }
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

main().catch((error: unknown) => {
  // A signal came, and its handler ends this process.
  if (error instanceof StoppedError) return;
  process.stderr.write(`craft: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
