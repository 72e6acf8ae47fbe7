/**
 * All groups of one server behind one log store and one clock: pure and synchronous, like the
 * groups themselves.
 *
 * The owner calls `advance` with the time, gives what has happened (`receive`, `offer`, `poll`,
 * `written`, `readDone`, `tick`), then calls `run` and does the effects that it returns. Everything
 * that happened in between makes one turn: messages for one peer leave in one envelope, and all
 * that must become durable goes into one write. While a write is in flight the next turn's
 * messages, proposals and writes collect, so batches form by themselves.
 */

import { ClockGuard } from '../../../shared/clock/guard.js';
import type { LoadedState } from '../../../shared/log-store/port.js';
import type {
  ConfigurationChange,
  GroupId,
  LogEntry,
  LogIndex,
  LogPosition,
  MonotonicMs,
  ServerId,
  Timestamp,
} from '../../../shared/raft/entry.js';
import { Group } from '../../../shared/raft/group.js';
import { ofGroup } from '../../../shared/raft/lists.js';
import type { ConfigureRefusal } from '../../../shared/raft/membership.js';
import type { GroupOptions } from '../../../shared/raft/options.js';
import { PromiseLimit } from '../../../shared/raft/promise-limit.js';
import type { Envelope } from '../../../shared/wire/envelope.js';
import type { FeedRequest } from '../../../shared/wire/feed.js';
import { Barriers, isAtLeast } from './barrier.js';
import { Closing } from './closing.js';
import { SLOW_NETWORK_MS } from './closing-by-time.js';
import type { Acknowledgement, CommandRefusal, Effect, QueuedCommand } from './effect.js';
import { Feed } from './feed.js';
import { type GroupLoad, HostedGroup } from './hosted-group.js';
import { Outbox, PATIENCE_MS } from './outbox.js';
import { PeerClocks } from './peer-clocks.js';
import type { ReadEffect } from './read-effect.js';
import { Writes } from './writes.js';

export interface ServerOptions extends Omit<GroupOptions, 'group' | 'server' | 'bootstrap' | 'clock' | 'promiseLimit'> {
  readonly server: ServerId;
  /**
   * The servers that the cluster starts with, in order; none on a server that is to join one (T11).
   */
  readonly servers: readonly ServerId[];
  readonly groups: number;
  /** Largest distance of the own clock from the reference time while leading (microseconds). */
  readonly clockOffsetUsMax: number;
  /** How far ahead of the clock the promise limit is raised (microseconds, T2). */
  readonly promiseWindowUs: number;
  /**
   * Most bytes of entries in one envelope (one message at least): what the transport carries, with
   * room to spare.
   */
  readonly envelopeBytesMax: number;
  /** Most commands that are stamped in one go. */
  readonly proposalsMax: number;
  /**
   * By group, the last entry that this server has applied; null when nothing is known of it
   * (default).
   */
  readonly applied?: () => readonly LogIndex[] | null;
}

/** How long a barrier waits for an answer before it asks again (milliseconds). */
const BARRIER_INTERVAL_MS = 50;

/** How long nothing is patient for a server at which a read began or still waits (milliseconds). */
const HURRY_MS = 10;

export class ReplicaCore<C extends QueuedCommand> {
  /** By group id. */
  readonly groups: readonly Group[];
  private readonly hosted: readonly HostedGroup<C>[];
  readonly clock: ClockGuard;
  private readonly peerClocks: PeerClocks;
  private readonly feed: Feed;
  private readonly effects: Effect<C>[] = [];
  private readonly barriers: Barriers;
  private readonly outbox: Outbox;
  private readonly closing: Closing;
  private readonly writes: Writes;
  /** When the transport was last asked whether a peer takes messages (milliseconds). */
  private readonly probedAtMs = new Map<ServerId, MonotonicMs>();
  private isInstalling = false;
  private physical: Timestamp;
  private nowMs: MonotonicMs;

