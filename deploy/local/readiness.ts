/** When a cluster can take commands through every group. */
import type { ServerStatus } from '../../shared/client/index.js';

/** Which leaders these servers agree on, and what stands in the way of it. */
export function agreement(
  all: readonly ServerStatus[],
  servers: readonly string[],
  groups: number,
): { leaders: string[]; missing: string[] } {
  const leaders: string[] = [];
  // A server that has been taken out hears of no leader any more, and has no say.
  const statuses = all.filter(({ server }) => servers.includes(server));
  const answering = new Set(statuses.map(({ server }) => server));
  const missing = servers.filter((server) => !answering.has(server)).map((server) => `${server} does not answer`);
  for (let group = 0; group < groups; group++) {
    const views = statuses.flatMap((status) =>
      status.groups.filter((one) => one.group === group).map(({ leader }) => leader),
    );
    const leading = statuses.filter((status) =>
      status.groups.some((one) => one.group === group && one.role === 'leader' && one.leader === status.server),
    );
    const leader = leading[0]?.server;
    if (leader !== undefined && leading.length === 1 && views.every((view) => view === leader)) leaders.push(leader);
    else missing.push(`group ${group} has no leader that all agree on`);
  }
  return { leaders, missing };
}
