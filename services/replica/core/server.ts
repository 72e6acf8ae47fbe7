/**
 * All groups of one server behind one log store and one clock: pure and synchronous, like the groups themselves.
 *
 * The owner calls `advance` with the time, gives what has happened (`receive`, `offer`, `poll`, `written`, `readDone`,
 * `tick`), then calls `run` and does the effects that it returns. Everything that happened in between makes one turn:
 * messages for one peer leave in one envelope, and all that must become durable goes into one write. While a write is in
 * flight the next turn's messages, proposals and writes collect, so batches form by themselves.
 */
import { ClockGuard } from '../../../shared/clock/guard.js';
import type { GroupWrite, LoadedState, WriteBatch } from '../../../shared/log-store/port.js';
import {
  EntryKind,
  type GroupId,
  type Index,
  type LogEntry,
  type LogPosition,
  type ServerId,
  type Timestamp,
} from '../../../shared/raft/entry.js';
import { Group, type PendingWrite } from '../../../shared/raft/group.js';
import type { ConfigurationChange, ConfigureRefusal } from '../../../shared/raft/membership.js';
import type { Envelope } from '../../../shared/raft/message.js';
import type { GroupOptions } from '../../../shared/raft/options.js';
import { PromiseLimit } from '../../../shared/raft/promise.js';
import { Barriers, isAtLeast } from './barrier.js';
import { CommandQueue } from './command-queue.js';
import { Doubts } from './doubts.js';
import type { CommandRefusal, Effect, QueuedCommand, ReadEffect } from './effect.js';
import { Feed, type FeedRequest } from './feed.js';
import { Links } from './links.js';
import { Outbox } from './outbox.js';
import { Watching } from './watching.js';

export interface ServerOptions extends Omit<GroupOptions, 'group' | 'server' | 'bootstrap' | 'clock' | 'promiseLimit'> {
  readonly server: ServerId;
  /** The servers that the cluster starts with, in order; none on a server that is to join one (T11). */
  readonly servers: readonly ServerId[];
  readonly groups: number;
  /** Largest distance of the own clock from the reference time while leading (microseconds). */
  readonly clockOffsetUsMax: number;
  /** How far ahead of the clock the promise limit is raised (microseconds, T2). */
  readonly promiseWindowUs: number;
  /** Most bytes of entries in one envelope (one message at least): what the transport carries, with room to spare. */
  readonly envelopeBytesMax: number;
  /** Most commands that are stamped in one go. */
  readonly proposalsMax: number;
}

/** Commands of one group that wait to be reported; while a group has no leader, `ordered` ones of the others pile up. */
const WATCHED_MAX = 65_536;

/**
 * How long the fate of what a lost leadership left behind is waited for, as a share of the election timeout: whoever was replaced knows
 * it after a round trip; whoever was cut off does not, and its clients may want to ask elsewhere.
 */
const DOUBT_SHARE = 0.5;

/** How long a barrier waits for an answer before it asks again (milliseconds). */
const BARRIER_INTERVAL_MS = 50;

/** What one group put into a write, and what waits for it. */
interface GroupPending {
  readonly group: Group;
  readonly write: PendingWrite;
}

/** The one write that the store works on, tried again for as long as it fails. */
interface InFlight {
  readonly batch: WriteBatch;
  readonly pending: readonly GroupPending[];
  readonly limit: Timestamp | null;
  /** Since its first try (milliseconds, monotonic). */
  readonly sinceMs: number;
}

export class ReplicaCore<C extends QueuedCommand> {
  readonly groups: readonly Group[];
  readonly clock: ClockGuard;
  private readonly limit: PromiseLimit;
  private readonly links: Links;
  private readonly feed: Feed;
  private readonly queues: CommandQueue<C>[];
  private readonly watching: Watching<C>[];
  private readonly doubts: Doubts<C>[];
  private readonly effects: Effect<C>[] = [];
  private readonly barriers: Barriers;
  private readonly outbox: Outbox;
  /** The largest timestamp that a barrier of some other server waits for (T6). */
  private closeUpToElsewhere: Timestamp = 0;
  /** Peers that the transport is to be asked about with the next envelope; and when each was asked about last (milliseconds). */
  private readonly probes = new Set<ServerId>();
  private readonly probedAtMs = new Map<ServerId, number>();
  private inFlight: InFlight | null = null;
  /** For each group the index that a snapshot must reach; 0 where none is needed (T10). */
  private readonly neededSnapshots: Index[];
  private isInstalling = false;
  private physical: Timestamp;
  private nowMs: number;