  constructor(
    private readonly options: ServerOptions,
    loaded: LoadedState,
    time: { physical: Timestamp; nowMs: MonotonicMs },
  ) {
    this.physical = time.physical;
    this.nowMs = time.nowMs;
    this.clock = new ClockGuard({
      offsetUsMax: options.clockOffsetUsMax,
      promiseWindowUs: options.promiseWindowUs,
    });
    this.clock.advance(time.physical, time.nowMs);
    const promiseLimit = new PromiseLimit(loaded.promiseLimit, options.promiseWindowUs);
    const bootstrap = { voters: options.servers, learners: [] };
    const { clock } = this;
    this.hosted = Array.from({ length: options.groups }, (_, id) => {
      const groupOptions = { ...options, group: id, bootstrap, clock, promiseLimit };
      const group = new Group(groupOptions, loaded.groups.get(id) ?? null, time.nowMs);
      return new HostedGroup<C>(id, group, options, clock, (effect) => this.effects.push(effect));
    });
    this.groups = this.hosted.map(({ group }) => group);
    this.closing = new Closing(this.hosted, clock);
    this.writes = new Writes(
      this.groups,
      promiseLimit,
      (batch) => this.effects.push({ type: 'write', batch }),
      (message) => this.outbox.add(message, this.nowMs),
    );
    this.peerClocks = new PeerClocks(options.server, options.groups, this.clock);
    this.feed = new Feed(this.groups);
    const firstBarrier = Math.floor(options.random() * 2 ** 40);
    this.barriers = new Barriers(options.server, firstBarrier, (servers, newest) =>
      this.groups.every((group, id) => {
        const told = newest[id];
        return group.isQuorum(servers) && (told === undefined || isAtLeast(group.configuration, told));
      }),
    );
    this.outbox = new Outbox(options.envelopeBytesMax);
  }

  /**
   * To be called first in a turn: physical time (microseconds since the epoch) and monotonic time
   * (milliseconds).
   */
  advance(physical: Timestamp, nowMs: MonotonicMs): void {
    this.physical = physical;
    this.nowMs = nowMs;
    this.clock.advance(physical, nowMs);
  }

  /** Timers of all groups; every few tens of milliseconds. */
  tick(): void {
    const { isDiskHung } = this;
    const isSlow = this.peerClocks.longestRoundTripMs(this.nowMs) >= SLOW_NETWORK_MS;
    for (const group of this.groups) {
      group.expectSlowNetwork(isSlow);
      group.tick(this.nowMs, isDiskHung);
    }
    this.probeSilentLeaders();
    const applied = this.options.applied?.() ?? null;
    for (const hosted of this.hosted) hosted.backlog.advance(applied?.[hosted.id] ?? null, this.nowMs);
  }

  /**
   * A message of the transport carries so many bytes of entries from now on. A larger entry is sent
   * all the same, and lost.
   */
  carry(bytes: number): void {
    this.outbox.bytesMax = Math.min(this.options.envelopeBytesMax, bytes);
    for (const group of this.groups) group.carry(bytes);
  }

  /** The transport says that no process takes messages for this peer, as an answer to a probe. */
  unreachable(peer: ServerId): void {
    for (const group of this.groups) group.unreachable(peer, this.nowMs);
  }

  /**
   * The write in flight has made no progress for an election timeout. Whatever is in it: behind it
   * nothing is stamped, in any group, while heartbeats would go on (hashicorp/raft 503).
   */
  get isDiskHung(): boolean {
    return this.writes.stuckMs(this.nowMs) >= this.options.electionTimeoutMs;
  }

  /** An envelope of a peer. One of another shape of cluster is ignored; false says so. */
  receive(envelope: Envelope): boolean {
    if (envelope.groups !== this.options.groups || envelope.from === this.options.server) return false;
    this.peerClocks.receive(envelope, this.physical, this.nowMs);
    for (const message of envelope.messages) ofGroup(this.groups, message.group).receive(message, this.nowMs);
    for (const id of envelope.barrierAsks) {
      const configurations = this.groups.map(({ configuration: { term, index } }) => ({ term, index }));
      this.outbox.to(envelope.from).barrierAnswers.push({
        id,
        timestamp: this.largestCommandTimestamp(),
        configurations,
      });
    }
    if (envelope.barrierAsks.length > 0 || envelope.closeUpTo > 0) this.hurry(envelope.from);
    for (const answer of envelope.barrierAnswers) this.barriers.answer(envelope.from, answer);
    this.closing.onAsked(envelope.closeUpTo);
    return true;
  }

  /**
   * Queues a command for the group's log. Returns why not, or null; the effects then tell what
   * becomes of it. `after`: a timestamp that the entry must come after (T7), 0 for none.
   */
  offer(group: GroupId, command: C, after: Timestamp): CommandRefusal | null {
    return ofGroup(this.hosted, group).offer(command, after);
  }

  /**
   * Why no command of this group is queued now, or null: before one is read. One whose client waits
   * until it is applied is not taken while many others wait for that.
   */
  refusal(group: GroupId, acknowledgement: Acknowledgement): CommandRefusal | null {
    const hosted = ofGroup(this.hosted, group);
    const refusal = hosted.refusal(1);
    if (refusal !== null) return refusal;
    return acknowledgement === 'applied' && hosted.isBacklogFull ? 'behind' : null;
  }

