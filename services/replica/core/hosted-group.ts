/**
 * One group as this server hosts it: the consensus core of its replica, with the commands that wait
 * to be stamped and the acknowledgements that are due. Also what a lost leadership left unresolved,
 * and the snapshot that its log needs.
 *
 * Whatever the owner is to do about it goes to `emit`, in order.
 */

import {
  EntryKind,
  type GroupId,
  type LogIndex,
  type LogPosition,
  type MonotonicMs,
  type Timestamp,
} from '../../../shared/raft/entry.js';
import type { Group } from '../../../shared/raft/group.js';
import { itemAt } from '../../../shared/raft/lists.js';
import type { GroupClock } from '../../../shared/raft/options.js';
import type { GroupEvent } from '../../../shared/raft/state.js';
import { AcknowledgementTracker } from './acknowledgement-tracker.js';
import { Backlog } from './backlog.js';
import { CommandQueue } from './command-queue.js';
import type { CommandRefusal, Effect, QueuedCommand } from './effect.js';
import { Gathering } from './gathering.js';
import { UnresolvedCommands } from './unresolved-commands.js';

export interface HostedGroupOptions {
  /** Uncommitted and queued bytes beyond which commands are refused. */
  readonly uncommittedBytesMax: number;
  /** Most commands that are stamped in one go. */
  readonly proposalsMax: number;
  /** Most bytes that are read from the log store in one go. */
  readonly appendBytesMax: number;
  readonly electionTimeoutMs: number;
}

/** A number and its bound. */
interface Fill {
  readonly now: number;
  readonly max: number;
}

export interface GroupLoad {
  /** Queued and uncommitted. */
  readonly uncommittedBytes: Fill;
  /** Commands that the owner is to be told of. */
  readonly acknowledgements: Fill;
  /** Commands that wait to be applied here; undefined when nothing is known of that. */
  readonly backlog: Fill | undefined;
}

/**
 * Commands that wait to be reported; while a group has no leader, `ordered` ones of the others pile
 * up.
 */
const ACKNOWLEDGEMENTS_MAX = 65_536;

/**
 * How long the outcome of what a lost leadership left behind is waited for, as a share of the
 * election timeout. A server that was replaced knows it after a round trip. One that was cut off
 * does not, and its clients may want to ask elsewhere.
 */
const UNRESOLVED_SHARE = 0.5;

export class HostedGroup<C extends QueuedCommand> {
  /** Commands that wait to be applied here. */
  readonly backlog = new Backlog();
  private readonly queue = new CommandQueue<C>();
  private readonly gathering = new Gathering();
  private readonly acknowledgements = new AcknowledgementTracker<C>();
  private readonly unresolved = new UnresolvedCommands<C>();
  private snapshotIndex: LogIndex = 0;
  /** Of the last batch, the last command whose client waits until it is applied here; 0: none. */
  private lastToApply: LogIndex = 0;
  /** The last entry applied here; null: not known. */
  private applied: LogIndex | null = null;

  constructor(
    readonly id: GroupId,
    readonly group: Group,
    private readonly options: HostedGroupOptions,
    private readonly clock: Pick<GroupClock, 'observe' | 'bound'>,
    private readonly emit: (effect: Effect<C>) => void,
  ) {}

  /**
   * Whether commands of a leadership that ended still wait to hear whether they are committed (T9).
   */
  get hasUnresolved(): boolean {
    return !this.unresolved.isEmpty;
  }

  /** Whether commands wait to be stamped. */
  get hasQueued(): boolean {
    return this.queue.length > 0;
  }

  /**
   * Whether so many commands wait to be applied here that another one would have to wait for too
   * long.
   */
  get isBacklogFull(): boolean {
    return this.backlog.isFull(this.group.lastIndex + this.queue.length);
  }

  /** How full what this group bounds is. */
  get load(): GroupLoad {
    const { group, queue, options, acknowledgements, backlog } = this;
    return {
      uncommittedBytes: { now: queue.bytes + group.uncommittedBytes, max: options.uncommittedBytesMax },
      acknowledgements: { now: acknowledgements.size, max: ACKNOWLEDGEMENTS_MAX },
      backlog: backlog.fill(group.lastIndex + queue.length),
    };
  }

  /** The index that a snapshot must reach before the log can go on; 0 when none is needed (T10). */
  get neededSnapshot(): LogIndex {
    return this.snapshotIndex;
  }

  /** Why no command with a body of `bytes` is queued now, or null. */
  refusal(bytes: number): CommandRefusal | null {
    const { group, queue } = this;
    if (!group.isTaking) return 'not-leader';
    if (queue.bytes + group.uncommittedBytes + bytes > this.options.uncommittedBytesMax) return 'overloaded';
    return this.acknowledgements.size >= ACKNOWLEDGEMENTS_MAX ? 'overloaded' : null;
  }

  /**
   * Queues a command. Returns why not, or null. `after`: a timestamp that the entry must come after
   * (T7), 0 for none.
   */
  offer(command: C, after: Timestamp): CommandRefusal | null {
    const { queue } = this;
    const refusal = this.refusal(command.body.length);
    if (refusal !== null) return refusal;
    if (after > this.clock.bound()) return 'after-beyond-bound';
    queue.add(command, after);
    return null;
  }

  /** When gathered commands are due to be stamped, or null (milliseconds, monotonic). */
  get nextStampMs(): MonotonicMs | null {
    // What they wait for was reported in this turn.
    if (this.isHolding && this.isAnswered) return 0;
    return this.gathering.nextDueMs();
  }

