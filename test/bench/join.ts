/**
 * A new server joins a cluster that has many keys and is under load (T10, T11): how long it takes
 * to catch up, and what clients feel of it.
 *
 *     npm run bench:join -- --keys 1000000 --rate 1000
 *
 * Latency counts from when a put was due, not from when it could be sent: a stall is felt by all
 * that would have come meanwhile. Exit code 1 when the server did not catch up in time, databases
 * differ or an acknowledged put is not there.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { connect } from 'nats';
import postgres from 'postgres';
import type { LocalCluster } from '../../deploy/local/cluster.js';
import { MembersAdmin } from '../../services/cli/members.js';
import { type CraftClient, connectCraft } from '../../shared/client/index.js';
import { SnapshotBucket } from '../../shared/snapshot/bucket.js';
import { Subjects } from '../../shared/wire/subjects.js';
import { Random } from '../chaos/random.js';
import { eventually, startTestCluster } from '../harness/index.js';
import { converged } from '../integration/cluster/inspect.js';
import { Samples, type Summary, summarize } from './summary.js';
import { synced, takeSnapshot } from './systems/state.js';

const FRESH = 's4';
const TRANSACTION_OPS = 50;
const TRANSACTIONS_IN_FLIGHT = 16;
/** Of a value: nothing that compression makes smaller by much. */
const TEXT_BYTES = 60;
const WAIT_MS_MAX = 600_000;
/**
 * Requests that may wait for their answers; what is due beyond them waits, and its latency with it.
 */
const IN_FLIGHT_MAX = 4_096;

interface Options {
  readonly keys: number;
  readonly rate: number;
  readonly seconds: number;
  readonly seed: number;
}

function parseOptions(): Options {
  return new Command('join')
    .option('--keys <n>', 'keys that there are', Number, 1_000_000)
    .option('--rate <n>', 'puts a second', Number, 1_000)
    .option('--seconds <n>', 'measured before and after', Number, 30)
    .option('--seed <n>', 'which keys are overwritten', Number, 1)
    .parse()
    .opts<Options>();
}

const textOf = (): string => randomBytes(TEXT_BYTES).toString('base64');
const keyOf = (n: number): string => `key-${String(n).padStart(8, '0')}`;

/** Returns puts a second. */
async function fill(client: CraftClient, keys: number): Promise<number> {
  const startMs = performance.now();
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < keys) {
      const from = next;
      next = Math.min(keys, from + TRANSACTION_OPS);
      const ops = Array.from({ length: next - from }, (_, at) => ({
        put: { key: keyOf(from + at), value: { n: 0, text: textOf() } },
      }));
      await client.kv.txn(ops);
    }
  };
  await Promise.all(Array.from({ length: TRANSACTIONS_IN_FLIGHT }, worker));
  return keys / ((performance.now() - startMs) / 1_000);
}

/** Puts at a steady rate, whether or not earlier ones have been answered. */
class OpenLoad {
  /** Of the puts that were due in the current phase (milliseconds). */
  samples = new Samples();
  /** Of each key that was put, how often. */
  readonly acknowledged = new Map<string, number>();
  failed = 0;
  private isOver = false;
  private inFlight = 0;
  private readonly random: Random;
  private readonly running: Promise<void>;

  constructor(
    private readonly client: CraftClient,
    private readonly options: Options,
  ) {
    this.random = new Random(options.seed);
    this.running = this.run();
  }

  /** What was due from here on is measured apart. */
  phase(): Samples {
    this.samples = new Samples();
    return this.samples;
  }

  async stop(): Promise<void> {
    this.isOver = true;
    await this.running;
    await eventually('the answers', async () => this.inFlight === 0 || undefined, { timeoutMs: WAIT_MS_MAX });
  }

  private async run(): Promise<void> {
    const { rate, keys } = this.options;
    const startMs = performance.now();
    for (let n = 0; !this.isOver; ) {
      const dueMs = startMs + (n * 1_000) / rate;
      if (dueMs > performance.now() || this.inFlight >= IN_FLIGHT_MAX) {
        await delay(1);
        continue;
      }
      n += 1;
      void this.put(keyOf(Math.floor(this.random.next() * keys)), n, dueMs, this.samples);
    }
  }

