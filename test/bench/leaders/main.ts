/**
 * Where one leader is the bottleneck: throughput with one group and with several, beside what
 * arithmetic allows. Once every server has a narrow link to NATS, and once it gets little processor
 * time.
 *
 *     npm run bench:leaders -- --quick
 *     npm run bench:leaders
 *     npm run bench:leaders -- --servers 5 --groups 1,3,5 --values 1024 --limit 2000000
 *
 * See README.md of the folder above.
 */
import { cpus } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { LocalCluster } from '../../../deploy/local/cluster.js';
import { LoadProcess, type Measured } from '../load/driver.js';
import { listOf, positive, positiveInteger } from '../options.js';
import { OTHERS } from '../processes.js';
import { machine, versions } from '../report/about.js';
import { save } from '../report/save.js';
import { align } from '../report/table.js';
import { significant } from '../statistics.js';
import { termsOf, untilHome } from '../systems/leaders.js';
import { type Nats, startNatsServer } from '../systems/nats.js';
import { Stage } from '../systems/stage.js';
import { type Costs, inFlightFor, linkBounds, processorBound } from './bounds.js';
import type { LinkCounts } from './limited-link.js';
import { Links } from './links.js';
import { BYTE_KINDS, type ByteKind, type BytesByKind } from './nats-meter.js';
import { ProcessorLimits } from './processor-limit.js';
import { type Steady, steady } from './steady.js';
import {
  bytesTable,
  type LeadersResult,
  type LinkRow,
  leadersPicture,
  linkTable,
  type ProcessorRow,
  processorTable,
} from './table.js';

interface Options {
  readonly quick?: boolean;
  readonly servers: readonly number[];
  readonly groups: readonly number[];
  readonly values: readonly number[];
  readonly limit?: number;
  readonly share: number;
  readonly waitMs: number;
  readonly seconds?: number;
  readonly warmUpSeconds?: number;
  readonly save?: boolean;
}

const PREFIX = 'bench_leaders_';
const WAIT_MS_MAX = 60_000;
/** Of one figure, when leadership moves meanwhile. */
const TRIES_MAX = 3;
const KEYS = 10_000;
/** Such that links, and not the processors of a small machine, are the limit (bytes a second). */
const LIMIT = { small: 750_000, large: 3_000_000 };
const LARGE_VALUE_BYTES = 4_096;
/** Under little processor time: enough to keep every group busy. */
const PROCESSOR_LOAD = { inFlight: 128, valueBytes: 128 };
/** Unlimited, before the first figure: what has just started spends its time on compiling. */
const COMPILING_SECONDS = { quick: 4, full: 15 };

function share(text: string): number {
  const value = Number(text);
  if (!(value === 0 || (value >= 0.1 && value <= 1))) throw new Error('0, or from 0.1 to 1');
  return value;
}

function parseOptions(): Options {
  return new Command('bench:leaders')
    .description(
      'throughput with one group and with several, when leaders are the limit, beside what arithmetic allows',
    )
    .option('--quick', 'short; the result is not saved')
    .option('--servers <list>', 'numbers of servers, in turn', listOf(positiveInteger), [3, 5])
    .option('--groups <list>', 'numbers of groups, in turn', listOf(positiveInteger), [1, 3])
    .option('--values <list>', 'bytes of a value, in turn', listOf(positiveInteger), [1_024, 16_384])
    .option('--limit <n>', 'bytes a second of each link (default: by the size of the value)', positiveInteger)
    .option('--share <n>', 'of a processor for each server; 0: do not measure that', share, 0.15)
    .option('--wait-ms <n>', 'in flight is what the bound does in this time, 8 a leader at least', positive, 150)
    .option('--seconds <n>', 'measured, of each figure (default 10; quick 4)', positive)
    .option('--warm-up-seconds <n>', 'before each figure (default 4; quick 2)', positive)
    .option('--no-save', 'do not save the result')
    .parse()
    .opts<Options>();
}

interface Given {
  readonly servers: readonly string[];
  readonly groups: number;
  readonly options: Options;
  readonly cluster: LocalCluster;
  readonly nats: Nats;
  readonly stage: Stage;
  readonly links: Links;
  readonly load: LoadProcess;
}

interface Figures extends Measured {
  readonly inFlight: number;
  readonly haveLeadersMoved: boolean;
  readonly machineUse: number;
  readonly othersUse: number;
  /** While measuring, by server. */
  readonly counts: Readonly<Record<string, LinkCounts>>;
}

/**
 * A closed loop of puts that count when they are applied; the links are counted while it measures.
 */
