/**
 * Workloads against a real cluster that something disturbs: run them together, let everything heal,
 * compare the servers.
 */
import type { LocalCluster } from '../../deploy/local/cluster.js';
import { compare } from './compare.js';
import type { Recorder } from './history/recorder.js';
import type { Workload } from './workload.js';

export interface RunOptions<T> {
  readonly cluster: LocalCluster;
  readonly recorder: Recorder;
  readonly workloads: readonly Workload[];
  readonly durationMs: number;
  /** Until everything is whole again (milliseconds). */
  readonly healMs: number;
  /** Goes on until `isOver`, and leaves everything healed. */
  readonly disturb: (isOver: () => boolean) => Promise<T>;
}

export interface RunResult<T> {
  readonly disturbed: T;
  /** What is wrong apart from the histories, in sentences. */
  readonly complaints: readonly string[];
}

/** Rejects when the cluster does not become whole again in time. */
export async function runWorkloads<T>(options: RunOptions<T>): Promise<RunResult<T>> {
  const { cluster, recorder, workloads, durationMs, healMs } = options;
  for (const workload of workloads) await workload.prepare();
  const isTimeUp = after(durationMs);
  let hasFailed = false;
  const disturbing = options.disturb(isTimeUp).catch((error: unknown) => {
    hasFailed = true;
    throw error;
  });
  // A fault may last longer than the time given: clients go on until it is over.
  let isHealed = false;
  const working = workloads.map((workload) => workload.run(() => isHealed || hasFailed));
  // Also when the faults end with an error: the caller that reports it closes what the clients
  // write to.
  await Promise.allSettled([disturbing.finally(() => (isHealed = true)), ...working]);
  const [disturbed] = await Promise.all([disturbing, ...working]);
  recorder.note('heal');
  await cluster.waitReady({ servers: cluster.servers, timeoutMs: healMs });
  // What was lost shows at the latest now.
  const isTooLate = after(healMs);
  const complaints = (await Promise.all(workloads.map((workload) => workload.settle(isTooLate)))).flat();
  const told = workloads.flatMap((workload) => [...workload.told()]);
  complaints.push(...(await compare(cluster, told, healMs)));
  return { disturbed, complaints };
}

function after(ms: number): () => boolean {
  const until = performance.now() + ms;
  return () => performance.now() > until;
}
