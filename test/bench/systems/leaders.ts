/** Which servers lead the groups of a cluster. */
import type { LocalCluster } from '../../../deploy/local/cluster.js';
import { eventually } from '../../harness/index.js';

const TERMS_MS_MAX = 60_000;

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

/**
 * The term of each group, the highest that any server names; resolves when all servers have
 * answered. It grows with each change of leadership, also when the leader has come back meanwhile.
 */
export function termsOf(cluster: LocalCluster): Promise<number[]> {
  const all = async (): Promise<number[] | undefined> => {
    const servers = await cluster.status();
    if (servers.length !== cluster.servers.length) return undefined;
    return Array.from({ length: cluster.groups }, (_, group) =>
      Math.max(...servers.map(({ groups }) => groups.find((one) => one.group === group)?.term ?? 0)),
    );
  };
  return eventually('all servers say their terms', all, { timeoutMs: TERMS_MS_MAX });
}

/** Resolves when each group is led by the server that it prefers: group g by server g, in turn. */
export async function untilHome(cluster: LocalCluster, timeoutMs: number): Promise<void> {
  const home = Array.from({ length: cluster.groups }, (_, group) => group % cluster.servers.length).join();
  const areHome = async () => (await leadersOf(cluster)).join() === home;
  await eventually('each group is led by the server that it prefers', areHome, { timeoutMs, everyMs: 500 });
}
