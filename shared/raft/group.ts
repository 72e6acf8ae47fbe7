/**
 * The consensus core of ONE group at one server: Raft (Ongaro and Ousterhout, 2014; Ongaro's
 * dissertation) with timestamped entries (T1), promises and closed timestamps (T2, T3).
 *
 * Synchronous and pure: events go in by the methods, effects come out by the `take...` methods,
 * time and randomness are inputs. The owner does the effects in this way, and in no other:
 *
 *     takeMessages()   -> send at once; what is patient may wait a little (`Message.isPatient`)
 *     takeOwed(peer)   -> send; to be called when something else goes to that server, or when it
 *                         has been owed something for long enough
 *     takeWrite()      -> hand the write to the log store; when it is durable: send its `after` messages, then call
 *                         `written(write)`. One write at a time; while it runs the next one collects here.
 *     takeEvents()     -> what the owner wants to know; `read` is answered with `entriesRead`.
 *
 * So "only after it is durable" is part of the data: a vote, a success reply and a promise leave in
 * `after`.
 */
import { claimIfWanted, nextClaimMs } from './claims.js';
import type { DurableChange, LoadedGroup } from './durable.js';
import {
  onElectionTimeout,
  onOwnVoteDurable,
  onTimeoutNow,
  onUnreachable,
  onVoteReply,
  onVoteRequest,
  silentLeader,
} from './election.js';
import {
  BEFORE_ALL,
  type ConfigurationChange,
  type LogEntry,
  type LogIndex,
  type LogPosition,
  type MonotonicMs,
  type PlacedConfiguration,
  type ServerId,
  type Term,
  type Timestamp,
} from './entry.js';
import { onAppendEntries, onFollowerReply, onSnapshotNotice } from './following.js';
import { whyImpossible } from './impossible.js';
import {
  mostComplete,
  onAppendReply,
  onOwnLogDurable,
  type Proposal,
  type ProposalRefusal,
  propose,
  tickLeader,
  transfer,
} from './leading.js';
import { type ConfigureRefusal, configure } from './membership.js';
import type { Message } from './message.js';
import { type GroupOptions, quorumSize } from './options.js';
import { sendEntries, sendOwed } from './replicating.js';
import type { Role } from './role.js';
import { type GroupEvent, GroupState } from './state.js';

/** For so long a log is not compacted while a follower gets a snapshot (milliseconds). */
const INSTALL_MS_MAX = 600_000;

/** A write and what may happen once it, and every write before it, is durable. */
export interface PendingWrite {
  /** Null when only messages wait: they may leave as soon as the writes before are durable. */
  readonly write: DurableChange | null;
  readonly after: readonly Message[];
  /** The role and log end that the write attests. */
  readonly term: Term;
  readonly lastIndex: LogIndex;
  /** How often the log had lost a suffix until then. */
  readonly truncations: number;
}

/**
 * What has become of an entry (T9): `committed`; `replaced`, it never will be; `open`, it still may
 * or may not be; `unknown`, a snapshot covers its place.
 */
export type EntryOutcome = 'committed' | 'replaced' | 'open' | 'unknown';

export class Group {
  private readonly state: GroupState;

  constructor(options: GroupOptions, restored: LoadedGroup | null, nowMs: MonotonicMs) {
    this.state = new GroupState(options, restored, nowMs);
  }

  /**
   * Time has passed; to be called every few tens of milliseconds (milliseconds, monotonic). A
   * replica whose disk is hung (`isDiskHung`) gives up leadership, and does not stand for election.
   * It could win a pre-vote again and again, and its terms, never durable, would stop the others'
   * elections.
   */
  tick(nowMs: MonotonicMs, isDiskHung = false): void {
    const { state } = this;
    if (isDiskHung) {
      if (state.role === 'leader') state.becomeFollower(state.term, null, nowMs);
    } else if (state.role === 'leader') tickLeader(state, nowMs);
    else if (nowMs >= state.electionDeadlineMs) onElectionTimeout(state, nowMs);
    state.log.shrink(Math.min(state.commitIndex, state.unsaved.from), state.options.windowBytesMax);
  }