  constructor(
    private readonly options: ServerOptions,
    loaded: LoadedState,
    time: { physical: Timestamp; nowMs: number },
  ) {
    this.physical = time.physical;
    this.nowMs = time.nowMs;
    this.clock = new ClockGuard({
      offsetUsMax: options.clockOffsetUsMax,
      promiseWindowUs: options.promiseWindowUs,
    });
    this.clock.advance(time.physical, time.nowMs);
    this.limit = new PromiseLimit(loaded.promiseLimit, options.promiseWindowUs);
    const bootstrap = { voters: options.servers, learners: [] };
    this.groups = Array.from({ length: options.groups }, (_, group) => {
      const { clock, limit: promiseLimit } = this;
      const groupOptions = { ...options, group, bootstrap, clock, promiseLimit };
      return new Group(groupOptions, loaded.groups.get(group) ?? null, time.nowMs);
    });
    this.links = new Links(options.server, options.groups, this.clock);
    this.feed = new Feed(this.groups);
    const firstBarrier = Math.floor(options.random() * 2 ** 40);
    this.neededSnapshots = this.groups.map(() => 0);
    this.barriers = new Barriers(options.server, firstBarrier, (servers, newest) =>
      this.groups.every((group, id) => {
        const told = newest[id];
        return group.isQuorum(servers) && (told === undefined || isAtLeast(group.configuration, told));
      }),
    );
    this.queues = this.groups.map(() => new CommandQueue());
    this.outbox = new Outbox(options.envelopeBytesMax);
    this.watching = this.groups.map(() => new Watching());
    this.doubts = this.groups.map(() => new Doubts());
  }

  /** To be called first in a turn: physical time (microseconds since the epoch) and monotonic time (milliseconds). */
  advance(physical: Timestamp, nowMs: number): void {
    this.physical = physical;
    this.nowMs = nowMs;
    this.clock.advance(physical, nowMs);
  }

  /** Timers of all groups; every few tens of milliseconds. */
  tick(): void {
    const { isDiskHung } = this;
    for (const group of this.groups) group.tick(this.nowMs, isDiskHung);
    this.probeSilentLeaders();
  }

  /** The transport says that no process takes messages for this peer, as an answer to a probe. */
  unreachable(peer: ServerId): void {
    for (const group of this.groups) group.unreachable(peer, this.nowMs);
  }

  /**
   * The write in flight has made no progress for an election timeout. Whatever is in it: behind it nothing is stamped, in any group, while
   * heartbeats would go on (hashicorp/raft 503).
   */
  get isDiskHung(): boolean {
    return this.inFlight !== null && this.nowMs - this.inFlight.sinceMs >= this.options.electionTimeoutMs;
  }

  /** An envelope of a peer. One of another shape of cluster is ignored; false says so. */
  receive(envelope: Envelope): boolean {
    if (envelope.groups !== this.options.groups || envelope.from === this.options.server) return false;
    this.links.receive(envelope, this.physical, this.nowMs);
    for (const message of envelope.messages) this.groups[message.group]?.receive(message, this.nowMs);
    for (const id of envelope.barrierAsks) {
      const configurations = this.groups.map(({ configuration: { term, index } }) => ({ term, index }));
      this.outbox.to(envelope.from).barrierAnswers.push({
        id,
        timestamp: this.largestCommandTimestamp(),
        configurations,
      });
    }
    for (const answer of envelope.barrierAnswers) this.barriers.answer(envelope.from, answer);
    // An ask beyond the bound can wait until it is asked again; remembered, it would hide every smaller one.
    if (envelope.closeUpTo <= this.clock.bound()) {
      this.closeUpToElsewhere = Math.max(this.closeUpToElsewhere, envelope.closeUpTo);
    }
    return true;
  }

  /**
   * Queues a command for the group's log. Returns why not, or null; the effects then tell what becomes of it. `after`: a
   * timestamp that the entry must come after (T7), 0 for none.
   */
  offer(group: GroupId, command: C, after: Timestamp): CommandRefusal | null {
    const core = this.groups[group];
    const queue = this.queues[group];
    if (core === undefined || queue === undefined || !core.isTaking) return 'not-leader';
    if (queue.bytes + core.uncommittedBytes + command.body.length > this.options.uncommittedBytesMax) {
      return 'overloaded';
    }
    if ((this.watching[group]?.size ?? 0) >= WATCHED_MAX) return 'overloaded';
    if (after > this.clock.bound()) return 'after-beyond-bound';
    queue.add(command, after);
    return null;
  }

