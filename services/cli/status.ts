/**
 * The status of a cluster for people, in 80 columns: a verdict, a line for each thing that is
 * wrong, a table of the servers and one of the groups.
 */
import type { ServerHealth } from '../../shared/client/index.js';
import { BEFORE_ALL } from '../../shared/raft/entry.js';
import { assess, type GroupHealth, type Health, offsetMs, type StatusLine } from './health.js';
import { table, wrapped } from './table.js';

const COLUMNS = 80;

export function statusTable(servers: readonly StatusLine[], health: Health = assess(servers)): string {
  const said = [health.verdict, ...health.problems.map((problem) => wrapped(problem, COLUMNS))].join('\n');
  if (servers.length === 0) return said;
  const parts = [
    said,
    table(['server', 'leads', 'clock', 'merged', 'applied', 'machine', 'craft'], serverRows(servers, health)),
    table(
      ['group', 'leader', 'term', 'last', 'commit', 'watermark', 'others lack'],
      health.groups.map((group) => groupRow(group, health)),
    ),
  ];
  return parts.join('\n\n');
}

/** The same for programs. */
export function statusJson(
  servers: readonly StatusLine[],
  { level, verdict, problems, missing }: Health,
  healths: readonly ServerHealth[] = [],
): object {
  const withServices = servers.map((one) => {
    const services = healths.find(({ server }) => server === one.server)?.services;
    return services === undefined ? one : { ...one, services };
  });
  const others = healths.filter(({ server }) => !servers.some((one) => one.server === server));
  return { level, verdict, problems, missing, servers: [...withServices, ...others] };
}

function serverRows(servers: readonly StatusLine[], { groups, missing }: Health): string[][] {
  const rows = servers.map(({ server, clock, mergedIndex, state, version }) => [
    server,
    groups.flatMap(({ leader, group }) => (leader === server ? [group] : [])).join(',') || '-',
    clock === undefined ? '-' : offsetMs(clock),
    cell(mergedIndex),
    cell(state?.appliedIndex),
    state?.machine === undefined ? '-' : `${state.machine.name} ${state.machine.version}`,
    version ?? '-',
  ]);
  return [...rows, ...missing.map((server) => [server, 'missing'])].sort(([a = ''], [b = '']) => (a < b ? -1 : 1));
}

function groupRow({ group, led, leader, behind, learners }: GroupHealth, { groups }: Health): string[] {
  const others = [...behind].map(([server, by]) => `${server} ${by}${learners.includes(server) ? ' (learner)' : ''}`);
  if (led === undefined) return [String(group), 'none'];
  const { term, lastIndex, commitIndex, watermark } = led;
  const newest = Math.max(...groups.map((one) => one.led?.watermark ?? BEFORE_ALL));
  // Against the newest one: the merged log waits for the group whose watermark is the oldest (T3).
  const age = watermark === undefined ? '-' : `${((watermark - newest) / 1_000).toFixed(0)} ms`;
  return [String(group), leader ?? '-', String(term), String(lastIndex), String(commitIndex), age, others.join(' ')];
}

const cell = (value: number | undefined): string => (value === undefined ? '-' : String(value));