  /** Read barriers under way, and how many may be. */
  get barrierFill(): Barriers['fill'] {
    return this.barriers.fill;
  }

  /**
   * Commands wait until those before are applied, or answered earlier: a turn is wanted when that
   * is so.
   */
  get isHolding(): boolean {
    return this.hosted.some(({ isHolding }) => isHolding);
  }

  /** How full what the groups bound is, by group. */
  loads(): GroupLoad[] {
    return this.hosted.map(({ load }) => load);
  }

  /** A merger's long poll; answered by a `feed` effect with the same number. */
  poll(request: number, feed: FeedRequest): void {
    this.feed.add(request, feed);
  }

  forgetPoll(request: number): void {
    this.feed.remove(request);
  }

  /**
   * Begins a read barrier (T6): a `barrier` effect with the same number says when this server may
   * read, and from where on. False when too many are under way.
   */
  barrier(request: number): boolean {
    return this.barriers.begin(request, this.largestCommandTimestamp());
  }

  forgetBarrier(request: number): void {
    this.barriers.remove(request);
  }

  /** The write in flight is durable. */
  written(): void {
    this.writes.done(this.nowMs);
  }

  /** The write in flight has failed and changed nothing: the same batch is to be tried again. */
  retryWrite(): void {
    this.writes.retry();
  }

  /**
   * What a `read` effect found; no entries when the store failed, the need comes back by itself.
   */
  readDone(effect: ReadEffect, entries: readonly LogEntry[]): void {
    if (effect.follower === null) this.feed.onRead(effect, entries);
    else ofGroup(this.groups, effect.group).entriesRead(effect.follower, entries, this.nowMs);
  }

  /**
   * Hands every leadership of this server to another server, as far as that can be (graceful stop).
   */
  handOver(): void {
    for (const group of this.groups) group.transfer(null, this.nowMs);
  }

  /**
   * Whether commands of a leadership that ended still wait to hear whether they are committed (T9).
   */
  get hasUnresolved(): boolean {
    return this.hosted.some(({ hasUnresolved }) => hasUnresolved);
  }

  transfer(group: GroupId, target: ServerId | null): boolean {
    return ofGroup(this.groups, group).transfer(target, this.nowMs);
  }

  /** T11: see Group.configure. */
  configure(group: GroupId, change: ConfigurationChange): ConfigureRefusal | null {
    return ofGroup(this.groups, group).configure(change, this.nowMs);
  }

  /** T10: snapshots cover these positions, one a group, which the own state machine has applied. */
  compact(positions: readonly LogPosition[]): void {
    for (const [id, position] of positions.entries()) ofGroup(this.groups, id).compact(position, this.nowMs);
  }

  /**
   * Answers `snapshot-needed` (T10): where the state machine is now, one position a group; null
   * when it could not be done.
   */
  installed(positions: readonly LogPosition[] | null): void {
    this.isInstalling = false;
    for (const hosted of this.hosted) hosted.installed(positions?.[hosted.id]);
  }

  /**
   * When to call `run` again although nothing happens: a close waits for its interval, or something
   * patient has waited for long enough (milliseconds, monotonic). Later is no harm: every other
   * turn looks as well.
   */
  nextWakeMs(): MonotonicMs | null {
    let next = this.outbox.nextDueMs() ?? Number.POSITIVE_INFINITY;
    next = Math.min(next, this.closing.nextDueMs() ?? next);
    // Behind a write nothing is stamped.
    if (!this.writes.isUnderWay) for (const { nextStampMs } of this.hosted) next = Math.min(next, nextStampMs ?? next);
    for (const group of this.groups) {
      next = Math.min(next, group.nextClaimMs() ?? next);
      for (const [, sinceMs] of group.owed()) next = Math.min(next, sinceMs + PATIENCE_MS);
    }
    return next === Number.POSITIVE_INFINITY ? null : next;
  }

  /**
   * T7: every entry at or below this has its final place in the merged log as soon as it is
   * committed.
   */
  lowestWatermark(): Timestamp {
    let lowest = Number.POSITIVE_INFINITY;
    for (const group of this.groups) lowest = Math.min(lowest, group.watermark);
    return lowest;
  }