  /** A merger's long poll; answered by a `feed` effect with the same number. */
  poll(request: number, feed: FeedRequest): void {
    this.feed.add(request, feed);
  }

  forgetPoll(request: number): void {
    this.feed.remove(request);
  }

  /**
   * Begins a read barrier (T6): a `barrier` effect with the same number says when this server may read, and from where on.
   * False when too many are under way.
   */
  barrier(request: number): boolean {
    return this.barriers.begin(request, this.largestCommandTimestamp());
  }

  forgetBarrier(request: number): void {
    this.barriers.remove(request);
  }

  /** The write in flight is durable. */
  written(): void {
    const { inFlight } = this;
    if (inFlight === null) throw new Error('no write is in flight');
    this.inFlight = null;
    if (inFlight.limit !== null) this.limit.written(inFlight.limit);
    this.release(inFlight.pending);
    if (inFlight.limit !== null) for (const group of this.groups) group.limitRaised(this.nowMs);
  }

  /** The write in flight has failed and changed nothing: the same batch is to be tried again. */
  retryWrite(): void {
    if (this.inFlight === null) throw new Error('no write is in flight');
    this.effects.push({ type: 'write', batch: this.inFlight.batch });
  }

  /** What a `read` effect found; no entries when the store failed, the need comes back by itself. */
  readDone(effect: ReadEffect, entries: readonly LogEntry[]): void {
    if (effect.follower === null) this.feed.onRead(effect, entries);
    else this.groups[effect.group]?.entriesRead(effect.follower, entries, this.nowMs);
  }

  /** Hands every leadership of this server to somebody else, as far as that can be (graceful stop). */
  handOver(): void {
    for (const group of this.groups) group.transfer(null, this.nowMs);
  }

  /** Whether commands of a leadership that ended still wait to hear whether they are committed (T9). */
  get hasDoubts(): boolean {
    return this.doubts.some((doubts) => !doubts.isEmpty);
  }

  transfer(group: GroupId, target: ServerId | null): boolean {
    return this.groups[group]?.transfer(target, this.nowMs) ?? false;
  }

  /** T11: see Group.configure. */
  configure(group: GroupId, change: ConfigurationChange): ConfigureRefusal | null {
    return this.groups[group]?.configure(change, this.nowMs) ?? null;
  }

  /** T10: snapshots cover these positions, one a group, which the own state machine has applied. */
  compact(positions: readonly LogPosition[]): void {
    for (const [id, position] of positions.entries()) this.groups[id]?.compact(position, this.nowMs);
  }

  /** Answers `snapshot-needed` (T10): where the state machine is now, one position a group; null when it could not be done. */
  installed(positions: readonly LogPosition[] | null): void {
    this.isInstalling = false;
    for (const [id, group] of this.groups.entries()) {
      const position = positions?.[id];
      if (position !== undefined && this.neededSnapshots[id] !== 0) group.install(position);
      // A group that could not use it hears from its leader again.
      this.neededSnapshots[id] = 0;
    }
  }

  /** When to call `run` again although nothing happens: a close waits for its interval (milliseconds, monotonic). */
  nextWakeMs(): number | null {
    let next: number | null = null;
    for (const group of this.groups) {
      const at = group.nextClaimMs();
      if (at !== null && (next === null || at < next)) next = at;
    }
    return next;
  }

  /** T7: every entry at or below this has its final place in the merged log as soon as it is committed. */
  lowestWatermark(): Timestamp {
    let lowest = Number.POSITIVE_INFINITY;
    for (const group of this.groups) lowest = Math.min(lowest, group.watermark);
    return lowest;
  }

  /** Ends the turn: everything that is to be done now, in order. */
  run(): Effect<C>[] {
    // A write that turns out to be empty releases messages, which may move things on; so until nothing moves.
    do {
      if (this.inFlight === null) this.stampQueued();
      this.closeOnDemand();
      this.collectEvents();
    } while (this.inFlight === null && this.startWrite());
    this.collectMessages();
    for (const [to, contents] of this.outbox.take()) {
      const isProbe = this.probes.delete(to);
      const envelope = this.links.wrap(to, contents, this.physical, this.nowMs);
      this.effects.push({ type: 'send', to, envelope, isProbe });
    }
    this.report();
    return this.effects.splice(0);
  }

