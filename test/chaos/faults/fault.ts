/** What a fault is, and what it may lay hands on. */
import type { NatsConnection } from '@nats-io/nats-core';
import type { LocalCluster } from '../../../deploy/local/cluster.js';
import type { Disks } from '../disks.js';
import { leaderOf } from '../leader-killer.js';
import type { NatsNodes } from '../nats-nodes.js';
import type { Random } from '../random.js';

export interface Surroundings {
  readonly cluster: LocalCluster;
  readonly nats: NatsNodes;
  /** For requests to the cluster, past the proxies. */
  readonly connection: NatsConnection;
  readonly random: Random;
  /** Undefined where this process may not mount. */
  readonly disks: Disks | undefined;
  /** How far the clocks of servers are off (milliseconds), from their next start on. */
  readonly clockOffsetsMs: Map<string, number>;
}

/** Something that has been done to a cluster, and how it is undone. */
interface Injected {
  /** In a few words. */
  readonly what: string;
  /** The group whose leader was killed. */
  readonly group?: number | undefined;
  /** How long it is to last (milliseconds); 0: it is over when it is injected. */
  readonly holdMs: number;
  /** Resolves when nothing of it is left but what the cluster has to mend itself. */
  heal(): Promise<void>;
}

export interface Fault {
  readonly name: string;
  inject(surroundings: Surroundings): Promise<Injected>;
  /** Why it cannot be done here; undefined when it can. */
  obstacle?(surroundings: Surroundings): string | undefined;
}

export const NOTHING_TO_HEAL = async (): Promise<void> => undefined;

export function pickServer({ cluster, random }: Surroundings): string {
  return cluster.servers[Math.floor(random.next() * cluster.servers.length)] ?? '';
}

/** The leader of a random group; any server when that has none just now. */
export async function pickLeader(surroundings: Surroundings): Promise<{ server: string; group: number | undefined }> {
  const { cluster, random } = surroundings;
  const group = Math.floor(random.next() * cluster.groups);
  const fallback = pickServer(surroundings);
  const leader = await leaderOf(cluster, group);
  return leader === undefined ? { server: fallback, group: undefined } : { server: leader, group };
}