  /** Ends the turn: everything that is to be done now, in order. */
  run(): Effect<C>[] {
    // A write that turns out to be empty releases messages, which may move things on; so until
    // nothing moves.
    do {
      if (!this.writes.isUnderWay) this.stampQueued();
      this.close();
      for (const hosted of this.hosted) hosted.collectEvents(this.nowMs);
      this.askForSnapshot();
    } while (!this.writes.isUnderWay && this.writes.begin(this.nowMs));
    this.collectMessages();
    for (const [to, contents, isProbe] of this.outbox.take(this.nowMs)) {
      const envelope = this.peerClocks.wrap(to, contents, this.physical, this.nowMs);
      this.effects.push({ type: 'send', to, envelope, isProbe });
    }
    this.report();
    return this.effects.splice(0);
  }

  private stampQueued(): void {
    const roundTripMs = this.peerClocks.longestRoundTripMs(this.nowMs);
    const applied = this.options.applied?.() ?? null;
    for (const hosted of this.hosted) hosted.stampQueued(roundTripMs, applied?.[hosted.id] ?? null, this.nowMs);
  }

  /**
   * A leader whose process is gone falls silent; the transport knows at once that no messages are
   * taken any more.
   */
  private probeSilentLeaders(): void {
    for (const group of this.groups) {
      const leader = group.silentLeader(this.nowMs);
      if (
        leader === null ||
        this.nowMs - (this.probedAtMs.get(leader) ?? Number.NEGATIVE_INFINITY) < this.options.heartbeatMs
      )
        continue;
      this.probedAtMs.set(leader, this.nowMs);
      this.outbox.probe(leader);
    }
  }

  /** T5 */
  private close(): void {
    const { closing, nowMs } = this;
    closing.onDemand([this.feed.waitingFor, this.barriers.waitingFor], this.writes.isUnderWay, nowMs);
    closing.inTime(this.largestCommandTimestamp(), this.peerClocks.longestRoundTripMs(nowMs), nowMs);
  }

  /** Groups that are led here close up to the clock again and again (T5). */
  get isClosingByTime(): boolean {
    return this.closing.nextDueMs() !== null;
  }

  /** T10: one snapshot for all groups, one request at a time. */
  private askForSnapshot(): void {
    if (this.isInstalling || this.hosted.every(({ neededSnapshot }) => neededSnapshot === 0)) return;
    this.isInstalling = true;
    const atLeast = this.hosted.map(({ neededSnapshot }) => neededSnapshot);
    this.effects.push({ type: 'snapshot-needed', atLeast });
  }

  private collectMessages(): void {
    const { outbox, nowMs } = this;
    for (const group of this.groups) for (const message of group.takeMessages()) outbox.add(message, nowMs);
    this.barriers.recount();
    for (const { id, missing } of this.barriers.asks(nowMs, BARRIER_INTERVAL_MS)) {
      for (const peer of this.peers()) if (missing(peer)) outbox.to(peer).barrierAsks.push(id);
    }
    if (this.barriers.areWaiting) for (const peer of this.peers()) this.hurry(peer);
    const closeUpTo = this.barriers.nudge(this.lowestWatermark(), nowMs, BARRIER_INTERVAL_MS);
    if (closeUpTo > 0) for (const peer of this.peers()) outbox.to(peer).closeUpTo = closeUpTo;
    this.collectOwed();
  }

  /**
   * What the groups owe to peers that get an envelope now, or have been owed something for long
   * enough.
   */
  private collectOwed(): void {
    const { outbox, nowMs } = this;
    const oldest = new Map<ServerId, number>();
    for (const group of this.groups) {
      for (const [peer, sinceMs] of group.owed()) oldest.set(peer, Math.min(oldest.get(peer) ?? sinceMs, sinceMs));
    }
    for (const [peer, sinceMs] of oldest) {
      if (!outbox.isLeaving(peer, nowMs, sinceMs)) continue;
      for (const group of this.groups) for (const message of group.takeOwed(peer, nowMs)) outbox.add(message, nowMs);
    }
    // A follower that has fallen behind may need what only the log store has.
    for (const hosted of this.hosted) hosted.collectEvents(nowMs);
  }

  /** A read waits for what this server and `peer` have to say to each other. */
  private hurry(peer: ServerId): void {
    this.outbox.hurry(peer, this.nowMs + HURRY_MS);
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

  private report(): void {
    const lowest = this.lowestWatermark();
    for (const hosted of this.hosted) hosted.report(lowest, this.nowMs);
    for (const request of this.barriers.passed(lowest)) {
      const positions = this.groups.map((group) => group.lastCommittedCommand);
      this.effects.push({ type: 'barrier', request, positions });
    }
    const { answers, reads } = this.feed.serve();
    this.effects.push(...reads);
    for (const answer of answers) this.effects.push({ type: 'feed', ...answer });
  }
}
