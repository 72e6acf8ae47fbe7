/**
 * The register workload against a real cluster whose leaders are killed, and the judgement of it: the history is checked, the
 * databases and merged logs of all servers are compared with each other and with what clients were told.
 */
import { connect } from 'nats';
import type { LocalCluster } from '../../deploy/local/cluster.js';
import { converged, readMergedLog } from '../integration/cluster/inspect.js';
import { disturb, type Fault } from './faults.js';
import { checkHistory, type Report } from './history/checker.js';
import { historyFigures, type KindFigures } from './history/figures.js';
import type { HistoryEvent } from './history/format.js';
import { Recorder } from './history/recorder.js';
import { type KillerOptions, killLeaders } from './leader-killer.js';
import { Random } from './random.js';
import { RegisterProcess } from './register-process.js';

export interface RegisterRunOptions {
  readonly cluster: LocalCluster;
  /** Where the history goes; overwritten. */
  readonly historyFile: string;
  readonly seed: number;
  /** With kills (milliseconds). */
  readonly durationMs: number;
  readonly processes: number;
  readonly keys: number;
  readonly timeoutMs: number;
  readonly thinkMs: number;
  readonly kills: Pick<KillerOptions, 'upMs' | 'downMs' | 'killsMax'>;
  /** Instead of killing leaders, any of these. */
  readonly faults?: readonly Fault[];
  /** Until everything is whole again after the last kill (milliseconds). */
  readonly healMs: number;
}

export interface RegisterRun {
  readonly events: readonly HistoryEvent[];
  readonly report: Report;
  readonly figures: ReadonlyMap<string, KindFigures>;
  readonly kills: number;
  /** What is wrong apart from the history, in sentences. */
  readonly complaints: readonly string[];
}

/** Rejects when the cluster does not become whole again in time; the history is then in the file all the same. */
export async function runRegisters(options: RegisterRunOptions): Promise<RegisterRun> {
  const { cluster, historyFile } = options;
  const recorder = new Recorder(historyFile);
  let kills = 0;
  const complaints: string[] = [];
  try {
    kills = await work(options, recorder, complaints);
  } finally {
    await recorder.close();
  }
  const { events } = recorder;
  complaints.push(...(await compare(cluster, events, options.healMs)));
  return { events, report: checkHistory(events), figures: historyFigures(events), kills, complaints };
}

async function work(options: RegisterRunOptions, recorder: Recorder, complaints: string[]): Promise<number> {
  const { cluster, timeoutMs, thinkMs, healMs } = options;
  const random = new Random(options.seed);
  const keys: [string, ...string[]] = ['k0', ...Array.from({ length: options.keys - 1 }, (_, i) => `k${i + 1}`)];
  const connections = await Promise.all(
    Array.from({ length: options.processes }, () => connect({ servers: cluster.natsUrl, maxReconnectAttempts: -1 })),
  );
  const seen = { timestamp: 0 };
  const processes = connections.map((connection, number) => {
    const common = {
      connection,
      cluster: cluster.cluster,
      groups: cluster.groups,
      keys,
      recorder,
      timeoutMs,
      thinkMs,
      seen,
    };
    return new RegisterProcess(number, { ...common, random: random.fork() });
  });
  try {
    const isOver = after(options.durationMs);
    const [connection] = connections;
    if (connection === undefined) throw new RangeError('no clients');
    const about = { cluster, recorder, random: random.fork() };
    const { upMs } = options.kills;
    const killer =
      options.faults === undefined
        ? killLeaders({ ...about, ...options.kills }, isOver)
        : disturb({ ...about, connection, faults: options.faults, restMs: upMs }, isOver);
    const [kills] = await Promise.all([killer, ...processes.map((process) => process.run(isOver))]);
    recorder.note('heal');
    await cluster.waitReady({ servers: cluster.servers, timeoutMs: healMs });
    // What was lost shows at the latest now.
    const isTooLate = after(healMs);
    const reads = processes.map(async (process) => {
      for (const key of keys) {
        if (!(await process.readSurely(key, isTooLate)))
          complaints.push(`key ${key} could not be read after the faults`);
      }
    });
    await Promise.all(reads);
    return kills;
  } finally {
    await Promise.all(connections.map((connection) => connection.close()));
  }
}

function after(ms: number): () => boolean {
  const until = performance.now() + ms;
  return () => performance.now() > until;
}

/** Databases and merged logs of all servers are equal, and hold what clients were told at the place that they were told. */
async function compare(cluster: LocalCluster, events: readonly HistoryEvent[], healMs: number): Promise<string[]> {
  const complaints: string[] = [];
  const told = events.flatMap((event) => (event.type === 'ok' && event.timestamp !== undefined ? [event] : []));
  const last = told.reduce((highest, { index = 0 }) => Math.max(highest, index), 0);
  const databases = await converged(cluster, last, healMs);
  if (new Set(databases.map((one) => JSON.stringify(one))).size > 1) complaints.push('databases differ');
  const logs = await Promise.all(cluster.servers.map((server) => readMergedLog(cluster, server)));
  // Snapshots may have trimmed the streams, each at another place: what all of them still have is compared.
  const first = Math.max(...logs.map(({ entries }) => entries[0]?.mergedIndex ?? 1));
  const shared = logs.map(({ entries }) => entries.filter(({ mergedIndex }) => mergedIndex >= first));
  if (new Set(shared.map((one) => JSON.stringify(one))).size > 1) complaints.push('merged logs differ');
  const begin = logs[0]?.entries[0];
  const trimmedUpTo = begin === undefined || begin.mergedIndex === 1 ? 0 : begin.timestamp;
  const entries = new Map(logs[0]?.entries.map((entry) => [`${entry.timestamp}/${entry.group}`, entry.mergedIndex]));
  for (const { timestamp, group, index, id } of told) {
    if ((timestamp ?? 0) < trimmedUpTo) continue;
    const found = entries.get(`${timestamp}/${group}`);
    if (found === undefined) complaints.push(`${id ?? 'a command'} was told ${timestamp}/${group}, where nothing is`);
    else if (index !== undefined && index !== found)
      complaints.push(`${id ?? 'a command'} was told merged index ${index}, but is at ${found}`);
  }
  return complaints;
}
