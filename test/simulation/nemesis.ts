/**
 * Faults that come and go by themselves, and those that hit a server at a telling moment. All of it
 * heals in the end.
 */
import type { FaultKind } from './options.js';
import type { Random } from './random.js';
import type { SimulatedServer } from './server.js';
import { countFault, type World } from './world.js';

const HOUR_US = 3_600e6;
/**
 * For how long a sample of another server's clock is kept, and a little more
 * (shared/clock/reference.ts).
 */
const CLOCK_MEMORY_US = 31e6;

/**
 * Kinds that strike by themselves when their moment has come, or that the operator brings about.
 */
const ELSEWHERE: ReadonlySet<FaultKind> = new Set(['targeted', 'slow-install', 'restore']);

export class Nemesis {
  private readonly random: Random;
  private readonly kinds: readonly FaultKind[];
  /** The server whose clock may be wrong: at most a minority's are at a time. */
  private wrongClocks: number[] = [];

  constructor(private readonly world: World) {
    this.random = world.random.fork(31);
    this.kinds = [...world.options.faults].filter((kind) => !ELSEWHERE.has(kind));
  }

  start(): void {
    this.pickWrongClocks();
    this.next();
  }

  private next(): void {
    const { options, queue } = this.world;
    queue.after(this.random.exponential(options.faultEveryUs), () => {
      if (!this.world.isFaulty) return;
      this.mood();
      if (this.kinds.length > 0) this.strike(this.random.pick(this.kinds));
      this.next();
    });
  }

  /** Load comes and goes as well. */
  private mood(): void {
    const { clients } = this.world;
    clients.isBursting = this.random.chance(0.08);
    clients.isQuiet = this.random.chance(0.15);
  }

  private strike(kind: FaultKind): void {
    const { world, random } = this;
    const server = random.pick(world.servers);
    world.note('fault', server.index, () => kind);
    countFault(world, kind);
    switch (kind) {
      case 'partition':
        this.partition();
        break;
      case 'one-way':
        for (const peer of world.servers) {
          if (peer === server || random.chance(0.3)) continue;
          this.cut(
            ...((random.chance(0.5) ? [server.index, peer.index] : [peer.index, server.index]) as [number, number]),
          );
        }
        break;
      case 'loss':
        world.network.loss = random.pick([0.02, 0.2, 0.5]);
        this.later(3e6, () => {
          world.network.loss = 0;
        });
        break;
      case 'duplicate':
        world.network.duplication = random.pick([0.05, 0.5]);
        this.later(3e6, () => {
          world.network.duplication = 0;
        });
        break;
      case 'delay':
        world.network.delayUs = random.pick([5e3, 100e3, 1e6]);
        this.later(3e6, () => {
          world.network.delayUs = 0;
        });
        break;
      case 'crash':
        for (const victim of this.victims(server)) this.crash(victim, false);
        break;
      case 'power':
        for (const victim of this.victims(server)) this.crash(victim, true);
        break;
      case 'merger-crash':
        server.crashMerger();
        this.later(1e6, () => server.startMerger());
        break;
      case 'applier-crash':
        server.crashApplier();
        this.later(1e6, () => server.startApplier());
        break;
      case 'database-crash':
        server.crashDatabase(random.below(4));
        break;
      case 'local-loss':
        server.isLocalLossy = true;
        this.later(3e6, () => {
          server.isLocalLossy = false;
        });
        break;
      case 'slow-disk':
        server.slowUs = random.pick([5e3, 50e3, 400e3]);
        this.later(3e6, () => {
          server.slowUs = 0;
        });
        break;
      case 'stalled-disk':
        server.stalledUntilUs = world.queue.nowUs + random.between(0.2e6, 4e6);
        break;
      case 'failed-write':
        server.isDiskFailing = true;
        this.later(2e6, () => {
          server.isDiskFailing = false;
        });
        break;
      case 'clock-jump':
        this.wrongClock((victim) => victim.clock.jump(random.between(-2e6, 2e6)));
        break;
      case 'clock-drift':
        this.wrongClock((victim) =>
          victim.clock.set(world.queue.nowUs, random.between(-1e5, 1e5), random.pick([-2e4, 2e4])),
        );
        break;
      case 'clock-far':
        this.wrongClock((victim) => {
          victim.clock.set(world.queue.nowUs, random.pick([HOUR_US, HOUR_US, -HOUR_US]), 0);
          this.later(4e6, () => victim.clock.set(world.queue.nowUs, 0, 0));
        });
        break;
      case 'pause':
        server.pausedUntilUs = Math.max(server.pausedUntilUs, world.queue.nowUs + random.between(0.05e6, 3e6));
        break;
      case 'transfer':
        server.replica?.dispatch((core) => {
          const group = random.below(world.options.groups);
          if (random.chance(0.5)) core.handOver();
          else core.transfer(group, random.pick(world.names));
        });
        break;
      case 'stream-loss': {
        const { messages } = server.stream;
        // One of the newest: most others have been read.
        if (random.chance(0.5)) server.stream.damage(Math.max(0, messages.length - 2 - random.below(4)));
        else server.loseStream();
        break;
      }
      case 'database-loss':
        // The state must be left somewhere.
        if (world.snapshots.newestIndex >= world.snapshots.compactedTo) server.loseDatabase();
        break;
      case 'snapshot-loss':
        if (world.operator.members.every(({ database }) => database.mergedIndex >= world.snapshots.compactedTo)) {
          // An operator who removes it is not that fast: what was compacted for it is on the disks
          // by then.
          for (const { database } of world.servers) database.flush();
          world.snapshots.lose();
        }
        break;
      case 'reader-stall':
        server.applier?.reader.stall();
        break;
      case 'session-loss':
        server.isSessionLossy = true;
        this.later(2e6, () => {
          server.isSessionLossy = false;
        });
        break;
      case 'divergence':
        this.diverge(server);
        break;
      case 'slow-install':
      case 'targeted':
      case 'restore':
        break;
    }
  }

