/**
 * The register workload against a real cluster whose leaders are killed, and the judgement of it.
 */
import type { LocalCluster } from '../../deploy/local/cluster.js';
import { Connections } from './connections.js';
import { checkHistory, type Report } from './history/checker.js';
import { historyFigures, type KindFigures } from './history/figures.js';
import type { HistoryEvent } from './history/format.js';
import { Recorder } from './history/recorder.js';
import { type KillerOptions, killLeaders } from './leader-killer.js';
import { Random } from './random.js';
import { RegisterWorkload } from './register-workload.js';
import { runWorkloads } from './run.js';

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

/**
 * Rejects when the cluster does not become whole again in time; the history is then in the file all
 * the same.
 */
export async function runRegisters(options: RegisterRunOptions): Promise<RegisterRun> {
  const { cluster, historyFile, seed, processes, keys, timeoutMs, thinkMs, durationMs, healMs, kills } = options;
  const random = new Random(seed);
  const recorder = new Recorder(historyFile);
  const connections = new Connections(cluster.natsUrl);
  try {
    const registers = new RegisterWorkload({
      cluster,
      connections: await connections.open(processes),
      recorder,
      random,
      keys,
      timeoutMs,
      thinkMs,
    });
    const about = { cluster, recorder, random: random.fork(), ...kills };
    const { disturbed, complaints } = await runWorkloads({
      cluster,
      recorder,
      workloads: [registers],
      durationMs,
      healMs,
      disturb: (isOver) => killLeaders(about, isOver),
    });
    const { events } = recorder;
    return { events, report: checkHistory(events), figures: historyFigures(events), kills: disturbed, complaints };
  } finally {
    await connections.close();
    await recorder.close();
  }
}