  /** Whether the clients of the last batch have their answers, as far as is known. */
  private get isAnswered(): boolean {
    return this.acknowledgements.size === 0 && (this.applied === null || this.applied >= this.lastToApply);
  }

  /** Commands wait until those before are answered. */
  get isHolding(): boolean {
    return this.gathering.isHeld;
  }

  /**
   * Appends what is queued to the log, unless more is worth waiting for. `roundTripMs`: to the
   * farthest peer, 0 when none is known. `applied`: last entry applied here; null: not known.
   */
  stampQueued(roundTripMs: number, applied: LogIndex | null, nowMs: MonotonicMs): void {
    const { group, queue, gathering, emit } = this;
    if (queue.length === 0) return;
    this.applied = applied;
    const waiting = { count: queue.length, bytes: queue.bytes, isAnswered: this.isAnswered, roundTripMs };
    if (!gathering.isOver(waiting, nowMs)) return;
    const { commands, after } = queue.take(this.options.proposalsMax);
    gathering.stamped(commands.length, group.lastIndex + commands.length, nowMs);
    this.lastToApply = 0;
    // T7: now, not when they came, since the clock may have been taken back meanwhile.
    if (!this.clock.observe(after)) {
      emit({ type: 'refused', commands, reason: 'clock' });
      return;
    }
    const proposals = commands.map(({ body }) => ({ kind: EntryKind.command, body }));
    const result = group.propose(proposals, nowMs);
    if (typeof result === 'string') {
      emit({ type: 'refused', commands, reason: result });
      return;
    }
    for (const [i, entry] of result.entries()) {
      const command = itemAt(commands, i);
      // The applier answers these.
      const isAppliers = command.acknowledgement === 'applied';
      if (command.isAwaited && isAppliers) this.lastToApply = entry.index;
      if (!command.isWatched && (isAppliers || !command.isAwaited)) continue;
      const { index, term, timestamp } = entry;
      this.acknowledgements.add({ command, index, term, timestamp });
    }
  }

  /** Acts on what the group wants its owner to know. */
  collectEvents(nowMs: MonotonicMs): void {
    for (const event of this.group.takeEvents()) this.onEvent(event, nowMs);
  }

  private onEvent(event: GroupEvent, nowMs: MonotonicMs): void {
    const { id, emit } = this;
    switch (event.type) {
      case 'became-leader':
        emit({ type: 'leading', group: id, term: event.term });
        break;
      case 'lost-leadership':
        this.onLostLeadership(event, nowMs);
        break;
      case 'read': {
        const { follower, from, to } = event;
        emit({ type: 'read', group: id, from, to, bytesMax: this.options.appendBytesMax, follower });
        break;
      }
      case 'snapshot-needed':
        this.snapshotIndex = event.index;
        break;
      case 'impossible':
      case 'clock-refused':
        emit({ ...event, group: id });
        break;
    }
  }

  private onLostLeadership(
    { term, uncommitted }: GroupEvent & { readonly type: 'lost-leadership' },
    nowMs: MonotonicMs,
  ): void {
    this.refuseQueued();
    // Some of it was perhaps stamped by earlier leaders, which answer for that.
    const entries = uncommitted.filter((entry) => entry.term === term && entry.kind === EntryKind.command);
    const [first] = entries;
    const waiting = first === undefined ? [] : this.acknowledgements.dropFrom(first.index);
    this.unresolved.add({ term, entries, waiting }, nowMs + this.options.electionTimeoutMs * UNRESOLVED_SHARE);
    this.emit({ type: 'lost', group: this.id, term });
  }

  /** What was only queued is in no log, and its clients need not wait for a write to hear so. */
  private refuseQueued(): void {
    const { queue } = this;
    this.gathering.reset();
    this.lastToApply = 0;
    if (queue.length === 0) return;
    this.emit({ type: 'refused', commands: queue.take(queue.length).commands, reason: 'not-leader' });
  }

  /** T10: the state machine stands at `position` now; undefined when no snapshot could be had. */
  installed(position: LogPosition | undefined): void {
    if (position !== undefined && this.snapshotIndex !== 0) this.group.install(position);
    // A group that could not use it hears from its leader again.
    this.snapshotIndex = 0;
  }

  /**
   * Reports what has become committed and ordered. `lowestWatermark`: of all groups of this server
   * (T7).
   */
  report(lowestWatermark: Timestamp, nowMs: MonotonicMs): void {
    const { id, group, acknowledgements, emit } = this;
    this.gathering.committed(group.commitIndex, nowMs);
    this.resolve(nowMs);
    for (const placed of acknowledgements.committed(group.commitIndex)) emit({ type: 'committed', group: id, placed });
    for (const placed of acknowledgements.ordered(lowestWatermark)) emit({ type: 'ordered', group: id, placed });
  }

  /**
   * T9: before anything newer is reported, so that what is committed after all becomes ordered in
   * its turn.
   */
  private resolve(nowMs: MonotonicMs): void {
    const { id, group, unresolved, acknowledgements, emit } = this;
    if (unresolved.isEmpty) return;
    for (const { outcome, entries, waiting } of unresolved.resolve(group, nowMs)) {
      if (outcome === 'committed') {
        // The applier answers for the rest.
        for (const placed of waiting) {
          emit({ type: 'committed', group: id, placed });
          acknowledgements.onCommitted(placed);
        }
        continue;
      }
      emit({ type: 'failed', group: id, outcome: outcome === 'replaced' ? 'replaced' : 'unknown', entries, waiting });
    }
  }
}