  private async put(key: string, n: number, dueMs: number, samples: Samples): Promise<void> {
    this.inFlight += 1;
    try {
      await this.client.kv.put(key, { n, text: textOf() });
      samples.add(performance.now() - dueMs);
      this.acknowledged.set(key, 1 + (this.acknowledged.get(key) ?? 0));
    } catch {
      this.failed += 1;
    } finally {
      this.inFlight -= 1;
    }
  }
}

/** Keys whose version does not count the fill and every acknowledged put, each once. */
async function miscounted(cluster: LocalCluster, server: string, load: OpenLoad): Promise<number> {
  const sql = postgres(cluster.databaseUrl(server), { max: 1, onnotice: () => undefined });
  try {
    let wrong = 0;
    const keys = [...load.acknowledged.keys()];
    for (let at = 0; at < keys.length; at += 10_000) {
      const part = keys.slice(at, at + 10_000);
      const rows = await sql<{ key: string; version: number }[]>`
        select key, version::float8 as version from kv where key in ${sql(part)}`;
      const versions = new Map(rows.map(({ key, version }) => [key, version]));
      wrong += part.filter((key) => versions.get(key) !== 1 + (load.acknowledged.get(key) ?? 0)).length;
    }
    return wrong;
  } finally {
    await sql.end();
  }
}

async function main(options: Options): Promise<number> {
  const test = await startTestCluster();
  const { cluster } = test;
  const connection = await connect({ servers: cluster.natsUrl });
  const client = await connectCraft({ connection, timeoutMs: 60_000 });
  try {
    const perSecond = await fill(client, options.keys);
    console.log(`${options.keys} keys, written in transactions of ${TRANSACTION_OPS}: ${perSecond.toFixed(0)}/s`);
    const bucket = await SnapshotBucket.open(connection, new Subjects(cluster.cluster), 1);
    const snapshotMs = await takeSnapshot(connection, bucket, WAIT_MS_MAX);
    const info = (await bucket.list()).at(-1);
    console.log(
      `a snapshot of them: ${((info?.bytes ?? 0) / 2 ** 20).toFixed(1)} MiB, taken in ${(snapshotMs / 1_000).toFixed(1)} s`,
    );

    const load = new OpenLoad(client, options);
    await delay(5_000);
    const before = load.phase();
    await delay(options.seconds * 1_000);

    const during = load.phase();
    const startMs = performance.now();
    await cluster.addServer(FRESH);
    const subjects = new Subjects(cluster.cluster);
    const { groups } = cluster;
    const print = () => undefined;
    await new MembersAdmin({ connection, subjects, groups, timeoutMs: WAIT_MS_MAX, print }).add(FRESH);
    const votingMs = performance.now() - startMs;
    await synced(connection, FRESH, WAIT_MS_MAX);
    const caughtUpMs = performance.now() - startMs;
    console.log(
      `${FRESH} votes in every group after ${(votingMs / 1_000).toFixed(1)} s, and its database is up to date after ${(caughtUpMs / 1_000).toFixed(1)} s`,
    );

    const after = load.phase();
    await delay(options.seconds * 1_000);
    await load.stop();
    for (const [name, samples] of Object.entries({ before, during, after })) {
      const { count, p50, p99, max } = summarize(samples.take(), 1);
      console.log(
        `${name.padEnd(7)} ${String(count).padStart(7)} puts: p50 ${p50} ms, p99 ${p99} ms, longest ${max} ms`,
      );
    }
    const databases = await converged(cluster, 0, WAIT_MS_MAX);
    const isEqual = new Set(databases.map((one) => JSON.stringify(one))).size === 1;
    const wrong = await miscounted(cluster, FRESH, load);
    const p99 = (samples: Samples): Summary['p99'] => summarize(samples.take(), 1).p99;
    const ratio = p99(during) / p99(before);
    console.log(
      `p99 meanwhile ${ratio.toFixed(2)} times that before; ${load.failed} puts failed; ${databases.length} databases with ${databases[0]?.keys} keys are ${isEqual ? 'equal' : 'NOT equal'}; ${wrong} of ${load.acknowledged.size} keys that were put have a wrong version`,
    );
    return isEqual && wrong === 0 && load.failed === 0 ? 0 : 1;
  } finally {
    await connection.close();
    await test.stop();
  }
}

process.exitCode = await main(parseOptions());
