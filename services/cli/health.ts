/**
 * What the answers of all servers come to: whether the cluster serves, what is missing, and a
 * sentence for everything that is wrong, with what to do. Pure.
 */
import type { ServerHealth, ServerStatus } from '../../shared/client/index.js';
import type { MergedIndex } from '../../shared/raft/entry.js';
import { readable } from '../../shared/wire/protocol.js';
import { serves, standing, troublesOf } from './conditions.js';
import { machineProblems } from './machine-problems.js';

/** What a server says, and how far its stream of the merged log reaches. */
export type StatusLine = ServerStatus & {
  /** Undefined when the stream may not be read, or cannot be. */
  readonly mergedIndex?: MergedIndex | undefined;
  /** Why it cannot be read. */
  readonly streamError?: string;
};

/** Also the exit codes of `craft status`. */
export const LEVELS = { healthy: 0, degraded: 1, 'not serving': 2 } as const;
type Level = keyof typeof LEVELS;

export interface Health {
  /**
   * `degraded`: commands and reads are served, and something is wrong. `not serving`: commands
   * wait.
   */
  readonly level: Level;
  /**
   * One line: the level, how many servers answer, how many groups are led, how far the slowest
   * database is behind.
   */
  readonly verdict: string;
  readonly problems: readonly string[];
  /** Members that do not answer. */
  readonly missing: readonly string[];
  readonly groups: readonly GroupHealth[];
}

export interface GroupHealth {
  readonly group: number;
  /**
   * What its leader says of it; undefined when no server that answers leads it, or when too few
   * voters answer.
   */
  readonly led: GroupStatus | undefined;
  readonly leader: string | undefined;
  /** How many entries each other member lacks of the leader's log, as far as it answers. */
  readonly behind: ReadonlyMap<string, number>;
  readonly learners: readonly string[];
}

type GroupStatus = ServerStatus['groups'][number];

/**
 * @param servers what the replicas and appliers say
 * @param healths what the processes say of their services; none of a server of an older version
 * @param before the same, some time ago
 */
export function assess(
  servers: readonly StatusLine[],
  healths: readonly ServerHealth[] = [],
  before: readonly ServerHealth[] = [],
): Health {
  if (servers.length === 0 && healths.length === 0) {
    const problems = ['check that the servers run, and that they use this NATS server and this name of the cluster'];
    return { level: 'not serving', verdict: 'not serving: no server answers', problems, missing: [], groups: [] };
  }
  const answering = new Set(servers.map(({ server }) => server));
  const groupIds = [...new Set(servers.flatMap(({ groups }) => groups.map(({ group }) => group)))].sort(
    (a, b) => a - b,
  );
  const groups = groupIds.map((group) => groupHealth(servers, group));
  const members = new Set(servers.flatMap((one) => one.groups.flatMap(({ group }) => membersOf(servers, group))));
  // Another one has nothing to move on with.
  const isMember = ({ server }: ServerHealth): boolean => members.size === 0 || members.has(server);
  const missing = [...members].filter((member) => !answering.has(member)).sort();
  const led = groups.filter((group) => group.led !== undefined).length;
  const behind = slowestDatabase(servers);

  const unled = groups.flatMap(({ group, led: leads }) => (leads === undefined ? [whyUnled(servers, group)] : []));
  const isLed = groups.length > 0 && unled.length === 0;
  const healthOf = (server: string) => healths.find((one) => one.server === server);
  const doesServe = ({ server, state }: StatusLine): boolean => {
    const health = healthOf(server);
    return state?.ok === true && (health === undefined || serves(health));
  };
  const isServing = isLed && servers.some(doesServe);
  const silent = missing.filter((server) => healthOf(server) === undefined);
  const problems = [
    ...unled,
    ...silent.map(
      (server) =>
        `${server} does not answer: check that it runs and reaches NATS, or remove it: craft members remove ${server}`,
    ),
    ...servers.flatMap((one) => (healthOf(one.server) === undefined ? troubles(one) : streamTrouble(one))),
    ...healths.flatMap((one) => troublesOf(one, isLed)),
    ...standing(before.filter(isMember), healths.filter(isMember)),
    ...machineProblems(servers),
  ];
  const level = isServing ? (problems.length === 0 ? 'healthy' : 'degraded') : 'not serving';
  const counts = [
    `${answering.size} of ${answering.size + missing.length} servers`,
    `${led} of ${groups.length} groups led`,
    ...(behind === undefined ? ['no database'] : [`behind by ${behind}`]),
  ];
  return { level, verdict: `${level}: ${counts.join(', ')}`, problems, missing, groups };
}

/**
 * The health of a cluster that cannot be asked: NATS is away, or refuses the credentials. @param
 * why in words, with what to do, without secrets
 */
export function unreachable(why: string): Health {
  return nothing('the cluster cannot be asked', why);
}

function nothing(what: string, problem: string): Health {
  return { level: 'not serving', verdict: `not serving: ${what}`, problems: [problem], missing: [], groups: [] };
}