  /** A message of the transport carries so many bytes of entries from now on. */
  carry(bytes: number): void {
    this.state.appendBytesMax = Math.min(this.state.options.appendBytesMax, bytes);
  }

  /** Whether the word of a leader takes long: then followers tell each other what they have. */
  expectSlowNetwork(isSlow: boolean): void {
    this.state.isNetworkSlow = isSlow;
  }

  /**
   * The leader of this follower when it has been silent for some heartbeats: the transport may know
   * that it is gone.
   */
  silentLeader(nowMs: MonotonicMs): ServerId | null {
    return silentLeader(this.state, nowMs);
  }

  /**
   * The transport says that no process takes messages for `peer`; it may be wrong. A silent leader
   * is replaced sooner.
   */
  unreachable(peer: ServerId, nowMs: MonotonicMs): void {
    onUnreachable(this.state, peer, nowMs);
  }

  /**
   * A message of another replica of this group. Any order, loss and duplication is fine. One that
   * no correct replica can have sent changes nothing but that an `impossible` event tells of it.
   */
  receive(message: Message, nowMs: MonotonicMs): void {
    const { state } = this;
    const { body } = message;
    if (message.to !== state.server || message.group !== state.options.group) return;
    const what = whyImpossible(state, message);
    if (what !== null) {
      state.events.push({ type: 'impossible', from: message.from, what });
      return;
    }
    switch (body.type) {
      case 'append':
        onAppendEntries(state, message, body, nowMs);
        break;
      case 'snapshot':
        onSnapshotNotice(state, message, body, nowMs);
        break;
      case 'vote':
        onVoteRequest(state, message, body, nowMs);
        break;
      case 'vote-reply':
        if (!this.isNewerTerm(message, body.granted && body.preVote, nowMs)) onVoteReply(state, message, body, nowMs);
        break;
      case 'append-reply':
        this.isNewerTerm(message, false, nowMs);
        if (message.term < state.term) break;
        if (state.role === 'leader') onAppendReply(state, message, body, nowMs);
        else onFollowerReply(state, message, body);
        break;
      case 'timeout-now':
        if (message.term === state.term && state.leader === message.from) onTimeoutNow(state, nowMs);
        break;
    }
  }

  /** Raft section 5.1; the term of a granted pre-vote is only the one that was asked for. */
  private isNewerTerm(message: Message, isHypothetical: boolean, nowMs: MonotonicMs): boolean {
    if (isHypothetical || message.term <= this.state.term) return false;
    this.state.becomeFollower(message.term, null, nowMs);
    return true;
  }

  /**
   * Appends commands, in order, as leader. Returns their entries, or why nothing was appended:
   * `not-leader` (also while leadership is being handed over), `overloaded` (too much is
   * uncommitted) or `clock`.
   */
  propose(proposals: readonly Proposal[], nowMs: MonotonicMs): readonly LogEntry[] | ProposalRefusal {
    return propose(this.state, proposals, nowMs);
  }

  /**
   * T11: changes the group's members by one server, as leader. Null when the change is in the log
   * (or was there already), else why nothing was appended. It is done once its entry is committed,
   * which `configuration` and `commitIndex` tell.
   */
  configure(change: ConfigurationChange, nowMs: MonotonicMs): ConfigureRefusal | null {
    return configure(this.state, change, nowMs);
  }

  /**
   * T10: snapshots cover everything up to `base`, which a state machine has applied; the log begins
   * after it from now on. Kept whole while a follower is getting a snapshot, so that what comes
   * after that is still there (consul 9609); but not for one that is dead, nor for ever.
   */
  compact(base: LogPosition, nowMs: MonotonicMs): void {
    const { state } = this;
    if (base.index > state.commitIndex || state.log.termAt(base.index) !== base.term) return;
    const { electionTimeoutMs } = state.options;
    for (const progress of state.leadership?.followers.values() ?? []) {
      if (progress.isInstalling(nowMs, electionTimeoutMs, INSTALL_MS_MAX)) return;
    }
    state.compact(base);
  }

