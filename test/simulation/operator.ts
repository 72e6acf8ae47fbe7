/**
 * The operator of a simulated cluster: adds servers and removes servers while everything else goes on (T11), one at a time, group by
 * group, as `craft members` does it. What has been begun is also finished once everything is healed.
 */
import type { ConfigurationChange } from '../../shared/raft/membership.js';
import type { Random } from './random.js';
import type { SimulatedServer } from './server.js';
import { countFault, type World } from './world.js';

interface Plan {
  readonly what: 'add' | 'remove';
  readonly server: SimulatedServer;
}

const LOOK_US = 40e3;
/** How long a removed server may go on (microseconds, mean). */
const LINGER_US = 2e6;

export class Operator {
  private readonly random: Random;
  private readonly memberIndexes: Set<number>;
  private plan: Plan | null = null;

  constructor(private readonly world: World) {
    this.random = world.random.fork(77);
    this.memberIndexes = new Set(Array.from({ length: world.options.servers }, (_, index) => index));
  }

  start(): void {
    if (this.world.options.spares > 0) this.next();
  }

  /** Whether some change is under way. */
  get isBusy(): boolean {
    return this.plan !== null;
  }

  /** It removes no server when there are only so many. */
  get membersMin(): number {
    return Math.min(3, this.world.options.servers);
  }

  /** Those that belong to the cluster now; one that is being removed does until it is gone from every group. */
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
    // Nobody may notice whether it is there or not.
    world.queue.after(this.random.exponential(LINGER_US), () => plan.server.leave());
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
    leader.replica?.happen((replica) => replica.configure(group, change));
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
