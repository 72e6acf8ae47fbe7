/** The status of a cluster as a table, a line for each server and group; below it a line for each thing that keeps a server from going on. */
import type { ServerStatus } from '../../shared/client/index.js';
import { machineProblems } from './machine.js';

const HEADINGS = [
  'server',
  'group',
  'role',
  'leader',
  'term',
  'last',
  'commit',
  'watermark',
  'clock',
  'merged',
  'applied',
];

/** What every server says, and how far its stream of the merged log reaches. */
export type StatusLine = ServerStatus & { readonly mergedIndex: number | undefined };

export function statusTable(servers: readonly StatusLine[]): string {
  const rows = servers.flatMap((server) =>
    server.groups.map((group) => [
      server.server,
      String(group.group),
      group.role,
      group.leader ?? '-',
      String(group.term),
      String(group.lastIndex),
      String(group.commitIndex),
      group.watermark === undefined ? '-' : String(group.watermark),
      clock(server),
      server.mergedIndex === undefined ? '-' : String(server.mergedIndex),
      server.state === undefined ? '-' : String(server.state.appliedIndex),
    ]),
  );
  const table = [HEADINGS, ...rows];
  const widths = HEADINGS.map((_heading, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  const lines = table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return [...lines, ...servers.flatMap(trouble), ...machineProblems(servers)].join('\n');
}

function trouble({ server, logStore, state }: StatusLine): string[] {
  const lines: string[] = [];
  if (logStore !== undefined && !logStore.ok) {
    lines.push(
      `${server} cannot write its log store since ${logStore.since}, and leads nothing until it can: ${logStore.error}`,
    );
  }
  if (state === undefined) lines.push(`${server} has no applier that answers: its database stands still`);
  else if (state.divergence !== undefined) {
    const [what] = state.divergence.split(';');
    lines.push(
      `${server} differs, and nothing is read from it since ${state.since}: ${what}; see why, then run: craft rebuild ${server}`,
    );
  } else if (state.trusted === false) {
    lines.push(
      `nothing is read from ${server} since ${state.since}: ${state.error}; see in what they differ: craft verify`,
    );
  } else if (!state.ok) lines.push(`${server} cannot apply the merged log since ${state.since}: ${state.error}`);
  return lines;
}

/** Distance from the cluster's reference time in milliseconds; `!` when it is too far to lead. */
function clock(server: ServerStatus): string {
  if (server.clock === undefined) return '-';
  return `${(server.clock.offsetUs / 1000).toFixed(1)} ms${server.clock.ok ? '' : ' !'}`;
}