  /**
   * Answers `snapshot-needed`: the state machine stands at `base` now (T10). False when it needs
   * another notice of the leader first.
   */
  install(base: LogPosition): boolean {
    return this.state.install(base);
  }

  /** A server waits for this group to close up to `timestamp` (T5); ignored unless it leads. */
  closeUpTo(timestamp: Timestamp, nowMs: MonotonicMs): void {
    const { leadership } = this.state;
    if (leadership === null) return;
    if (timestamp > leadership.closeWanted) leadership.closeWanted = timestamp;
    claimIfWanted(this.state, leadership, nowMs);
  }

  /**
   * When to call `closeUpTo(0)` again because a close had to wait for its interval; null when none
   * waits.
   */
  nextClaimMs(): MonotonicMs | null {
    return nextClaimMs(this.state);
  }

  /**
   * Hands leadership to `target`, or to the most complete follower. False when this replica cannot.
   */
  transfer(target: ServerId | null, nowMs: MonotonicMs): boolean {
    const { leadership } = this.state;
    if (leadership === null) return false;
    const to = target ?? mostComplete(this.state, leadership, nowMs);
    return to !== null && transfer(this.state, to, nowMs);
  }

  takeMessages(): Message[] {
    return this.state.outbox.splice(0);
  }

  /** The followers that are owed news, each with the time since when (milliseconds, monotonic). */
  *owed(): Generator<[peer: ServerId, sinceMs: MonotonicMs]> {
    for (const [peer, { owed }] of this.state.leadership?.followers ?? [])
      if (owed !== null) yield [peer, owed.sinceMs];
  }

  /**
   * The followers of this leader, each with the index up to which its log is known to be that of
   * the leader, and durable.
   */
  *followers(): Generator<[follower: ServerId, matchIndex: LogIndex]> {
    for (const [peer, { matchIndex }] of this.state.leadership?.followers ?? []) yield [peer, matchIndex];
  }

  /** Commits, claims and heartbeats that `peer` is owed, as of now. */
  takeOwed(peer: ServerId, nowMs: MonotonicMs): Message[] {
    const { state } = this;
    if (state.leadership !== null) sendOwed(state, state.leadership, peer, nowMs);
    return this.takeMessages();
  }

  takeEvents(): GroupEvent[] {
    return this.state.events.splice(0);
  }

  /** What must become durable next, or null when there is nothing and nobody waits. */
  takeWrite(): PendingWrite | null {
    const { state } = this;
    const after = state.outboxDurable.splice(0);
    const write = state.unsaved.take(state);
    if (write === null && after.length === 0) return null;
    return { write, after, term: state.term, lastIndex: state.log.lastIndex, truncations: state.truncations };
  }

  /**
   * The write of `pending`, and every one before it, is durable; so is the promise limit of the
   * same write.
   */
  written(pending: PendingWrite, nowMs: MonotonicMs): void {
    const { state } = this;
    const { write, term, lastIndex, truncations } = pending;
    if (write !== null && term === state.term) {
      onOwnVoteDurable(state, term, nowMs);
      // What was written then is still the log when nothing of it has been dropped since.
      if (truncations === state.truncations && lastIndex > state.durableIndex) {
        state.durableIndex = lastIndex;
        onOwnLogDurable(state, nowMs);
        state.countDurable();
      }
    }
    this.limitRaised(nowMs);
  }

  /**
   * The durable promise limit has moved: claims that waited for it go on, and own promises may
   * count (T2, T3).
   */
  limitRaised(nowMs: MonotonicMs): void {
    const { state } = this;
    state.updateWatermark();
    if (state.leadership !== null) claimIfWanted(state, state.leadership, nowMs);
  }