async function figures(given: Given, valueBytes: number, inFlight: number): Promise<Figures> {
  const { cluster, nats, stage, links, load, options } = given;
  const { quick = false, seconds = quick ? 4 : 10, warmUpSeconds = quick ? 2 : 4 } = options;
  const before = await termsOf(cluster);
  const counts: Promise<Readonly<Record<string, LinkCounts>>>[] = [];
  const count = (): void => {
    const counting = links.counts();
    counting.catch(() => undefined);
    counts.push(counting);
  };
  const measured = await load.run(
    {
      target: { kind: 'craft', urls: nats.urls, subject: `${cluster.cluster}.cmd.kv.put`, ack: 'applied' },
      workload: { connections: 2, keys: KEYS, valueBytes, withId: true },
      load: { kind: 'closed', inFlight },
      warmUpSeconds,
      seconds,
    },
    { processes: { ...cluster.pids, ...nats.processes, postgres: stage.postgresPid, links: links.pid }, monitors: [] },
    { onMeasuring: count, onMeasured: count },
  );
  const [first, last] = await Promise.all(counts);
  if (first === undefined || last === undefined) throw new Error('the links were not counted');
  const busy = Object.values(measured.processorSeconds).reduce((sum, value) => sum + value, 0);
  return {
    ...measured,
    inFlight,
    haveLeadersMoved: (await termsOf(cluster)).join() !== before.join(),
    machineUse: busy / (seconds * cpus().length),
    // Processor time comes in steps: nothing may look like less than nothing.
    othersUse: Math.max(0, measured.processorSeconds[OTHERS] ?? 0) / (seconds * cpus().length),
    counts: Object.fromEntries(given.servers.map((server) => [server, between(first[server], last[server])])),
  };
}

/** Measures while each group is led by the server that it prefers. */
function atHome(given: Given, measure: () => Promise<Figures>): Promise<Figures & Steady> {
  return steady({
    triesMax: TRIES_MAX,
    untilHome: () => untilHome(given.cluster, WAIT_MS_MAX),
    measure,
    tell: (line) => console.log(line),
  });
}

function between(first: LinkCounts | undefined, last: LinkCounts | undefined): LinkCounts {
  if (first === undefined || last === undefined) throw new Error('a server has no link');
  const direction = (name: 'sent' | 'received') => ({
    bytes: last[name].bytes - first[name].bytes,
    lostBytes: last[name].lostBytes - first[name].lostBytes,
  });
  const kinds = BYTE_KINDS.map((kind) => [kind, last.sentByKind[kind] - first.sentByKind[kind]] as const);
  return {
    sent: direction('sent'),
    received: direction('received'),
    sentByKind: Object.fromEntries(kinds) as Record<ByteKind, number>,
  };
}

function common(given: Given, valueBytes: number, measured: Figures & Steady) {
  const { perSecond, p50, p99, inFlight, haveLeadersMoved, repeats, machineUse, othersUse } = measured;
  const failures = Object.values(measured.failures).reduce((sum, count) => sum + count, 0);
  const { servers, groups } = given;
  return {
    servers: servers.length,
    groups,
    valueBytes,
    inFlight,
    perSecond,
    p50,
    p99,
    failures,
    haveLeadersMoved,
    repeats,
    machineUse,
    othersUse,
  };
}

async function narrowLinks(given: Given, valueBytes: number): Promise<LinkRow> {
  const { links, options, servers, groups } = given;
  const bytesPerSecond = options.limit ?? (valueBytes >= LARGE_VALUE_BYTES ? LIMIT.large : LIMIT.small);
  const shape = { servers: servers.length, groups };
  const bounds = linkBounds(shape, valueBytes, bytesPerSecond);
  const inFlight = inFlightFor(shape, bounds.allCopies, options.waitMs);
  const measured = await atHome(given, async () => {
    await links.limit(bytesPerSecond);
    try {
      return await figures(given, valueBytes, inFlight);
    } finally {
      // Leaders come home without a limit.
      await links.limit(undefined);
    }
  });
  const all = Object.values(measured.counts);
  const busiest = all.reduce((most, one) => (one.sent.bytes > most.sent.bytes ? one : most));
  const seconds = measured.perSecond === 0 ? 1 : measured.count / measured.perSecond;
  const perCommand = (bytes: number): number => significant(bytes / Math.max(1, measured.count));
  const passed = all.reduce((sum, { sent }) => sum + sent.bytes, 0);
  const lost = all.reduce((sum, { sent }) => sum + sent.lostBytes, 0);
  const sentBytes = Object.fromEntries(BYTE_KINDS.map((kind) => [kind, perCommand(busiest.sentByKind[kind])]));
  return {
    ...common(given, valueBytes, measured),
    bytesPerSecond,
    bounds,
    linkUse: busiest.sent.bytes / (bytesPerSecond * seconds),
    sentBytes: sentBytes as BytesByKind,
    receivedBytes: perCommand(busiest.received.bytes),
    passed: passed / Math.max(1, passed + lost),
  };
}