  /**
   * Something telling has just happened at a server: sometimes that is its end, or it is cut off.
   */
  onTellingMoment(server: SimulatedServer, weight = 1): void {
    const { world, random } = this;
    const { options } = world;
    if (
      !world.isFaulty ||
      !options.faults.has('targeted') ||
      !random.chance(Math.min(0.5, options.targetedChance * weight))
    )
      return;
    countFault(world, 'targeted');
    const delayUs = random.exponential(random.pick([200, 2_000, 20_000]));
    const isCrash = random.chance(0.6);
    this.later(
      delayUs,
      () => {
        world.note('fault', server.index, () => `targeted ${isCrash ? 'crash' : 'isolation'}`);
        if (isCrash) this.crash(server, false, random.chance(0.7));
        else this.isolate(server.index);
      },
      true,
    );
  }

  /**
   * A leader has just been elected, or has just closed its group. It is cut off from some of the
   * others at that very moment, and ends a little later, perhaps together with those that heard it.
   * What it said is then known to few, or only to disks.
   */
  onLonelyMoment(server: SimulatedServer, weight = 1): void {
    const { world, random } = this;
    const { options } = world;
    if (!world.isFaulty || !options.faults.has('targeted')) return;
    if (!random.chance(Math.min(0.4, options.targetedChance * weight))) return;
    countFault(world, 'lonely leader');
    world.note('fault', server.index, () => 'lonely leader');
    const others = random.shuffle(world.servers.filter((other) => other !== server));
    const deaf = others.slice(0, 1 + random.below(others.length));
    for (const { index } of deaf) this.cut(server.index, index, 300e3);
    const delayUs = (options.latencyUs + options.diskUs) * random.between(0.5, 5);
    this.later(
      delayUs,
      () => {
        this.crash(server, false, random.chance(0.3));
        if (random.chance(0.5)) for (const other of others) if (!deaf.includes(other)) this.crash(other, false, true);
      },
      true,
    );
  }

  /** Everything is repaired. */
  heal(): void {
    const { world } = this;
    world.isFaulty = false;
    world.network.heal();
    world.clients.isBursting = false;
    world.clients.isQuiet = false;
    for (const server of world.servers) {
      server.healMachine();
      server.clock.set(world.queue.nowUs, 0, 0);
      server.startAll();
    }
  }

  /** `action` after about `meanUs`, unless everything has healed before. */
  private later(meanUs: number, action: () => void, isExact = false): void {
    this.world.queue.after(isExact ? meanUs : this.random.exponential(meanUs), () => {
      if (this.world.isFaulty) action();
    });
  }

  /**
   * A majority of the smallest cluster that there may be stays as the log says: else none could
   * tell what is right.
   */
  private diverge(server: SimulatedServer): void {
    const { servers, operator } = this.world;
    const different = servers.filter(({ database }) => database.isTainted).length;
    if (server.database.isTainted || different >= (operator.membersMin - 1) >> 1) return;
    server.database.taint(this.random.below(3));
  }

  private victims(server: SimulatedServer): readonly SimulatedServer[] {
    const { servers } = this.world;
    if (this.random.chance(0.7)) return [server];
    return this.random.shuffle(servers).slice(0, 1 + this.random.below(servers.length));
  }

  private crash(server: SimulatedServer, isPower: boolean, isShort = false): void {
    const { random } = this;
    server.crashReplica(random.chance(0.5));
    if (isPower) {
      server.crashMerger();
      server.crashApplier();
      if (random.chance(0.5)) server.stream.loseTail(random.below(6));
      if (random.chance(0.5)) server.database.loseTail(random.below(6));
    }
    this.later(isShort ? 20e3 : random.pick([20e3, 500e3, 3e6]), () => server.startAll());
  }

  private partition(): void {
    const { servers } = this.world;
    const { random } = this;
    if (random.chance(0.5)) {
      this.isolate(random.below(servers.length));
      return;
    }
    const side = servers.map(() => random.chance(0.5));
    for (const a of servers) {
      for (const b of servers) if (side[a.index] !== side[b.index]) this.cut(a.index, b.index);
    }
  }

  private isolate(index: number): void {
    for (const { index: peer } of this.world.servers) {
      if (peer === index) continue;
      this.cut(index, peer);
      this.cut(peer, index);
    }
  }

  private cut(from: number, to: number, meanUs = 2.5e6): void {
    const { network } = this.world;
    network.setCut(from, to, true);
    this.later(meanUs, () => network.setCut(from, to, false));
  }

  private pickWrongClocks(): void {
    const { servers, options, operator } = this.world;
    // Most clocks are right at all times (clock guard), also when the cluster has become smaller.
    const smallest = options.spares > 0 ? operator.membersMin : options.servers;
    const minority = (smallest - 1) >> 1;
    this.wrongClocks = this.random.shuffle(servers.map(({ index }) => index)).slice(0, minority);
    // Now and then others go wrong instead, once these are right again.
    this.later(8e6, () => {
      for (const index of this.wrongClocks) this.world.servers[index]?.clock.set(this.world.queue.nowUs, 0, 0);
      this.pickWrongClocks();
      this.world.clocksMixedUntilUs = this.world.queue.nowUs + CLOCK_MEMORY_US;
    });
  }

  private wrongClock(action: (server: SimulatedServer) => void): void {
    if (this.wrongClocks.length === 0) return;
    const server = this.world.servers[this.random.pick(this.wrongClocks)];
    if (server !== undefined) action(server);
  }
}
