/**
 * One run from one seed: a cluster of production cores under faults, then healed, then at rest.
 * Every invariant is looked at after every step; at the end the cluster must have become live.
 */
import { Clients } from './clients.js';
import { EventQueue } from './event-queue.js';
import { allInvariants } from './invariants/index.js';
import { whatIsNotAtRest } from './liveness.js';
import { Nemesis } from './nemesis.js';
import { Network } from './network.js';
import { Observer } from './observer.js';
import { Operator } from './operator.js';
import { optionsOf, type SimulationOptions, type SimulationRequest } from './options.js';
import { Random } from './random.js';
import { SimulatedServer } from './server.js';
import { SnapshotBucket } from './snapshots.js';
import { Stranding } from './stranding.js';
import { TellingMoments } from './telling-moments.js';
import { Trace, type TraceEvent } from './trace.js';
import { Violation, type World } from './world.js';

/** Within this time of healing everything must have ended and become equal (microseconds). */
const LIVE_WITHIN_US = 150e6;
/** How long an idle cluster is watched (microseconds). */
const QUIET_US = 2e6;
const LOOK_EVERY_US = 100e3;
/** More steps than any healthy run takes in one go. */
const STEPS_MAX = 10_000_000;

export interface RunOptions {
  /** Ends after this many steps. */
  readonly until?: number | undefined;
  readonly print?: ((event: TraceEvent) => void) | undefined;
  /** Called after every simulated minute of the time with faults. */
  readonly onMinute?: ((world: World) => void) | undefined;
}

export interface Outcome {
  readonly options: SimulationOptions;
  readonly violation: Violation | null;
  readonly steps: number;
  /** Simulated time (microseconds), and how much of it passed between healing and rest. */
  readonly simulatedUs: number;
  readonly healedInUs: number;
  readonly hash: string;
  readonly counts: World['counts'];
  readonly events: readonly TraceEvent[];
}

export function simulate(request: SimulationRequest, run: RunOptions = {}): Outcome {
  const world = createWorld(optionsOf(request), run);
  let violation: Violation | null = null;
  let healedInUs = 0;
  try {
    healedInUs = drive(world, run);
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    violation = error;
  }
  const { options, step, queue, trace, counts } = world;
  const simulatedUs = queue.nowUs;
  return { options, violation, steps: step, simulatedUs, healedInUs, hash: trace.hash, counts, events: trace.last() };
}

class Cluster implements World {
  readonly queue = new EventQueue();
  readonly random: Random;
  readonly trace: Trace;
  readonly observer: Observer;
  readonly servers: SimulatedServer[] = [];
  readonly network: Network;
  readonly clients: Clients;
  readonly operator: Operator;
  readonly snapshots = new SnapshotBucket();
  readonly names: readonly string[];
  readonly counts = {
    faults: new Map<string, number>(),
    commits: 0,
    merged: 0,
    writes: 0,
    reads: 0,
    retries: 0,
    refusals: 0,
    messages: 0,
    elections: 0,
  };
  isFaulty = true;
  step = 0;
  clocksMixedUntilUs = 0;

  constructor(
    readonly options: SimulationOptions,
    run: RunOptions,
  ) {
    this.names = Array.from({ length: options.servers + options.spares }, (_, index) => `s${index + 1}`);
    this.random = new Random(options.seed, 2);
    this.trace = new Trace(run.print ?? null);
    this.observer = new Observer(this);
    this.network = new Network(this);
    this.clients = new Clients(this);
    this.operator = new Operator(this);
    for (let index = 0; index < this.names.length; index++) this.servers.push(new SimulatedServer(this, index));
  }

  note(kind: string, server: number, detail: () => string): void {
    this.trace.add({ step: this.step, atUs: this.queue.nowUs, kind, server, detail });
  }
}

function createWorld(options: SimulationOptions, run: RunOptions): World {
  return new Cluster(options, run);
}

/** Returns how long the cluster took to come to rest after it was healed (microseconds). */
function drive(world: World, { until = Number.POSITIVE_INFINITY, onMinute }: RunOptions): number {
  const { queue, options, observer, clients } = world;
  const nemesis = new Nemesis(world);
  const telling = new TellingMoments(nemesis);
  observer.watch([...allInvariants({ world, ledger: observer.ledger }), telling]);
  for (const server of world.servers) server.startAll();
  clients.start();
  nemesis.start();
  if (options.stranded) new Stranding(world).start();
  world.operator.start();
  for (let atUs = 0; atUs < options.faultUs; ) {
    atUs = onMinute === undefined ? options.faultUs : Math.min(options.faultUs, atUs + 60e6);
    advance(world, atUs, until);
    onMinute?.(world);
  }
  world.operator.loadAll();
  nemesis.heal();
  world.note('heal', -1, () => 'every fault ends, no new operations');
  clients.isStopped = true;
  const healedUs = queue.nowUs;
  while (world.step < until) {
    advance(world, queue.nowUs + LOOK_EVERY_US, until);
    const missing = whatIsNotAtRest(world);
    if (missing === null) break;
    if (queue.nowUs - healedUs > LIVE_WITHIN_US) throw new Violation('liveness', missing);
  }
  const healedInUs = queue.nowUs - healedUs;
  if (world.step >= until) return healedInUs;
  observer.onFinished();
  const before = world.counts.commits + createdOf(world);
  advance(world, queue.nowUs + QUIET_US, until);
  const after = world.counts.commits + createdOf(world);
  if (after !== before) throw new Violation('quiet', `an idle cluster appended ${after - before} entries or claims`);
  return healedInUs;
}

/** Entries and claims of all leaders: neither grows while nobody wants anything (T5). */
function createdOf(world: World): number {
  let sum = 0;
  for (const { replica } of world.operator.members) {
    for (const group of replica?.core.groups ?? []) sum += group.lastIndex + group.closed;
  }
  return sum;
}

function advance(world: World, toUs: number, until: number): void {
  const { queue, trace } = world;
  let isThere = false;
  const stepsBefore = world.step;
  queue.after(toUs - queue.nowUs, () => {
    isThere = true;
  });
  while (!isThere && world.step < until) {
    if (world.step - stepsBefore > STEPS_MAX) throw new Violation('liveness', 'time stands still');
    const action = queue.next();
    if (action === null) return;
    world.step += 1;
    trace.mix(queue.nowUs);
    action();
  }
}