  /** A leader whose process is gone falls silent; the transport knows at once that no messages are taken any more. */
  private probeSilentLeaders(): void {
    for (const group of this.groups) {
      const leader = group.silentLeader(this.nowMs);
      if (leader === null || this.nowMs - (this.probedAtMs.get(leader) ?? 0) < this.options.heartbeatMs) continue;
      this.probedAtMs.set(leader, this.nowMs);
      this.probes.add(leader);
      // An envelope leaves for it, also when there is nothing to say.
      this.outbox.to(leader);
    }
  }

  private stampQueued(): void {
    for (const [id, queue] of this.queues.entries()) {
      if (queue.length === 0) continue;
      const { commands, after } = queue.take(this.options.proposalsMax);
      // T7: now, not when they came, since the clock may have been taken back meanwhile.
      if (!this.clock.observe(after)) {
        this.effects.push({ type: 'refused', commands, reason: 'clock' });
        continue;
      }
      const proposals = commands.map(({ body }) => ({ kind: EntryKind.command, body }));
      const result = this.groups[id]?.propose(proposals, this.nowMs) ?? 'not-leader';
      if (typeof result === 'string') {
        this.effects.push({ type: 'refused', commands, reason: result });
        continue;
      }
      for (const [i, entry] of result.entries()) {
        const command = commands[i];
        if (command === undefined || (!command.isWatched && command.acknowledgement === 'applied')) continue;
        const { index, term, timestamp } = entry;
        this.watching[id]?.add({ command, index, term, timestamp });
      }
    }
  }

  /** Leadership is gone: what was only queued is in no log, and its clients need not wait for a write to hear so. */
  private refuseQueued(id: GroupId): void {
    const queue = this.queues[id];
    if (queue === undefined || queue.length === 0) return;
    this.effects.push({ type: 'refused', commands: queue.take(queue.length).commands, reason: 'not-leader' });
  }

  /** T5: every group that this server leads closes up to what the other groups have, or what a merger waits for. */
  private closeOnDemand(): void {
    const bound = this.clock.bound();
    const asked = [this.feed.waitingFor, this.barriers.waitingFor, this.closeUpToElsewhere];
    // Nobody closes beyond the clock's bound; who waits for that waits for the clocks.
    const waitingFor = Math.max(...asked.filter((timestamp) => timestamp <= bound), 0);
    for (const [id, group] of this.groups.entries()) {
      if (group.role !== 'leader') continue;
      // What is queued is stamped when the write in flight is done, and that does as well as a close.
      if (this.inFlight !== null && (this.queues[id]?.length ?? 0) > 0) continue;
      let wanted = waitingFor;
      for (const other of this.groups) {
        const timestamp = other.lastCommandTimestamp;
        if (other !== group && timestamp <= bound) wanted = Math.max(wanted, timestamp);
      }
      if (wanted > group.lastTimestamp && wanted > group.closed) group.closeUpTo(wanted, this.nowMs);
    }
  }

  private collectEvents(): void {
    for (const [id, group] of this.groups.entries()) {
      for (const event of group.takeEvents()) {
        switch (event.type) {
          case 'became-leader':
            this.effects.push({ type: 'leading', group: id, term: event.term });
            break;
          case 'lost-leadership': {
            this.refuseQueued(id);
            const { term, uncommitted } = event;
            // Some of it was perhaps stamped by earlier leaders, who answer for that.
            const entries = uncommitted.filter((entry) => entry.term === term && entry.kind === EntryKind.command);
            const [first] = entries;
            const waiting = first === undefined ? [] : (this.watching[id]?.dropFrom(first.index) ?? []);
            this.doubts[id]?.add({ term, entries, waiting }, this.nowMs + this.options.electionTimeoutMs * DOUBT_SHARE);
            this.effects.push({ type: 'lost', group: id, term });
            break;
          }
          case 'read': {
            const { follower, from, to } = event;
            const bytesMax = this.options.appendBytesMax;
            this.effects.push({ type: 'read', group: id, from, to, bytesMax, follower });
            break;
          }
          case 'snapshot-needed':
            this.neededSnapshots[id] = event.index;
            break;
          case 'clock-refused':
            this.effects.push({ ...event, group: id });
            break;
        }
      }
    }
    if (this.isInstalling || this.neededSnapshots.every((index) => index === 0)) return;
    this.isInstalling = true;
    this.effects.push({ type: 'snapshot-needed', atLeast: [...this.neededSnapshots] });
  }

