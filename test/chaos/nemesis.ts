/**
 * One fault after the other, each healed, and the cluster whole again, before the next: so no
 * quorum is ever gone for good.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { NatsConnection } from '@nats-io/nats-core';
import type { LocalCluster } from '../../deploy/local/cluster.js';
import { Subjects } from '../../shared/wire/subjects.js';
import type { Fault, Surroundings } from './faults/index.js';
import type { Recorder } from './history/recorder.js';
import type { Random } from './random.js';

export interface NemesisOptions extends Surroundings {
  readonly recorder: Recorder;
  readonly faults: readonly Fault[];
  /** From when the cluster is whole to the next fault (milliseconds). */
  readonly restMs: readonly [min: number, max: number];
  /** From when a fault is healed until the cluster must be whole (milliseconds). */
  readonly healMs: number;
}

/** A fault that has been; times are microseconds on the recorder's clock. */
export interface Strike {
  readonly name: string;
  readonly what: string;
  readonly group: number | undefined;
  readonly beginUs: number;
  /** When it was healed. */
  readonly endUs: number;
  /** When every group was led and every server's database up to date again. */
  readonly wholeUs: number;
}

/**
 * All of `faults` in an order that follows from the seed, then all of them in another one, until
 * `isOver`, which is told how many there have been. Rejects when the cluster does not become whole
 * in time.
 */
export async function disturb(options: NemesisOptions, isOver: (strikes: number) => boolean): Promise<Strike[]> {
  const { random, restMs } = options;
  const strikes: Strike[] = [];
  let round: Fault[] = [];
  for (;;) {
    await rest(random.between(...restMs), () => isOver(strikes.length));
    if (isOver(strikes.length)) return strikes;
    if (round.length === 0) round = shuffled(options.faults, random);
    const fault = round.pop();
    if (fault === undefined) throw new RangeError('no faults');
    // Draws of its own: how the real cluster is just now must not change the order of what follows.
    strikes.push(await strike(fault, { ...options, random: random.fork() }));
  }
}

async function strike(fault: Fault, options: NemesisOptions): Promise<Strike> {
  const { recorder, cluster, connection, healMs } = options;
  const { name } = fault;
  const beginUs = recorder.nowUs;
  recorder.note(`begin ${name}`);
  const { what, group, holdMs, heal } = await fault.inject(options);
  if (holdMs > 0) recorder.note(`injected ${name}: ${what}, for ${holdMs.toFixed(0)} ms`);
  try {
    await delay(holdMs);
  } finally {
    await heal();
  }
  const endUs = recorder.nowUs;
  recorder.note(`end ${name}: ${what}`);
  try {
    await whole(cluster, connection, healMs);
  } catch (cause) {
    throw new Error(`the cluster is not whole ${healMs / 1_000} s after ${name} (${what})`, { cause });
  }
  recorder.note(`whole after ${name}`);
  return { name, what, group, beginUs, endUs, wholeUs: recorder.nowUs };
}

/** One try (milliseconds). */
const SYNC_MS_MAX = 5_000;

/**
 * Resolves when every group has a leader that all agree on and every server's database shows what
 * was acknowledged before.
 */
async function whole(cluster: LocalCluster, connection: NatsConnection, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  await cluster.waitReady({ servers: cluster.servers, timeoutMs });
  const subjects = new Subjects(cluster.cluster);
  await Promise.all(cluster.servers.map((server) => synced(connection, subjects.sync(server), server, deadline)));
}

async function synced(connection: NatsConnection, subject: string, server: string, deadline: number): Promise<void> {
  for (let last: unknown; ; ) {
    try {
      const reply = (await connection.request(subject, '', { timeout: SYNC_MS_MAX })).json<{ ok?: boolean }>();
      if (reply.ok !== false) return;
      last = new Error(JSON.stringify(reply));
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) throw new Error(`the database of ${server} is not up to date`, { cause: last });
    await delay(50);
  }
}

function shuffled<T>(all: readonly T[], random: Random): T[] {
  const rest = [...all];
  const order: T[] = [];
  while (rest.length > 0) order.push(...rest.splice(Math.floor(random.next() * rest.length), 1));
  return order;
}

async function rest(ms: number, isOver: () => boolean): Promise<void> {
  const until = performance.now() + ms;
  while (performance.now() < until && !isOver()) await delay(50);
}
