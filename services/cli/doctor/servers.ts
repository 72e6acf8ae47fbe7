/**
 * Releases, Node.js versions and snapshots of the servers, and what `craft status` says of them.
 * Pure.
 */

import { NOTHING_MERGED } from '../../../shared/raft/entry.js';
import { commandBytesUntilNext } from '../../../shared/snapshot/due.js';
import { assess, type Health } from '../health.js';
import type { Check, Sighting } from './check.js';
import { type Facts, factOf } from './facts.js';
import { serverNumber } from './settings.js';

/** The first with `crc32` in node:zlib. */
const NODE_MIN = [22, 2] as const;
/** Of an entry with its frame, whatever it says. */
const COMMAND_BYTES_MIN = 64;
/** A snapshot is late when it is due twice. */
const LATE = 2;
/** Longer than all of this command takes, and clocks that differ a little (milliseconds). */
const YOUNG_MS = 60_000;

/** Undefined when the servers could not be asked. */
export function statusOf({ servers }: Facts): Health | undefined {
  const known = factOf(servers);
  return known === undefined ? undefined : assess(known.servers, known.healths, known.before);
}

/** `found` by server, when they are not all the same. */
function differing(
  facts: Facts,
  what: string,
  read: (server: { version?: string; node?: string }) => string | undefined,
) {
  const by = new Map<string, string[]>();
  for (const { server, version, node } of factOf(facts.servers)?.servers ?? []) {
    const found = read({ ...(version !== undefined && { version }), ...(node !== undefined && { node }) });
    if (found !== undefined) by.set(found, [...(by.get(found) ?? []), server]);
  }
  if (by.size < 2) return undefined;
  return `${what}: ${[...by].map(([found, names]) => `${names.join(', ')} ${found}`).join('; ')}`;
}

export const SERVER_CHECKS: readonly Check[] = [
  {
    code: 'releases-differ',
    level: 'warning',
    about: 'The servers run several releases of craft.',
    find: (facts) => {
      const what = differing(facts, 'the servers run several releases of craft', ({ version }) => version);
      return what === undefined
        ? []
        : [{ where: 'servers', what, remedy: 'finish the upgrade, one server after the other' }];
    },
  },
  {
    code: 'release-here',
    level: 'warning',
    about: 'This command is of another release than all servers.',
    find: ({ servers, here }) => {
      const versions = new Set((factOf(servers)?.servers ?? []).flatMap(({ version }) => version ?? []));
      if (versions.size === 0 || versions.has(here.version)) return [];
      const what = `this craft is ${here.version}, the servers are ${[...versions].join(', ')}`;
      return [{ where: 'this machine', what, remedy: 'install the release that the servers have' }];
    },
  },
  {
    code: 'node-version',
    level: 'warning',
    about: `Node.js is older than ${NODE_MIN.join('.')}, or the servers run several major versions of it.`,
    find: (facts) => {
      const found: Sighting[] = [];
      const all = [{ where: 'this machine', node: facts.here.node }];
      for (const { server, node } of factOf(facts.servers)?.servers ?? []) {
        if (node !== undefined) all.push({ where: server, node });
      }
      for (const { where, node } of all) {
        if (isNewEnough(node)) continue;
        const what = `Node.js ${node} is too old for craft`;
        found.push({ where, what, remedy: `install Node.js ${NODE_MIN.join('.')} or newer` });
      }
      const majors = differing(
        facts,
        'handlers may compute other results on other major versions of Node.js',
        ({ node }) => (node === undefined ? undefined : String(majorOf(node))),
      );
      if (majors !== undefined)
        found.push({ where: 'servers', what: majors, remedy: 'run one version on all servers' });
      return found;
    },
  },
  {
    code: 'snapshot-late',
    level: 'warning',
    about: 'There is no confirmed snapshot although there should be one, or the newest one is old.',
    find: lateSnapshot,
  },
  {
    code: 'snapshot-groups',
    level: 'error',
    about: 'The newest snapshot does not cover every group, or goes beyond its log.',
    find: ({ snapshots, servers }) => {
      const { nowMs = 0, snapshots: all = [] } = factOf(snapshots) ?? {};
      const newest = all.findLast(({ confirmed }) => confirmed);
      if (newest === undefined || newest.position.mergedIndex === 0) return [];
      const groups = (factOf(servers)?.servers ?? []).flatMap((one) => one.groups);
      // A follower may lag: where no leader answers, nobody knows the end of the log.
      const endOf = (group: number): number => {
        const leaders = groups.filter((one) => one.group === group && one.role === 'leader');
        return leaders.length === 0 ? Number.POSITIVE_INFINITY : Math.max(...leaders.map(({ lastIndex }) => lastIndex));
      };
      const { positions } = newest.position;
      // It may have been taken since the servers were asked.
      const isYoung = nowMs - Date.parse(newest.savedAt) < YOUNG_MS;
      const wrong = [...new Set(groups.map(({ group }) => group))].filter((group) => {
        const covered = positions[group];
        return covered === undefined || (covered.index > endOf(group) && !isYoung);
      });
      if (wrong.length === 0) return [];
      const what = `it does not match the log of group ${wrong.join(', ')}`;
      const remedy = 'check whether it belongs to this cluster; take another one: craft snapshot take';
      return [{ where: newest.name, what, remedy }];
    },
  },
  {
    code: 'degraded',
    level: 'warning',
    about: 'What `craft status` says of a cluster that is degraded.',
    find: (facts) => problems(facts, 'degraded'),
  },
  {
    code: 'not-serving',
    level: 'error',
    about: 'What `craft status` says of a cluster that does not serve.',
    find: (facts) => problems(facts, 'not serving'),
  },
];

