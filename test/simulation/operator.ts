/**
 * The operator of a simulated cluster. It adds servers and removes servers while everything else
 * goes on (T11), one at a time, group by group, as `craft members` does it. It has rows compared,
 * rebuilds servers that differ, and restores files. What has been begun is also finished once
 * everything is healed; then all rows are compared once more, and what differs is rebuilt.
 */

import { FIRST_VERSION } from '../../shared/engine/switch.js';
import { encodeVerify, VERIFY_COMMAND } from '../../shared/engine/verify.js';
import type { ConfigurationChange } from '../../shared/raft/entry.js';
import { MACHINE_COMMAND, type MachineInput } from '../../shared/wire/machine.js';
import { RESTORE_COMMAND, type RestoreInput } from '../../shared/wire/restore.js';
import { appendByServices } from './applier.js';
import { VERSIONS } from './database.js';
import type { Random } from './random.js';
import type { SimulatedServer } from './server.js';
import { countFault, type World } from './world.js';

interface Plan {
  readonly what: 'add' | 'remove';
  readonly server: SimulatedServer;
}

const LOOK_US = 40e3;
/** Between two events of the state machine's versions (microseconds, mean). */
const VERSION_US = 1e6;
/** Between two looks at the states (microseconds, mean). */
const CARE_US = 500e3;
/** Between two comparisons at the end, and until a rebuild is tried again (microseconds). */
const ASK_US = 1e6;
const REBUILD_US = 10e6;
/** How long the votes of a comparison take at most (microseconds). */
const VOTES_US = 500e3;
/** How long a removed server may go on (microseconds, mean). */
const LINGER_US = 2e6;

export class Operator {
  private readonly random: Random;
  private readonly versioning: Random;
  private readonly memberIndexes: Set<number>;
  private plan: Plan | null = null;
  /** Removed, and not switched off yet: what it takes for its cluster may still get into a log. */
  private readonly lingering = new Set<SimulatedServer>();
  /** Servers that are being rebuilt. */
  private readonly rebuilding = new Set<SimulatedServer>();
  /**
   * The last comparison is to come after this merged index; null before everything is healed and
   * every operation has ended.
   */
  private compareAfter: number | null = null;
  private askedAtUs = Number.NEGATIVE_INFINITY;
  /** When every server had taken part in it. */
  private comparedAtUs = Number.POSITIVE_INFINITY;

  constructor(private readonly world: World) {
    this.random = world.random.fork(77);
    this.versioning = world.random.fork(78);
    this.memberIndexes = new Set(Array.from({ length: world.options.servers }, (_, index) => index));
  }

  start(): void {
    if (this.world.options.spares > 0) this.next();
    this.nextCare();
    if (this.world.options.versions) this.nextVersion();
  }

  /** Everything is to heal: every server has all versions from now on. */
  loadAll(): void {
    if (this.world.options.versions) for (const server of this.world.servers) server.load(VERSIONS);
  }

  /** Whether some change is under way. */
  get isBusy(): boolean {
    return this.plan !== null || this.rebuilding.size > 0 || this.lingering.size > 0;
  }

  /** Some server has not been compared since everything was healed, or is known to differ. */
  get whatIsNotCompared(): string | null {
    if (this.world.queue.nowUs < this.comparedAtUs + VOTES_US) return 'the rows have not been compared';
    const different = this.members.find(({ applier }) => applier?.core.divergence !== undefined);
    return different === undefined ? null : `${different.name} differs, and is not rebuilt`;
  }

  /** It removes no server when there are only so many. */
  get membersMin(): number {
    return Math.min(3, this.world.options.servers);
  }

  /**
   * Those that belong to the cluster now; one that is being removed does until it is gone from
   * every group.
   */
  get members(): SimulatedServer[] {
    return this.world.servers.filter(({ index }) => this.memberIndexes.has(index));
  }

  private next(): void {
    const { world } = this;
    world.queue.after(this.random.exponential(LOOK_US), () => {
      if (this.plan !== null) this.pursue(this.plan);
      else if (world.isFaulty && this.random.chance(0.04)) this.begin();
      if (this.plan !== null || world.isFaulty) this.next();
    });
  }

  private nextCare(): void {
    const { world, random } = this;
    world.queue.after(random.exponential(CARE_US), () => {
      this.rebuildOne();
      if (world.isFaulty) {
        if (random.chance(0.1)) this.compare();
        if (random.chance(0.05)) this.take();
        if (world.options.faults.has('restore') && random.chance(0.05)) this.restore();
      } else this.compareAtLast();
      this.nextCare();
    });
  }

  /**
   * Servers get versions one by one and lose old ones; the cluster is switched to what the leader
   * has, whether the others have it or not.
   */
  private nextVersion(): void {
    const { world, versioning } = this;
    world.queue.after(versioning.exponential(VERSION_US), () => {
      if (!world.isFaulty) return;
      const server = versioning.pick(this.members);
      const newest = Math.min(VERSIONS.length, Math.max(...server.loaded) + versioning.below(2));
      const oldest = versioning.chance(0.2) ? newest : FIRST_VERSION;
      if (versioning.chance(0.6)) {
        countFault(world, 'version');
        world.note('loads', server.index, () => `versions ${oldest} to ${newest}`);
        server.load(VERSIONS.filter((version) => version >= oldest && version <= newest));
      } else if (newest > FIRST_VERSION && server.loaded.includes(newest)) {
        countFault(world, 'switch');
        const input: MachineInput = { name: 'kv', version: newest };
        appendByServices(world, MACHINE_COMMAND, new TextEncoder().encode(JSON.stringify(input)));
      }
      this.nextVersion();
    });
  }

