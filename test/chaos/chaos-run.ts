/**
 * A whole chaos run: a cluster of craft on a cluster of NATS, with registers, a bank and probes of
 * every group as clients. The order of the faults follows from the seed. At the end all of it is
 * judged.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { LocalCluster } from '../../deploy/local/cluster.js';
import type { BankReport } from './bank/check.js';
import { BankWorkload } from './bank/workload.js';
import { Connections } from './connections.js';
import { Disks } from './disks.js';
import type { Fault } from './faults/index.js';
import { GroupProbes } from './group-probes.js';
import { checkHistory, type Report } from './history/checker.js';
import { historyFigures, type KindFigures } from './history/figures.js';
import { Recorder } from './history/recorder.js';
import { NatsNodes } from './nats-nodes.js';
import { disturb, type Strike } from './nemesis.js';
import { longestGap, type Outages, outages } from './outages.js';
import { Random } from './random.js';
import { RegisterWorkload } from './register-workload.js';
import { runWorkloads } from './run.js';
import { serviceFailures } from './service-failures.js';
import type { Counts } from './workload.js';

export interface ChaosOptions {
  /** Everything is in here; is made. */
  readonly folder: string;
  readonly historyFile: string;
  readonly bankFile: string;
  readonly seed: number;
  readonly durationMs: number;
  readonly servers: number;
  /** A process for each server, or one for each service of each server. */
  readonly layout: 'server' | 'service';
  readonly faults: readonly Fault[];
  /** Clients of the registers. */
  readonly processes: number;
  readonly keys: number;
  /** Clients of the bank. */
  readonly bankProcesses: number;
  /** From when the cluster is whole to the next fault (milliseconds). */
  readonly restMs: readonly [min: number, max: number];
  /** Goes on for at least so many faults, however long they take. */
  readonly strikesMin?: number;
  /** Ends before the time is over when this says so. */
  readonly isCancelled?: () => boolean;
  /** Told what goes on, a line at a time. */
  readonly print: (line: string) => void;
}

export interface ChaosRun {
  readonly strikes: readonly Strike[];
  readonly outages: ReadonlyMap<string, Outages>;
  readonly registers: Report;
  readonly figures: ReadonlyMap<string, KindFigures>;
  readonly bank: BankReport;
  /** By workload. */
  readonly counts: ReadonlyMap<string, Counts>;
  /** Longest time without any success (milliseconds). */
  readonly longestGapMs: number;
  /** What is wrong apart from the histories, in sentences. */
  readonly complaints: readonly string[];
}

const GROUPS = 3;
const SNAPSHOT_ENTRIES = 500;
const TIMEOUT_MS = 3_000;
const THINK_MS = 10;
const PROBE_EVERY_MS = 50;
const ACCOUNTS = 8;
const BALANCE = 100;
const HEAL_MS = 60_000;

/**
 * Rejects when the cluster does not start, or does not become whole again in time; histories and
 * logs are then there all the same.
 */
export async function runChaos(options: ChaosOptions): Promise<ChaosRun> {
  const { folder, print } = options;
  const servers = Array.from({ length: options.servers }, (_, at) => `s${at + 1}`);
  const crashes: string[] = [];
  const clockOffsetsMs = new Map<string, number>();
  const dataDir = join(folder, 'craft');
  await mkdir(folder, { recursive: true });
  const faults = [...options.faults];
  const disks = faults.some(({ name }) => name === 'disk-full') ? await Disks.mount(dataDir, servers) : undefined;
  let nats: NatsNodes | undefined;
  let cluster: LocalCluster | undefined;
  try {
    const nodes = await NatsNodes.start(join(folder, 'nats'), servers);
    nats = nodes;
    cluster = new LocalCluster({
      dataDir,
      servers,
      groups: GROUPS,
      layout: options.layout,
      natsUrl: nodes.url,
      environment: { CRAFT_SNAPSHOT_ENTRIES: String(SNAPSHOT_ENTRIES) },
      environmentOf: (server) => ({ ...nodes.environmentOf(server), ...clockOf(clockOffsetsMs.get(server)) }),
      // As in production: what ends by itself is started again.
      supervise: true,
      onNotice: (line) => {
        if (line.includes(' ended with ')) crashes.push(line);
        print(line);
      },
    });
    await cluster.start();
    await cluster.waitReady();
    return await judge(options, { cluster, nats: nodes, disks, clockOffsetsMs, crashes });
  } finally {
    // Who hangs in a cut way must be able to end.
    nats?.heal();
    const steps = [() => cluster?.stop(), () => nats?.stop(), () => disks?.unmount()];
    for (const step of steps) await step()?.catch((error: unknown) => print(`the clean-up failed: ${error}`));
  }
}