function problems(facts: Facts, level: Health['level']): Sighting[] {
  const status = statusOf(facts);
  if (status?.level !== level) return [];
  return status.problems.map((problem) => {
    // Where nobody answers, the verdict says what is wrong, and the problem what to do.
    if (status.groups.length === 0) return { where: 'cluster', what: 'no server answers', remedy: problem };
    const at = problem.lastIndexOf('; ');
    if (at < 0) return { where: 'cluster', what: problem, remedy: "see that server's log" };
    return { where: 'cluster', what: problem.slice(0, at), remedy: problem.slice(at + 2) };
  });
}

function lateSnapshot({ snapshots, servers, environment, cluster }: Facts): Sighting[] {
  const known = factOf(snapshots);
  const applied = Math.max(
    0,
    ...(factOf(servers)?.servers ?? []).map(({ state }) => state?.appliedIndex ?? NOTHING_MERGED),
  );
  if (known === undefined || applied === 0) return [];
  const newest = known.snapshots.findLast(({ confirmed }) => confirmed);
  const since = applied - (newest?.position.mergedIndex ?? NOTHING_MERGED);
  // The servers' own settings decide; without them, nothing is late.
  const dueAfter = (name: 'CRAFT_SNAPSHOT_ENTRIES' | 'CRAFT_SNAPSHOT_AGE_MS') =>
    LATE * (serverNumber(environment, name) ?? Number.POSITIVE_INFINITY);
  const largeMin = commandBytesUntilNext(newest?.bytes ?? 0) / COMMAND_BYTES_MIN;
  const entriesMax = Math.max(dueAfter('CRAFT_SNAPSHOT_ENTRIES'), LATE * largeMin);
  const ageMs = newest === undefined ? 0 : known.nowMs - Date.parse(newest.savedAt);
  const ageMsMax = dueAfter('CRAFT_SNAPSHOT_AGE_MS');
  const isOld = since > 0 && ageMs > ageMsMax;
  if (since <= entriesMax && !isOld) return [];
  const unconfirmed = known.snapshots.some(({ confirmed }) => !confirmed)
    ? ', and one that no majority has confirmed'
    : '';
  const what =
    newest === undefined
      ? `there is no confirmed snapshot after ${applied} commands${unconfirmed}: the logs cannot be shortened`
      : `the newest one is ${Math.round(ageMs / 60_000)} min and ${since} commands old${unconfirmed}: the logs cannot be shortened`;
  const remedy = 'take one: craft snapshot take; when none is confirmed, find out how the servers differ: craft verify';
  return [{ where: `${cluster} snapshots`, what, remedy }];
}

function isNewEnough(node: string): boolean {
  const [major = 0, minor = 0] = node.replace(/^v/, '').split('.').map(Number);
  return major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1]);
}

/** Of what is no version: 0. */
function majorOf(node: string): number {
  return Number(/^v?(\d+)/.exec(node)?.[1] ?? 0);
}