  private compare(): void {
    countFault(this.world, 'comparison');
    appendByServices(this.world, VERIFY_COMMAND, encodeVerify({}));
  }

  /** `craft snapshot take` at some server; its answer may never come. */
  private take(): void {
    const server = this.random.pick(this.members);
    const { applier } = server;
    countFault(this.world, 'snapshot wanted');
    if (applier !== null) server.after(applier, 0, () => applier.take(() => undefined));
  }

  /** Until every server has taken part in one comparison that came after everything else. */
  private compareAtLast(): void {
    const { world } = this;
    const { nowUs } = world.queue;
    if (world.clients.open > 0 || this.plan !== null || this.comparedAtUs <= nowUs) return;
    // Else a server that finds only now that the bucket was removed would have one taken later.
    if (this.compareAfter === null) for (const { applier } of world.servers) applier?.hearTaking('operator', false);
    const after = this.compareAfter ?? world.observer.ledger.merged.length;
    this.compareAfter = after;
    if (this.members.every(({ applier }) => applier !== null && applier.database.verifiedAt > after))
      this.comparedAtUs = nowUs;
    else if (nowUs - this.askedAtUs >= ASK_US) {
      this.askedAtUs = nowUs;
      this.compare();
    }
  }

  private rebuildOne(): void {
    const { world } = this;
    for (const server of world.servers) {
      const { applier } = server;
      if (applier === null || applier.core.divergence === undefined || this.rebuilding.has(server)) continue;
      if (world.isFaulty && this.random.chance(0.8)) continue;
      countFault(world, 'rebuild');
      this.rebuilding.add(server);
      // The answer of an applier that has ended never comes.
      const end = () => this.rebuilding.delete(server);
      world.queue.after(REBUILD_US, end);
      server.after(applier, 0, () => applier.rebuild(end));
    }
  }

  /** The state of some time ago comes back, at every server at the same place in the log (T10). */
  private restore(): void {
    const { snapshots } = this.world;
    const { newest } = snapshots;
    if (newest === undefined) return;
    countFault(this.world, 'restore');
    snapshots.files.set(newest.name, newest.state);
    const input: RestoreInput = { object: newest.name, digest: newest.name, replace: true };
    appendByServices(this.world, RESTORE_COMMAND, new TextEncoder().encode(JSON.stringify(input)));
  }

  private begin(): void {
    const { world, random } = this;
    const spare = world.servers.find((server) => server.isSpare);
    const mayRemove = this.memberIndexes.size > this.membersMin;
    if (spare !== undefined && (!mayRemove || random.chance(0.6))) {
      spare.join();
      this.memberIndexes.add(spare.index);
      this.plan = { what: 'add', server: spare };
    } else if (mayRemove) {
      this.plan = { what: 'remove', server: random.pick(this.members) };
    }
    if (this.plan === null) return;
    countFault(world, `${this.plan.what} server`);
    world.note('operator', this.plan.server.index, () => this.plan?.what ?? '');
  }

  private pursue(plan: Plan): void {
    const { world } = this;
    let isDone = true;
    for (let group = 0; group < world.options.groups; group++) isDone = this.pursueIn(group, plan) && isDone;
    if (!isDone) return;
    this.plan = null;
    world.note('operator', plan.server.index, () => `${plan.what} is done`);
    if (plan.what !== 'remove') return;
    this.memberIndexes.delete(plan.server.index);
    // No other server may notice whether it is there or not.
    this.lingering.add(plan.server);
    world.queue.after(this.random.exponential(LINGER_US), () => {
      plan.server.leave();
      this.lingering.delete(plan.server);
    });
  }

  /** True when the group is as planned. */
  private pursueIn(group: number, { what, server }: Plan): boolean {
    const leader = this.leaderOf(group);
    const core = leader?.replica?.core.groups[group];
    if (leader === undefined || core === undefined) return false;
    const { voters, learners, index } = core.configuration;
    const isVoter = voters.includes(server.name);
    const isLearner = learners.includes(server.name);
    const type = nextChange(what, isVoter, isLearner);
    if (type === null) return index <= core.commitIndex;
    const change = { type, server: server.name };
    leader.replica?.dispatch((replica) => replica.configure(group, change));
    return false;
  }

  private leaderOf(group: number): SimulatedServer | undefined {
    const leaders = this.world.servers.filter(({ replica }) => replica?.core.groups[group]?.role === 'leader');
    const term = (server: SimulatedServer) => server.replica?.core.groups[group]?.term ?? 0;
    return leaders.sort((a, b) => term(b) - term(a))[0];
  }
}

function nextChange(what: Plan['what'], isVoter: boolean, isLearner: boolean): ConfigurationChange['type'] | null {
  if (what === 'add') return isVoter ? null : isLearner ? 'promote' : 'add';
  return isVoter ? 'demote' : isLearner ? 'remove' : null;
}