function clockOf(offsetMs: number | undefined): NodeJS.ProcessEnv {
  return offsetMs === undefined ? {} : { CRAFT_TEST_CLOCK_OFFSET_MS: String(offsetMs) };
}

interface Stage {
  readonly cluster: LocalCluster;
  readonly nats: NatsNodes;
  readonly disks: Disks | undefined;
  readonly clockOffsetsMs: Map<string, number>;
  readonly crashes: readonly string[];
}

async function judge(options: ChaosOptions, stage: Stage): Promise<ChaosRun> {
  const { seed, durationMs, restMs, print } = options;
  const { cluster, crashes } = stage;
  const random = new Random(seed);
  const recorder = new Recorder(options.historyFile, print);
  const connections = new Connections(cluster.natsUrl);
  const common = { cluster, timeoutMs: TIMEOUT_MS, thinkMs: THINK_MS, nowUs: () => recorder.nowUs };
  let bank: BankWorkload | undefined;
  try {
    const disturbance = { ...stage, connection: (await connections.open(1))[0], random: random.fork(), recorder };
    const { connection } = disturbance;
    if (connection === undefined) throw new RangeError('no connection');
    const registers = new RegisterWorkload({
      ...common,
      connections: await connections.open(options.processes),
      recorder,
      random: random.fork(),
      keys: options.keys,
    });
    bank = new BankWorkload({
      ...common,
      connections: await connections.open(options.bankProcesses),
      historyFile: options.bankFile,
      random: random.fork(),
      accounts: ACCOUNTS,
      balance: BALANCE,
    });
    const probes = new GroupProbes({
      ...common,
      connections: await connections.open(cluster.groups),
      everyMs: PROBE_EVERY_MS,
    });
    const workloads = [registers, bank, probes];
    const surroundings = { ...disturbance, connection };
    const faults = options.faults.filter((fault) => {
      const obstacle = fault.obstacle?.(surroundings);
      if (obstacle !== undefined) print(`no fault ${fault.name}: ${obstacle}`);
      return obstacle === undefined;
    });
    const silent: number[] = [];
    let beginUs = 0;
    let lastUs = 0;
    const { disturbed: strikes, complaints } = await runWorkloads({
      cluster,
      recorder,
      workloads,
      durationMs,
      healMs: HEAL_MS,
      disturb: async (isTimeUp) => {
        beginUs = recorder.nowUs;
        const struck = await disturb({ ...surroundings, faults, restMs, healMs: HEAL_MS }, (count) => {
          if (options.isCancelled?.()) return true;
          return isTimeUp() && count >= (options.strikesMin ?? 0);
        });
        silent.push(...(await groupsThatStaySilent(probes, recorder.nowUs)));
        lastUs = recorder.nowUs;
        return struck;
      },
    });
    const { events } = recorder;
    const failures = await serviceFailures(cluster.dataDir, cluster.servers);
    const successes = workloads.flatMap((workload) => [...workload.successes()]).sort((a, b) => a - b);
    return {
      strikes,
      outages: outages(strikes, { endUs: lastUs, all: successes, ofGroup: (group) => probes.successesOf(group) }),
      registers: checkHistory(events),
      figures: historyFigures(events),
      bank: bank.report(),
      counts: new Map(workloads.map((workload) => [workload.name, workload.counts()])),
      longestGapMs: longestGap(successes, beginUs, lastUs, lastUs) / 1_000,
      complaints: [
        ...complaints,
        ...[...crashes, ...failures].map((line) => `not by a fault: ${line}`),
        ...silent.map((group) => `group ${group} has taken no command after the last fault`),
      ],
    };
  } finally {
    await connections.close();
    await recorder.close();
    await bank?.close();
  }
}

/** A cluster that says that all is well has still to take a command in every group. */
async function groupsThatStaySilent(probes: GroupProbes, sinceUs: number): Promise<number[]> {
  const deadlineMs = performance.now() + HEAL_MS;
  while (probes.silentSince(sinceUs).length > 0 && performance.now() < deadlineMs) await delay(PROBE_EVERY_MS);
  return probes.silentSince(sinceUs);
}