  /** Gives the next write to the store. True when nothing had to be written but something could be released. */
  private startWrite(): boolean {
    const pending: GroupPending[] = [];
    const groups: GroupWrite[] = [];
    for (const [id, group] of this.groups.entries()) {
      const write = group.takeWrite();
      if (write === null) continue;
      pending.push({ group, write });
      if (write.write !== null) groups.push({ group: id, ...write.write });
    }
    const limit = this.limit.forWrite(this.trustedTimestamp(), groups.length > 0);
    if (groups.length === 0 && limit === null) {
      this.release(pending);
      return pending.length > 0;
    }
    const batch: WriteBatch = limit === null ? { groups } : { groups, promiseLimit: limit };
    this.inFlight = { batch, pending, limit, sinceMs: this.nowMs };
    this.effects.push({ type: 'write', batch });
    return false;
  }

  private trustedTimestamp(): Timestamp {
    let largest = 0;
    for (const group of this.groups) largest = Math.max(largest, group.trustedTimestamp);
    return largest;
  }

  private release(pending: readonly GroupPending[]): void {
    for (const { group, write } of pending) {
      for (const message of write.after) this.outbox.add(message);
      group.written(write, this.nowMs);
    }
  }

  private collectMessages(): void {
    for (const group of this.groups) for (const message of group.takeMessages()) this.outbox.add(message);
    this.barriers.recount();
    for (const { id, missing } of this.barriers.asks(this.nowMs, BARRIER_INTERVAL_MS)) {
      for (const peer of this.peers()) if (missing(peer)) this.outbox.to(peer).barrierAsks.push(id);
    }
    const closeUpTo = this.barriers.nudge(this.lowestWatermark(), this.nowMs, BARRIER_INTERVAL_MS);
    if (closeUpTo > 0) for (const peer of this.peers()) this.outbox.to(peer).closeUpTo = closeUpTo;
  }

  /** Every other member of some group. */
  private peers(): ReadonlySet<ServerId> {
    const members = this.groups.flatMap(({ configuration }) => [...configuration.voters, ...configuration.learners]);
    const peers = new Set(members);
    peers.delete(this.options.server);
    return peers;
  }

  private largestCommandTimestamp(): Timestamp {
    let largest = 0;
    for (const group of this.groups) largest = Math.max(largest, group.lastCommandTimestamp);
    return largest;
  }

  /** T9: before anything newer is reported, so that what is committed after all becomes ordered in its turn. */
  private settleDoubts(id: GroupId, group: Group, watching: Watching<C>): void {
    const doubts = this.doubts[id];
    if (doubts === undefined || doubts.isEmpty) return;
    for (const { fate, entries, waiting } of doubts.settle(group, this.nowMs)) {
      if (fate === 'committed') {
        // The applier answers for the rest.
        for (const placed of waiting) {
          this.effects.push({ type: 'committed', group: id, placed });
          watching.onCommitted(placed);
        }
        continue;
      }
      const outcome = fate === 'replaced' ? 'replaced' : 'unknown';
      this.effects.push({ type: 'failed', group: id, outcome, entries, waiting });
    }
  }

  private report(): void {
    const lowest = this.lowestWatermark();
    for (const [id, watching] of this.watching.entries()) {
      const group = this.groups[id];
      if (group === undefined) continue;
      this.settleDoubts(id, group, watching);
      for (const placed of watching.committed(group.commitIndex)) {
        this.effects.push({ type: 'committed', group: id, placed });
      }
      for (const placed of watching.ordered(lowest)) this.effects.push({ type: 'ordered', group: id, placed });
    }
    for (const request of this.barriers.passed(lowest)) {
      const positions = this.groups.map((group) => group.lastCommittedCommand);
      this.effects.push({ type: 'barrier', request, positions });
    }
    const { answers, reads } = this.feed.serve();
    this.effects.push(...reads);
    for (const answer of answers) this.effects.push({ type: 'feed', ...answer });
  }
}
