/**
 * A leader is stranded: clients write to it while no other server hears it, and then it ends. It is
 * back once the leader after it has cut its log within what the first one has. So that one needs a
 * snapshot which ends where its own log has another entry (T10). Other faults bring this about once
 * in a thousand runs.
 *
 *     quiet ──▶ cut off, written to ──▶ down, the others are written to slowly ──▶ back
 */
import type { GroupId, LogIndex } from '../../shared/raft/entry.js';
import type { Random } from './random.js';
import type { SimulatedServer } from './server.js';
import { countFault, type World } from './world.js';

/** Mean time between two (microseconds). */
const EVERY_US = 1e6;
/**
 * How long clients are quiet before that (microseconds): a server that is taking a snapshot when it
 * ends keeps the others from taking one.
 */
const QUIET_US = 1e6;
/** Writes that only the stranded leader gets, and how long it has for them (microseconds). */
const WRITES = 60;
const WRITING_US = 120e3;
/** Between two writes that the others get, and how long it is away (microseconds). */
const WRITE_EVERY_US = 50e3;
const AWAY_US_MAX = 5e6;

interface Stranded {
  readonly server: SimulatedServer;
  readonly group: GroupId;
  /** What it knew to be committed. */
  readonly commitIndex: LogIndex;
  /** When it is back at the latest (microseconds). */
  readonly untilUs: number;
}

export class Stranding {
  private readonly random: Random;

  constructor(private readonly world: World) {
    this.random = world.random.fork(41);
  }

  start(): void {
    this.later(this.random.exponential(EVERY_US), () => {
      this.world.clients.isQuiet = true;
      this.later(QUIET_US, () => this.strand());
    });
  }

  private strand(): void {
    const { world, random } = this;
    const leaders = world.servers.flatMap((server) => {
      return [...(server.replica?.leading ?? [])].map((group) => ({ server, group }));
    });
    if (leaders.length === 0) {
      this.start();
      return;
    }
    const { server, group } = random.pick(leaders);
    countFault(world, 'stranded leader');
    world.note('fault', server.index, () => `stranded leader of group ${group}`);
    this.cut(server, true);
    world.clients.writeMore(WRITES, { server: server.index, group });
    this.later(WRITING_US, () => {
      const { commitIndex = 0 } = server.replica?.core.groups[group] ?? {};
      server.crashReplica(random.chance(0.5));
      server.crashMerger();
      server.crashApplier();
      this.wait({ server, group, commitIndex, untilUs: world.queue.nowUs + AWAY_US_MAX });
    });
  }

  private wait(stranded: Stranded): void {
    const { world } = this;
    const { server, group, commitIndex, untilUs } = stranded;
    const isReplaced = world.servers.some(({ replica }) => {
      const other = replica?.core.groups[group];
      return other?.role === 'leader' && other.base.index > commitIndex;
    });
    if (!isReplaced && world.queue.nowUs < untilUs) {
      // Few enough that the next snapshot still ends within its log.
      world.clients.isQuiet = true;
      world.clients.writeMore(1);
      this.later(WRITE_EVERY_US, () => this.wait(stranded));
      return;
    }
    this.cut(server, false);
    server.startAll();
    world.clients.isQuiet = false;
    this.start();
  }

  private cut({ index }: SimulatedServer, isCut: boolean): void {
    const { network, servers } = this.world;
    for (const { index: peer } of servers) {
      network.setCut(index, peer, isCut);
      network.setCut(peer, index, isCut);
    }
  }

  /** Unless everything has healed before. */
  private later(afterUs: number, action: () => void): void {
    this.world.queue.after(afterUs, () => {
      if (this.world.isFaulty) action();
    });
  }
}
