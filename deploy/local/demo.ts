/**
 * `npm run demo`: a cluster of its own on free ports, commands from a plain NATS client through
 * every leader, then what came of them. That is the rows and checksums of all databases, and one
 * command's trace. Exit code 0 when all of it is as it should be.
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { LocalCluster, StoppedError } from './cluster.js';
import { DemoClient } from './demo-client.js';
import { compareDatabases, type DatabaseView, readDatabase } from './demo-databases.js';
import { traceFromJaeger } from './jaeger-query.js';
import { type OtlpReceiver, startOtlpReceiver } from './otlp-receiver.js';
import { findJaeger } from './tools/jaeger.js';
import { type TraceSpan, traceTree } from './trace-tree.js';
import { stopOnSignal } from './until-signal.js';

const COMMANDS = 300;
const KEYS = 60;
const DATABASES_TIMEOUT_MS = 15_000;
const TRACE_TIMEOUT_MS = 15_000;
const STEPS = [
  'craft.command kv.put',
  'craft.append',
  'craft.replicate',
  'craft.commit',
  'craft.merge',
  'craft.answer',
];

function print(line = ''): void {
  process.stdout.write(`${line}\n`);
}

/** Asks until `isEnough`, or until time is up: then returns what there is. */
async function poll<T>(ask: () => Promise<T>, isEnough: (value: T) => boolean, timeoutMs: number): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const value = await ask();
    if (isEnough(value) || Date.now() > deadline) return value;
    await delay(100);
  }
}

async function showDatabases(cluster: LocalCluster, lastIndex: number): Promise<void> {
  const read = (): Promise<DatabaseView[]> =>
    Promise.all(cluster.servers.map((server) => readDatabase(server, cluster.databaseUrl(server))));
  const reached = (views: DatabaseView[]): boolean => views.every(({ mergedIndex }) => mergedIndex >= lastIndex);
  const views = await poll(read, reached, DATABASES_TIMEOUT_MS);
  print('\nThe databases (first rows of table kv):');
  for (const view of views) {
    print(`  ${view.server}: ${view.rows.length} rows, merged index ${view.mergedIndex}, checksum ${view.checksum}`);
    for (const row of view.rows.slice(0, 3)) {
      print(`      ${row.key}  ${row.value}  version ${row.version}  merged_index ${row.merged_index}`);
    }
  }
  const difference = compareDatabases(views, lastIndex);
  if (difference !== undefined) throw new Error(difference);
  print('  equal rows, equal merged indexes, equal checksums');
}

async function showTrace(cluster: LocalCluster, receiver: OtlpReceiver | undefined, traceId: string): Promise<void> {
  const isWhole = (spans: readonly TraceSpan[]): boolean => missingSteps(cluster, spans).length === 0;
  const { jaegerUrl } = cluster;
  const read = async (): Promise<TraceSpan[]> => {
    if (receiver) return receiver.trace(traceId);
    return jaegerUrl === undefined ? [] : traceFromJaeger(jaegerUrl, traceId);
  };
  const spans = await poll(read, isWhole, TRACE_TIMEOUT_MS);
  print(`\nOne command's trace (${traceId}, from ${receiver ? 'a receiver of OTLP in this demo' : 'Jaeger'}):`);
  for (const line of traceTree(spans)) print(`  ${line}`);
  const missing = missingSteps(cluster, spans);
  if (missing.length > 0) throw new Error(`the trace lacks ${missing.join(', ')}`);
}

/** The spans that a whole trace has and this one has not: each step, and every server. */
function missingSteps(cluster: LocalCluster, spans: readonly TraceSpan[]): string[] {
  const steps = STEPS.filter((name) => !spans.some((span) => span.name === name));
  const servers = cluster.servers.map((server) => `craft.server ${server}`);
  return [...steps, ...servers.filter((name) => !spans.some((span) => span.name === name))];
}

async function demonstrate(cluster: LocalCluster, receiver: OtlpReceiver | undefined): Promise<void> {
  await cluster.start();
  const leaders = await cluster.waitReady();
  print(`Ready: ${leaders.map((leader, group) => `group ${group} is led by ${leader}`).join(', ')}`);

  const client = await DemoClient.connect(cluster.natsUrl, cluster.cluster);
  try {
    const startMs = performance.now();
    const replies = await Promise.all(
      Array.from({ length: COMMANDS }, (_, i) =>
        client.put(i % cluster.groups, { key: `key-${String(i % KEYS).padStart(2, '0')}`, value: { n: i } }),
      ),
    );
    const seconds = (performance.now() - startMs) / 1000;
    print(`${COMMANDS} commands through ${cluster.groups} leaders in ${seconds.toFixed(2)} s; the last three replies:`);
    for (const reply of replies.slice(-3)) print(`  ${JSON.stringify(reply)}`);

    const traceId = randomBytes(16).toString('hex');
    const traced = await client.putTraced(traceId, { key: 'traced', value: true }, cluster.otlpEndpoint);
    const lastIndex = Math.max(traced.index, ...replies.map(({ index }) => index));
    await showDatabases(cluster, lastIndex);
    await showTrace(cluster, receiver, traceId);
  } finally {
    await client.close();
  }
}

async function main(): Promise<void> {
  const startMs = performance.now();
  const dataDir = await mkdtemp(join(tmpdir(), 'craft-demo-'));
  // Run by root, Postgres runs as another user, who must get in.
  await chmod(dataDir, 0o755);
  const hasJaeger = await findJaeger('installed').then(
    () => true,
    () => false,
  );
  const receiver = hasJaeger ? undefined : await startOtlpReceiver();
  const cluster = new LocalCluster({
    dataDir,
    ...(receiver ? { otlpEndpoint: receiver.url } : { jaeger: 'installed' }),
    // Spans on their way at once instead of after five seconds.
    environment: { OTEL_BSP_SCHEDULE_DELAY: '200' },
    onNotice: print,
  });
  const cleanUp = async (): Promise<void> => {
    await cluster.stop();
    await receiver?.stop();
  };
  stopOnSignal(cleanUp, 130);
  print('Starting NATS, Postgres and three servers …');
  try {
    await demonstrate(cluster, receiver);
  } catch (error) {
    await cleanUp();
    print(`\nLogs are in ${dataDir}`);
    throw error;
  }
  await cleanUp();
  await rm(dataDir, { recursive: true, force: true });
  print(`\nDone in ${((performance.now() - startMs) / 1000).toFixed(1)} s.`);
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    // A signal came, and its handler ends this process.
    if (error instanceof StoppedError) return;
    process.stderr.write(`demo failed: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  },
);