/**
 * What the newest term knows of a group; a server that was cut off remembers an older leader and
 * older members.
 */
function newest(servers: readonly ServerStatus[], group: number): GroupStatus | undefined {
  const all = servers.flatMap(({ groups }) => groups.filter((one) => one.group === group));
  const rank = (one: GroupStatus): number => one.term * 2 + (one.role === 'leader' ? 1 : 0);
  return all.reduce<GroupStatus | undefined>(
    (best, one) => (best === undefined || rank(one) > rank(best) ? one : best),
    undefined,
  );
}

function membersOf(servers: readonly ServerStatus[], group: number): string[] {
  const { voters = [], learners = [] } = newest(servers, group) ?? {};
  return [...voters, ...learners];
}

function groupHealth(servers: readonly ServerStatus[], group: number): GroupHealth {
  const best = newest(servers, group);
  const { learners = [] } = best ?? {};
  const isLed = best?.role === 'leader' && hasQuorum(servers, best);
  const leader = servers.find(({ groups }) => best !== undefined && groups.includes(best))?.server;
  const behind = new Map<string, number>();
  for (const { server, groups } of servers) {
    const own = groups.find((one) => one.group === group);
    if (own === undefined || best === undefined || server === leader) continue;
    behind.set(server, Math.max(0, best.lastIndex - own.lastIndex));
  }
  return { group, led: isLed ? best : undefined, leader: isLed ? leader : undefined, behind, learners };
}

function hasQuorum(servers: readonly ServerStatus[], { voters }: GroupStatus): boolean {
  if (voters === undefined) return true;
  const answering = voters.filter((voter) => servers.some(({ server }) => server === voter));
  return answering.length > voters.length / 2;
}

function whyUnled(servers: readonly ServerStatus[], group: number): string {
  const best = newest(servers, group);
  const silent = (best?.voters ?? []).filter((voter) => !servers.some(({ server }) => server === voter));
  const stands = `group ${group} has no leader, and the merged log stands still`;
  if (best !== undefined && !hasQuorum(servers, best)) {
    return `${stands}: too few of its voters answer (silent: ${silent.join(', ')}); start them, or see craft recover --help when they are lost for good`;
  }
  const clocks = servers.filter(({ clock }) => clock?.ok === false).map(({ server }) => server);
  if (clocks.length > 0) return `${stands}: the clocks of ${clocks.join(', ')} are too far off to lead; set them right`;
  return `${stands}: an election takes a second or two; when it lasts, the servers' logs say why`;
}

/**
 * Entries between the largest merged index that is known and the smallest one applied; undefined:
 * no applier answers.
 */
function slowestDatabase(servers: readonly StatusLine[]): number | undefined {
  const applied = servers.flatMap(({ state }) => state?.appliedIndex ?? []);
  if (applied.length === 0) return undefined;
  const known = [...applied, ...servers.flatMap(({ mergedIndex }) => mergedIndex ?? [])];
  return Math.max(...known) - Math.min(...applied);
}

/**
 * What `craft status` itself finds when it reads the stream. Its NATS user may have other rights
 * than the services.
 */
function streamTrouble({ server, streamError }: StatusLine): string[] {
  if (streamError === undefined) return [];
  return [`the stream of ${server} cannot be read: ${streamError}; see nats stream report`];
}

/** Of a server of an older version, which says less of itself. */
function troubles(line: StatusLine): string[] {
  const { server, protocol, logStore, clock, state } = line;
  const lines: string[] = [];
  if (protocol !== undefined) {
    const reads = readable(protocol);
    for (const peer of protocol.refused) {
      lines.push(
        `${server} cannot read what ${peer.server} sends since ${peer.since}: it reads protocol ${reads}, and ${peer.server} writes ${peer.protocol}; run neighbouring releases of craft`,
      );
    }
  }
  lines.push(...streamTrouble(line));
  if (logStore?.ok === false) {
    lines.push(
      `${server} cannot write its log store since ${logStore.since}, and leads nothing until it can: ${logStore.error}`,
    );
  }
  if (clock?.ok === false) {
    lines.push(`the clock of ${server} is ${offsetMs(clock)} off, too far to lead: set it right (chrony, NTP)`);
  }
  if (state === undefined) lines.push(`${server} has no applier that answers: its database stands still`);
  else if (state.divergence !== undefined) {
    const [what] = state.divergence.split(';');
    lines.push(
      `${server} differs, and nothing is read from it since ${state.since}: ${what}; see why, then run: craft rebuild ${server}`,
    );
  } else if (state.trusted === false) {
    lines.push(
      `nothing is read from ${server} since ${state.since}: ${state.error}; find out how they differ: craft verify`,
    );
  } else if (!state.ok) lines.push(`${server} cannot apply the merged log since ${state.since}: ${state.error}`);
  return lines;
}

/** Distance of a server's clock from the cluster's reference time. */
export function offsetMs({ offsetUs }: { readonly offsetUs: number }): string {
  return `${(offsetUs / 1000).toFixed(1)} ms`;
}
