/** What all parts of a simulation share. */
import type { ServerId, Timestamp } from '../../shared/raft/entry.js';
import type { Clients } from './clients.js';
import { EPOCH_US } from './clock.js';
import type { EventQueue } from './event-queue.js';
import type { Network } from './network.js';
import type { Observer } from './observer.js';
import type { Operator } from './operator.js';
import type { FaultKind, SimulationOptions } from './options.js';
import type { Random } from './random.js';
import type { SimulatedServer } from './server.js';
import type { SnapshotBucket } from './snapshots.js';
import type { Trace } from './trace.js';

export interface World {
  readonly options: SimulationOptions;
  readonly queue: EventQueue;
  readonly random: Random;
  readonly trace: Trace;
  readonly observer: Observer;
  readonly servers: SimulatedServer[];
  readonly network: Network;
  readonly clients: Clients;
  readonly operator: Operator;
  readonly snapshots: SnapshotBucket;
  /** Of all servers, spare ones too. */
  readonly names: readonly ServerId[];
  readonly counts: Counts;
  /** False once everything is to heal. */
  isFaulty: boolean;
  step: number;
  /**
   * Until when servers may remember the wrong clock of one that is right by now: other clocks went
   * wrong meanwhile.
   */
  clocksMixedUntilUs: number;
  /** Notes something that happened, for the trace. */
  note(kind: string, server: number, detail: () => string): void;
}

interface Counts {
  readonly faults: Map<string, number>;
  commits: number;
  merged: number;
  writes: number;
  reads: number;
  retries: number;
  refusals: number;
  messages: number;
  elections: number;
}

export function countFault(world: World, kind: FaultKind | string): void {
  world.counts.faults.set(kind, (world.counts.faults.get(kind) ?? 0) + 1);
}

/** The place of an entry in the merged order as one safe integer: (timestamp, group), T4. */
export function placeOf(timestamp: Timestamp, group: number): number {
  return (timestamp - EPOCH_US + 1e12) * 8 + group;
}

/**
 * A process that is gone, or an exception out of one: what a broken assertion of the core comes to.
 */
export class Violation extends Error {
  constructor(
    readonly invariant: string,
    message: string,
    readonly group: number | null = null,
  ) {
    super(message);
    this.name = 'Violation';
  }
}
