/**
 * `npm start`: a cluster of three servers on this machine that keeps its data. Settings: local-config.ts. Ends with everything that it
 * started at Ctrl-C.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'nats';
import { newerVersion, switchMachine } from '../../services/cli/machine.js';
import { type CraftClient, connectCraft, type ServerStatus } from '../../shared/client/index.js';
import { natsAddress } from '../../shared/wire/connection.js';
import { Subjects } from '../../shared/wire/subjects.js';
import { LocalCluster, StoppedError } from './cluster.js';
import { localConfig } from './local-config.js';
import { stopOnSignal } from './until-signal.js';

/** The migrations of a developer's database (milliseconds). */
const SWITCH_MS_MAX = 120_000;
/** Until all appliers have said which versions they have loaded, and between two looks (milliseconds). */
const LOADED_MS_MAX = 30_000;
const LOADED_LOOK_MS = 100;

function print(line = ''): void {
  process.stdout.write(`${line}\n`);
}

function printAddresses(cluster: LocalCluster): void {
  print(`NATS       ${cluster.natsUrl}`);
  for (const server of cluster.servers) print(`Postgres   ${cluster.databaseUrl(server)}`);
  if (cluster.jaegerUrl !== undefined) print(`Jaeger     ${cluster.jaegerUrl}`);
  if (cluster.otlpEndpoint !== undefined) print(`OTLP       ${cluster.otlpEndpoint}`);
  print(`Data, logs ${cluster.dataDir}`);
}

function printCommands(cluster: LocalCluster): void {
  const elsewhere = cluster.natsUrl === 'nats://127.0.0.1:4222' ? '' : `CRAFT_NATS_URL=${cluster.natsUrl} `;
  const named = cluster.cluster === 'craft' ? '' : `CRAFT_CLUSTER=${cluster.cluster} `;
  const craft = `  ${elsewhere}${named}npm run --silent craft --`;
  print('Try, in another terminal:');
  print(`${craft} cmd kv.put '{"key":"a","value":{"n":1}}'`);
  print(`${craft} log`);
  print(`${craft} status`);
}

/** Puts a newer version into force when all servers have it (T12): on a developer's machine there is nobody to wait for. */
async function switchIfNewer(cluster: LocalCluster): Promise<void> {
  const connection = await connect({ ...natsAddress(cluster.natsUrl), name: 'craft start' });
  try {
    const client = await connectCraft({ connection, cluster: cluster.cluster });
    const session = { connection, client, subjects: new Subjects(cluster.cluster) };
    const version = newerVersion(await statusOfAll(client, cluster.servers));
    if (version === undefined) return;
    await switchMachine(session, version, SWITCH_MS_MAX, () =>
      print(`the state machine is switched to version ${version}`),
    );
  } catch (error) {
    // The version before goes on: the cluster is of use, and the reason is worth reading.
    print(`the state machine is not switched: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    await connection.close();
  }
}

/** Resolves when every server says what its applier has loaded. @throws Error naming those that do not. */
async function statusOfAll(client: CraftClient, servers: readonly string[]): Promise<ServerStatus[]> {
  const deadlineMs = performance.now() + LOADED_MS_MAX;
  for (;;) {
    const statuses = await client.status();
    const known = statuses.filter(({ state }) => state?.machine !== undefined).map(({ server }) => server);
    const silent = servers.filter((server) => !known.includes(server));
    if (silent.length === 0) return statuses;
    if (performance.now() > deadlineMs) throw new Error(`no applier of ${silent.join(', ')} answers`);
    await delay(LOADED_LOOK_MS);
  }
}

async function main(): Promise<void> {
  const cluster = new LocalCluster({ ...localConfig(), supervise: true, onNotice: (line) => print(`craft: ${line}`) });
  stopOnSignal(async () => {
    print('stopping …');
    await cluster.stop();
  }, 0);
  await cluster.start();
  printAddresses(cluster);
  print();
  let leaders: string[];
  try {
    leaders = await cluster.waitReady();
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  await switchIfNewer(cluster);
  printCommands(cluster);
  print();
  const led = leaders.map((leader, group) => `group ${group} by ${leader}`).join(', ');
  print(`craft is ready (${led}); Ctrl-C stops it`);
}

main().catch((error: unknown) => {
  // A signal came, and its handler ends this process.
  if (error instanceof StoppedError) return;
  process.stderr.write(`craft: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