  /**
   * Answers a `read` event: entries from the log store for a follower that lags behind the window.
   */
  entriesRead(follower: ServerId, entries: readonly LogEntry[], nowMs: MonotonicMs): void {
    const { state } = this;
    const progress = state.leadership?.followers.get(follower);
    if (!state.leadership || progress?.state !== 'reading') return;
    progress.state = 'probe';
    const isWanted = entries[0]?.index === progress.nextIndex && progress.nextIndex > state.log.base.index;
    if (!isWanted) return;
    // A read-back piece goes out as a probe: its reply asks for the next piece.
    sendEntries(state, state.leadership, progress, follower, entries, nowMs);
  }

  get role(): Role {
    return this.state.role;
  }
  get term(): Term {
    return this.state.term;
  }
  get leader(): ServerId | null {
    return this.state.leader;
  }
  /** Elections that this replica has stood in since it started; pre-votes do not count. */
  get elections(): number {
    return this.state.elections;
  }
  get commitIndex(): LogIndex {
    return this.state.commitIndex;
  }
  get lastIndex(): LogIndex {
    return this.state.log.lastIndex;
  }
  get lastTimestamp(): Timestamp {
    return this.state.log.lastTimestamp;
  }
  /**
   * The largest timestamp of the log that a quorum vouches for. Once something of this term is
   * committed, a quorum has accepted its leader's clock: then it is the last one. Else it is what
   * is committed.
   */
  get trustedTimestamp(): Timestamp {
    const { term, commitIndex, log } = this.state;
    return log.termAt(commitIndex) === term ? log.lastTimestamp : log.timestampAt(commitIndex);
  }
  /** Timestamp of the last command in the log, committed or not (T5). */
  get lastCommandTimestamp(): Timestamp {
    return this.state.lastCommandTimestamp;
  }
  /** What has become of the entry that the leader of `term` made at `index`. */
  outcomeOf(index: LogIndex, term: Term): EntryOutcome {
    const { log, commitIndex } = this.state;
    // Terms never decrease in a log, and every later leader has what is committed (Raft section
    // 5.4.3).
    if (index > commitIndex) return log.termAt(commitIndex) > term ? 'replaced' : 'open';
    if (index < log.base.index) return 'unknown';
    return log.termAt(index) === term ? 'committed' : 'replaced';
  }
  /** Index of the last command at or below the commit index; 0 for none (T6). */
  get lastCommittedCommand(): LogIndex {
    return this.state.lastCommittedCommand;
  }
  /** Whether these servers hold a quorum of the configuration in force. */
  isQuorum(servers: ReadonlySet<ServerId>): boolean {
    const { configuration } = this.state;
    return configuration.voters.filter((voter) => servers.has(voter)).length >= quorumSize(configuration);
  }
  /** No entry at or below this is still to come beyond the commit index (T3). */
  get watermark(): Timestamp {
    return this.state.watermark;
  }
  get promised(): Timestamp {
    return this.state.closedTimestamps.promised;
  }
  /** Largest own claim while leading; 0 otherwise. */
  get closed(): Timestamp {
    return this.state.leadership?.closed?.timestamp ?? BEFORE_ALL;
  }
  /** Whether proposals are taken now. */
  get isTaking(): boolean {
    return this.state.leadership !== null && this.state.leadership.transferTo === null;
  }
  get uncommittedBytes(): number {
    return this.state.leadership?.uncommittedBytes ?? 0;
  }
  /** The log begins after this (T10). */
  get base(): LogPosition {
    return this.state.log.base;
  }
  /** In force here, committed or not (T11). */
  get configuration(): PlacedConfiguration {
    return this.state.configuration;
  }
  get firstInWindow(): LogIndex {
    return this.state.log.firstInWindow;
  }
  termAt(index: LogIndex): Term {
    return this.state.log.termAt(index);
  }
  /** The entry at `index` when it is in the window. */
  at(index: LogIndex): LogEntry | undefined {
    return this.state.log.at(index);
  }
  /** Entries from .. to of the window, at least one, up to `bytesMax`. */
  slice(from: LogIndex, to: LogIndex, bytesMax: number): readonly LogEntry[] {
    return this.state.log.slice(from, to, bytesMax);
  }
}