/** `oneGroup`: what a command costs with one group and as many servers. */
async function littleProcessorTime(
  given: Given,
  limits: ProcessorLimits,
  oneGroup: Costs | undefined,
): Promise<{ readonly row: ProcessorRow; readonly costs: Costs | undefined }> {
  const { servers, groups, options, cluster } = given;
  const { valueBytes, inFlight } = PROCESSOR_LOAD;
  let isLimited = false;
  const measured = await atHome(given, async () => {
    for (const server of isLimited ? [] : servers) await limits.limit(cluster.pids[server] ?? 0, options.share);
    isLimited = true;
    return figures(given, valueBytes, inFlight);
  });
  const seconds = servers.map((server) => measured.processorSeconds[server] ?? 0);
  const costsUs = seconds.map((used) => significant((used * 1e6) / Math.max(1, measured.count)));
  const [leaderUs = 0, ...others] = costsUs;
  const ownCosts = { leaderUs, followerUs: others.reduce((sum, us) => sum + us, 0) / Math.max(1, others.length) };
  // Who led what is not known when leaders have moved.
  const costs = groups === 1 ? (measured.haveLeadersMoved ? undefined : ownCosts) : oneGroup;
  const measuredSeconds = measured.perSecond === 0 ? 1 : measured.count / measured.perSecond;
  const row = {
    ...common(given, valueBytes, measured),
    share: options.share,
    shareUse: Math.max(...seconds) / (options.share * measuredSeconds),
    costsUs,
    // With one group it would be what was measured, divided by `shareUse`.
    bound:
      costs === undefined || groups === 1
        ? undefined
        : significant(processorBound({ servers: servers.length, groups }, costs, options.share)),
  };
  return { row, costs };
}

interface Shared {
  readonly options: Options;
  readonly stage: Stage;
  readonly load: LoadProcess;
}

/** One cluster: all that is measured with so many servers and groups. */
async function withCluster<T>(
  { options, stage, load }: Shared,
  count: number,
  groups: number,
  use: (given: Given) => Promise<T>,
): Promise<T> {
  const folder = await stage.nextTurn();
  const servers = Array.from({ length: count }, (_, at) => `s${at + 1}`);
  const databases = servers.map((server) => `${PREFIX}${server}`);
  await stage.createDatabases(databases);
  const nats = await startNatsServer(folder);
  const links = await Links.start();
  const urls: Record<string, string> = {};
  const natsPort = Number(new URL(nats.urls[0] ?? '').port);
  const cluster = new LocalCluster({
    dataDir: join(folder, 'craft'),
    servers,
    groups,
    natsUrl: nats.urls.join(),
    databaseUrl: stage.databaseUrl,
    databasePrefix: PREFIX,
    environment: { CRAFT_LOG_LEVEL: 'warn' },
    environmentOf: (server) => ({ CRAFT_NATS_URL: urls[server] }),
  });
  try {
    for (const server of servers) {
      urls[server] = `nats://127.0.0.1:${await links.open(server, natsPort, cluster.cluster)}`;
    }
    await cluster.start();
    await cluster.waitReady({ timeoutMs: WAIT_MS_MAX });
    await untilHome(cluster, WAIT_MS_MAX);
    const given = { servers, groups, options, cluster, nats, stage, links, load };
    const seconds = options.quick ? COMPILING_SECONDS.quick : COMPILING_SECONDS.full;
    await figures({ ...given, options: { ...options, seconds, warmUpSeconds: 1 } }, 1_024, 64);
    return await use(given);
  } finally {
    await cluster.stop();
    await links.stop();
    await nats.stop();
    await stage.dropDatabases(databases);
  }
}

async function main(options: Options): Promise<void> {
  const limits = options.share === 0 ? undefined : await ProcessorLimits.find();
  const stage = await Stage.start({ layout: 'server', craftNats: 1 });
  const load = new LoadProcess();
  const links: LinkRow[] = [];
  const processors: ProcessorRow[] = [];
  try {
    const date = new Date().toISOString();
    for (const servers of options.servers) {
      let oneGroup: Costs | undefined;
      for (const groups of options.groups) {
        await withCluster({ options, stage, load }, servers, groups, async (given) => {
          for (const valueBytes of options.values) {
            const row = await narrowLinks(given, valueBytes);
            links.push(row);
            console.log(`${servers} servers, ${groups} groups, ${valueBytes} bytes: ${row.perSecond}/s`);
          }
          if (limits === undefined) return;
          const { row, costs } = await littleProcessorTime(given, limits, oneGroup);
          oneGroup = costs;
          processors.push(row);
          console.log(`${servers} servers, ${groups} groups, ${row.share} of a processor each: ${row.perSecond}/s`);
        });
        await limits?.remove();
      }
    }
    console.log(`\nNarrow links to NATS\n\n${align(linkTable(links))}`);
    console.log(`\nBytes for each command on the link that sends most\n\n${align(bytesTable(links))}`);
    if (limits !== undefined) console.log(`\nLittle processor time\n\n${align(processorTable(processors))}`);
    else if (options.share > 0)
      console.log('\nNo limit of processor time can be set here: no control group is writable.');
    if (options.quick || options.save === false) return;
    const about = await versions({ postgres: await stage.postgresVersion() });
    const result: LeadersResult = { date, versions: about, machine: machine(), links, processors };
    console.log(`\nsaved: ${await save('leaders-', result, leadersPicture(result))}.json and .svg`);
  } finally {
    load.stop();
    await stage.stop();
    await limits?.remove();
  }
}

await main(parseOptions());
