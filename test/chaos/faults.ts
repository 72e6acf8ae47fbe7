/** What can happen to a real cluster, one thing at a time: each fault strikes, lasts, and is healed when it resolves. */
import { setTimeout as delay } from 'node:timers/promises';
import type { NatsConnection } from '@nats-io/nats-core';
import type { LocalCluster } from '../../deploy/local/cluster.js';
import { MembersAdmin } from '../../services/cli/members.js';
import { Subjects } from '../../shared/wire/subjects.js';
import type { Recorder } from './history/recorder.js';
import { leaderOf } from './leader-killer.js';
import type { Random } from './random.js';

export interface Surroundings {
  readonly cluster: LocalCluster;
  readonly connection: NatsConnection;
  readonly random: Random;
}

export interface Fault {
  readonly name: string;
  /** Resolves when it is over, with what it was, in a few words. */
  readonly strike: (surroundings: Surroundings) => Promise<string>;
}

const MEMBERS_MS_MAX = 90_000;

export const FAULTS: readonly Fault[] = [
  {
    name: 'kill',
    strike: async ({ cluster, random }) => {
      const leader = (await leaderOf(cluster, pickGroup(cluster, random))) ?? pickServer(cluster, random);
      await cluster.kill(leader, 'SIGKILL');
      await delay(random.between(200, 2_000));
      await cluster.restart(leader);
      return leader;
    },
  },
  {
    name: 'pause',
    strike: async ({ cluster, random }) => {
      const server = pickServer(cluster, random);
      await cluster.kill(server, 'SIGSTOP');
      await delay(random.between(1_000, 4_000));
      await cluster.kill(server, 'SIGCONT');
      return server;
    },
  },
  {
    name: 'restart',
    strike: async ({ cluster, random }) => {
      const server = pickServer(cluster, random);
      await cluster.kill(server, 'SIGTERM');
      await cluster.restart(server);
      return server;
    },
  },
  {
    name: 'nats',
    strike: async ({ cluster, random }) => {
      await cluster.kill('nats', 'SIGKILL');
      await delay(random.between(100, 1_000));
      await cluster.restart('nats');
      return 'SIGKILL';
    },
  },
  {
    name: 'postgres',
    strike: async ({ cluster, random }) => {
      await cluster.kill('postgres', 'SIGKILL');
      await delay(random.between(100, 1_000));
      await cluster.restart('postgres');
      return 'SIGKILL';
    },
  },
  {
    name: 'power',
    strike: async ({ cluster, random }) => {
      const all = [...cluster.servers, 'nats'];
      await Promise.all(all.map((part) => cluster.kill(part, 'SIGKILL')));
      await delay(random.between(100, 1_000));
      await Promise.all(all.map((part) => cluster.restart(part)));
      return 'every server and NATS';
    },
  },
  {
    name: 'snapshot',
    strike: async ({ cluster, connection }) => {
      connection.publish(new Subjects(cluster.cluster).admin('snapshot'));
      return 'everybody takes one';
    },
  },
  {
    name: 'members',
    strike: async ({ cluster, connection, random }) => {
      const { groups, servers } = cluster;
      const subjects = new Subjects(cluster.cluster);
      const options = { connection, subjects, groups, timeoutMs: MEMBERS_MS_MAX, print: () => undefined };
      const old = pickServer(cluster, random);
      const fresh = `s${Math.max(...servers.map((server) => Number(server.slice(1)))) + 1}`;
      await cluster.addServer(fresh);
      await new MembersAdmin(options).add(fresh);
      await new MembersAdmin(options).remove(old);
      await cluster.kill(old, 'SIGTERM');
      cluster.forget(old);
      return `${fresh} for ${old}`;
    },
  },
];

export interface DisturbOptions extends Surroundings {
  readonly recorder: Recorder;
  readonly faults: readonly Fault[];
  /** Between the end of a fault, with every group led again, and the next one (milliseconds). */
  readonly restMs: readonly [min: number, max: number];
}

/** One fault after the other, in random order, until `isOver`; resolves with how many there were. */
export async function disturb(options: DisturbOptions, isOver: () => boolean): Promise<number> {
  const { cluster, random, recorder, faults, restMs } = options;
  const [first, ...others] = faults;
  if (first === undefined) throw new RangeError('no faults');
  for (let count = 0; ; count++) {
    const until = performance.now() + random.between(...restMs);
    while (performance.now() < until && !isOver()) await delay(50);
    if (isOver()) return count;
    const fault = random.pick([first, ...others]);
    recorder.note(`begin ${fault.name}`);
    const what = await fault.strike(options);
    recorder.note(`end ${fault.name}: ${what}`);
    // The next one must not take the quorum that this one has left.
    await cluster.waitReady({ servers: cluster.servers, timeoutMs: 60_000 });
  }
}

function pickServer({ servers }: LocalCluster, random: Random): string {
  return servers[Math.floor(random.next() * servers.length)] ?? '';
}

function pickGroup({ groups }: LocalCluster, random: Random): number {
  return Math.floor(random.next() * groups);
}
