/**
 * Servers at three sites that are not equally far from each other: the arithmetic of
 * deploy/sites/README.md, which has its figures from here. A round trip is twice a way; a write
 * takes half a millisecond.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { projectRoot } from '../../../deploy/local/project.js';
import type { ServerId } from '../../../shared/raft/entry.js';
import { boundsOf, profileOf } from '../../bench/sites/profiles.js';
import { FarSites } from './far-sites.js';
import type { Timeline } from './timeline.js';

/** One way, between servers at three sites (milliseconds). */
const WAYS: Readonly<Record<string, number>> = { 's1 s2': 15, 's1 s3': 40, 's2 s3': 60 };
const SERVERS = ['s1', 's2', 's3'] as const;
const wayMs = (from: ServerId, to: ServerId): number => WAYS[[from, to].sort().join(' ')] ?? 0;
const others = (server: ServerId): ServerId[] => SERVERS.filter((one) => one !== server);
/** To the nearest other server: with it, a server is a majority. */
const nearestMs = (server: ServerId): number => 2 * Math.min(...others(server).map((one) => wayMs(server, one)));
/** A write at each end, and turns. */
const LITTLE_MS = 2;

const far = new FarSites(SERVERS, wayMs);
const settled = (groups: number): Timeline => far.settled(groups);

const guide = readFileSync(join(projectRoot(), 'deploy/sites/README.md'), 'utf8');
/** The cells of a row of the guide, as numbers; those of the sites begin at the second. */
function figures(name: string): number[] {
  const row = guide.split('\n').find((line) => line.startsWith(`| ${name} |`));
  if (row === undefined) throw new Error(`the guide has no row ${name}`);
  return [...row.matchAll(/\| (\d+) ms/g)].map(([, number]) => Number(number));
}

it('a command is committed after a round trip to the nearest other site', () => {
  const found = SERVERS.map((server, group) => {
    const timeline = settled(3);
    timeline.offer(server, group, 'ordered');
    return timeline.until(`${server} committed ${group}`);
  });
  for (const [at, server] of SERVERS.entries()) {
    expect(found[at]).toBeGreaterThanOrEqual(nearestMs(server));
    expect(found[at]).toBeLessThanOrEqual(nearestMs(server) + LITTLE_MS);
  }
  expect(figures('`committed`')).toEqual(found.map(Math.floor));
});

it('a command is ordered after a round trip to the farthest site that leads a group, at most', () => {
  for (const [groups, name] of [
    [3, '`ordered`, three groups'],
    [2, '`ordered`, two groups'],
  ] as const) {
    const leaders = SERVERS.slice(0, groups);
    const limits = leaders.map((server) =>
      Math.max(nearestMs(server), ...leaders.map((one) => 2 * wayMs(server, one))),
    );
    for (const [group, server] of leaders.entries()) {
      const timeline = settled(groups);
      timeline.offer(server, group, 'ordered');
      expect(timeline.until(`${server} ordered ${group}`)).toBeLessThanOrEqual((limits[group] ?? 0) + LITTLE_MS);
    }
    // A client at a site that leads nothing goes to the nearest one that does.
    const away = SERVERS.slice(groups).map((server) =>
      Math.min(...leaders.map((one, group) => 2 * wayMs(server, one) + (limits[group] ?? 0))),
    );
    expect(figures(name)).toEqual([...limits, ...away]);
  }
});

it('while there are commands, one is ordered after little more than the way from the farthest leader', () => {
  const farthestMs = (server: ServerId): number =>
    Math.max(nearestMs(server), ...others(server).map((one) => wayMs(one, server)));
  for (const [medians, name] of [
    [
      SERVERS.map((_, group) => far.ordered(3, [group])[0] ?? 0),
      '`ordered`, three groups, one site writes all the time',
    ],
    [far.ordered(3, [0, 1, 2]), '`ordered`, three groups, all sites write all the time'],
  ] as const) {
    expect(figures(name)).toEqual(medians.map(Math.round));
    for (const [at, median] of medians.entries()) {
      expect(median, `site ${at + 1}`).toBeLessThanOrEqual(farthestMs(SERVERS[at] ?? '') + 15 + LITTLE_MS);
    }
  }
});

it('with five sites it waits for little more than the way by the third log that makes a majority', () => {
  const profile = profileOf('five sites', [15, 40, 60, 30, 50, 70, 20, 45, 65, 35]);
  const servers = ['s1', 's2', 's3', 's4', 's5'];
  const way = (from: ServerId, to: ServerId) => profile.delayMs[servers.indexOf(from)]?.[servers.indexOf(to)] ?? 0;
  const leaders = [0, 1, 2, 3, 4];
  const medians = new FarSites(servers, way).ordered(5, leaders);
  for (const [site, median] of medians.entries()) {
    const bound = boundsOf(profile, leaders, site).ordered;
    expect(median, `site ${site + 1}`).toBeGreaterThanOrEqual(bound);
    expect(median, `site ${site + 1}`).toBeLessThanOrEqual(bound + 15 + LITTLE_MS);
  }
});

it('an idle cluster closes nothing, however far its sites lie apart', () => {
  const timeline = settled(3);
  timeline.pass(2_000);
  const before = timeline.envelopes.length;
  timeline.pass(1_000);
  // Heartbeats, each with its answer.
  expect(timeline.envelopes.length - before).toBeLessThan(250);
});

it('a linearizable read takes a round trip to the nearest other site', () => {
  const found = SERVERS.map((server) => {
    const timeline = settled(3);
    timeline.read(server);
    return timeline.until(`${server} reads`);
  });
  for (const [at, server] of SERVERS.entries()) {
    expect(found[at]).toBeLessThanOrEqual(nearestMs(server) + LITTLE_MS);
  }
  expect(figures('linearizable read')).toEqual(found.map(Math.floor));
});

it('the entry crosses to each other server once, whatever else does', () => {
  const timeline = settled(3);
  timeline.offer('s1', 0, 'ordered');
  timeline.until('s1 ordered 0');
  const appends = timeline.envelopes.filter(({ text }) => text.includes('append ['));
  expect(appends.map(({ text }) => text.split(' ')[0]).sort()).toEqual(['s1->s2', 's1->s3']);
});
