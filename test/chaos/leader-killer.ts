/**
 * Kills the leader of a random group with SIGKILL, starts it again, and so on: one server at a
 * time, so that a quorum is left.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { LocalCluster } from '../../deploy/local/cluster.js';
import type { Recorder } from './history/recorder.js';
import type { Random } from './random.js';

export interface KillerOptions {
  readonly cluster: LocalCluster;
  readonly recorder: Recorder;
  readonly random: Random;
  /** From a start to the next kill (milliseconds). */
  readonly upMs: readonly [min: number, max: number];
  /** From a kill to the start (milliseconds). */
  readonly downMs: readonly [min: number, max: number];
  /** At most so many. */
  readonly killsMax?: number;
}

/** Goes on until `isOver`; resolves, with all servers started, with the number of kills. */
export async function killLeaders(options: KillerOptions, isOver: () => boolean): Promise<number> {
  const { cluster, recorder, random, upMs, downMs, killsMax = Number.POSITIVE_INFINITY } = options;
  let kills = 0;
  for (;;) {
    await rest(random.between(...upMs), isOver);
    if (isOver() || kills >= killsMax) return kills;
    const group = Math.floor(random.next() * cluster.groups);
    const leader = await leaderOf(cluster, group);
    if (leader === undefined) continue;
    recorder.note(`kill ${leader}, leader of group ${group}`);
    await cluster.kill(leader, 'SIGKILL');
    kills += 1;
    await rest(random.between(...downMs), isOver);
    recorder.note(`start ${leader}`);
    await cluster.restart(leader);
  }
}

/**
 * Who says of itself that it leads; undefined when nobody does now. Of two, the one of the higher
 * term.
 */
export async function leaderOf(cluster: LocalCluster, group: number): Promise<string | undefined> {
  const status = await cluster.status().catch(() => []);
  const leaders = status.flatMap(({ server, groups }) =>
    groups.filter((one) => one.group === group && one.role === 'leader').map(({ term }) => ({ server, term })),
  );
  return leaders.sort((a, b) => b.term - a.term)[0]?.server;
}

async function rest(ms: number, isOver: () => boolean): Promise<void> {
  const until = performance.now() + ms;
  while (performance.now() < until && !isOver()) await delay(50);
}
