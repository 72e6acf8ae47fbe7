/** Whether the servers agree in the end, with each other and with what clients were told. */
import type { LocalCluster } from '../../deploy/local/cluster.js';
import { converged, readMergedLog } from '../integration/cluster/inspect.js';
import type { Told } from './workload.js';

/**
 * Databases and merged logs of all servers are equal, and hold what clients were told at the place
 * that they were told.
 */
export async function compare(cluster: LocalCluster, told: readonly Told[], healMs: number): Promise<string[]> {
  const complaints: string[] = [];
  const last = told.reduce((highest, { index = 0 }) => Math.max(highest, index), 0);
  const databases = await converged(cluster, last, healMs);
  if (new Set(databases.map((one) => JSON.stringify(one))).size > 1) complaints.push('databases differ');
  const logs = await Promise.all(cluster.servers.map((server) => readMergedLog(cluster, server)));
  // Snapshots may have trimmed the streams, each at another place: what all of them still have is
  // compared.
  const first = Math.max(...logs.map(({ entries }) => entries[0]?.mergedIndex ?? 1));
  const shared = logs.map(({ entries }) => entries.filter(({ mergedIndex }) => mergedIndex >= first));
  if (new Set(shared.map((one) => JSON.stringify(one))).size > 1) complaints.push('merged logs differ');
  const begin = logs[0]?.entries[0];
  const trimmedUpTo = begin === undefined || begin.mergedIndex === 1 ? 0 : begin.timestamp;
  const entries = new Map(logs[0]?.entries.map((entry) => [`${entry.timestamp}/${entry.group}`, entry.mergedIndex]));
  for (const { timestamp, group, index, id } of told) {
    if (timestamp < trimmedUpTo) continue;
    const found = entries.get(`${timestamp}/${group}`);
    if (found === undefined) complaints.push(`${id ?? 'a command'} was told ${timestamp}/${group}, where nothing is`);
    else if (index !== undefined && index !== found)
      complaints.push(`${id ?? 'a command'} was told merged index ${index}, but is at ${found}`);
  }
  return complaints;
}
