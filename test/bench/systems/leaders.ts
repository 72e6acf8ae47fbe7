/** Which servers lead the groups of a cluster. */
import type { LocalCluster } from '../../../deploy/local/cluster.js';
import { eventually } from '../../harness/index.js';

/**
 * The place of each group's leader in `cluster.servers`, in the order of the groups; -1 where there
 * is none.
 */
export async function leadersOf(cluster: LocalCluster): Promise<number[]> {
  const statuses = await cluster.status();
  return Array.from({ length: cluster.groups }, (_, group) => {
    const leader = statuses.find(({ groups }) => groups[group]?.role === 'leader')?.server;
    return leader === undefined ? -1 : cluster.servers.indexOf(leader);
  });
}

/** Resolves when each group is led by the server that it prefers: group g by server g, in turn. */
export async function untilHome(cluster: LocalCluster, timeoutMs: number): Promise<void> {
  const home = Array.from({ length: cluster.groups }, (_, group) => group % cluster.servers.length).join();
  const areHome = async () => (await leadersOf(cluster)).join() === home;
  await eventually('each group is led by the server that it prefers', areHome, { timeoutMs, everyMs: 500 });
}
