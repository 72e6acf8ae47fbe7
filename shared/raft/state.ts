/**
 * The state of one group's replica that every role works on, and the changes of role. The handlers
 * are functions over it, one file a concern: election.ts, following.ts, leading.ts. Nobody outside
 * this folder touches it; group.ts is the door.
 */
import { assert } from './assert.js';
import { ClosedTimestamps } from './closed-timestamps.js';
import type { LoadedGroup } from './durable.js';
import {
  BEFORE_FIRST,
  EntryKind,
  indexAfter,
  indexBefore,
  type LogEntry,
  type LogIndex,
  type LogPosition,
  type MonotonicMs,
  type PlacedConfiguration,
  type ServerId,
  type Term,
  type Timestamp,
} from './entry.js';
import { lastOf } from './lists.js';
import { EMPTY_LOG, RaftLog } from './log.js';
import type { Closed, Message, MessageBody, SnapshotNotice } from './message.js';
import { type GroupOptions, preferredLeader, reachedByQuorum } from './options.js';
import type { Candidacy, Leadership, Role } from './role.js';
import { Unsaved } from './unsaved.js';

/** What a follower has heard of the other logs in a term. */
interface Heard {
  readonly term: Term;
  /** By server, the leader among them: up to here its log equals the leader's, and is durable. */
  readonly durable: Map<ServerId, LogIndex>;
}

/** Something that the owner of the group wants to know at once. */
export type GroupEvent =
  | { readonly type: 'became-leader'; readonly term: Term }
  /** Entries after `commitIndex` that this server stamped are in doubt from now on. */
  | { readonly type: 'lost-leadership'; readonly term: Term; readonly uncommitted: readonly LogEntry[] }
  /**
   * The leader's log begins after `index`, which lies beyond this one: answer with Group.install
   * (T10).
   */
  | { readonly type: 'snapshot-needed'; readonly index: LogIndex }
  /** Entries from .. to are wanted for `to server`; answer with Group.entriesRead. */
  | { readonly type: 'read'; readonly follower: ServerId; readonly from: LogIndex; readonly to: LogIndex }
  /** A message was dropped that no correct server can have sent. `what` it contradicts. */
  | { readonly type: 'impossible'; readonly from: ServerId; readonly what: string }
  /** A clock, own or other, is so far off that something was refused. */
  | { readonly type: 'clock-refused'; readonly what: string; readonly timestamp: Timestamp };

export class GroupState {
  log: RaftLog;
  readonly closedTimestamps: ClosedTimestamps;
  /**
   * In order of index: the one in force at the base of the log (or at the beginning), and every
   * later one of the log (T11).
   */
  configurations: PlacedConfiguration[];
  /** The newest word of a leader whose log begins beyond this one (T10). */
  notice: SnapshotNotice | null = null;
  role: Role = 'follower';
  term: Term;
  votedFor: ServerId | null;
  leader: ServerId | null = null;
  commitIndex: LogIndex;
  candidacy: Candidacy | null = null;
  leadership: Leadership | null = null;
  electionDeadlineMs: MonotonicMs;
  /** Elections that this replica has stood in; pre-votes do not count. */
  elections = 0;
  /** When this follower last heard from a leader of its term (milliseconds). */
  leaderHeardAtMs: MonotonicMs = Number.NEGATIVE_INFINITY;
  /** In the newest term of which something was heard. */
  heard: Heard = { term: 0, durable: new Map() };
  /** Whether the word of a leader takes long (`tellsAll`). */
  isNetworkSlow = false;
  /** Last index of the own log that is durable. */
  durableIndex: LogIndex;
  /**
   * How often the log has lost a suffix: a write from before says nothing of what has come in its
   * place.
   */
  truncations = 0;
  /** Timestamp of the last command in the log, committed or not (T5, T6). */
  lastCommandTimestamp: Timestamp = 0;
  /** Index of the last command at or below the commit index; 0 for none (T6). */
  lastCommittedCommand: LogIndex = 0;

  /**
   * Messages that may leave at once, and those that must wait for the next write (and all before
   * it) to be durable.
   */
  readonly outbox: Message[] = [];
  readonly outboxDurable: Message[] = [];
  readonly events: GroupEvent[] = [];

  readonly unsaved: Unsaved;
  private watermarkValue: Timestamp = 0;
  /**
   * Most bytes of entries in one AppendEntries, one entry at least: as the options say, or less
   * where the transport carries less.
   */
  appendBytesMax: number;

  constructor(
    readonly options: GroupOptions,
    restored: LoadedGroup | null,
    readonly bornMs: MonotonicMs,
  ) {
    const hardState = restored?.hardState ?? { term: 0, votedFor: null, commitIndex: 0 };
    this.appendBytesMax = options.appendBytesMax;
    this.term = hardState.term;
    this.votedFor = hardState.votedFor;
    this.log = new RaftLog(restored ?? EMPTY_LOG);
    this.commitIndex = Math.max(Math.min(hardState.commitIndex, this.log.lastIndex), this.log.base.index);
    this.closedTimestamps = new ClosedTimestamps(options.promiseLimit, options.promiseLimit.value);
    const { base } = this.log;
    const stored = restored?.configurations ?? [];
    this.configurations = stored.length > 0 ? [...stored] : [{ ...options.bootstrap, index: 0, term: 0 }];
    this.unsaved = new Unsaved(indexAfter(this.log.lastIndex));
    this.durableIndex = this.log.lastIndex;
    // A base is the place of a command: it lies where a state machine was.
    this.lastCommittedCommand = base.index;
    this.lastCommandTimestamp = base.timestamp;
    if (base.index > 0) options.clock.observe(base.timestamp);
    this.findLastCommand(base.index);
    for (const entry of restored?.tail ?? []) {
      options.clock.observe(entry.timestamp);
      if (entry.kind === EntryKind.command) this.lastCommandTimestamp = entry.timestamp;
    }
    // The preferred leader of a fresh group stands first, so that leadership is spread from the
    // start.
    const isFirst = this.log.lastIndex === 0 && this.preferredLeader === options.server;
    this.electionDeadlineMs = isFirst ? bornMs : this.randomDeadline(bornMs);
    this.updateWatermark();
  }

  get server(): ServerId {
    return this.options.server;
  }

  /** In force from the moment that its entry is in the log (dissertation, section 4.1). */
  get configuration(): PlacedConfiguration {
    return lastOf(this.configurations);
  }

  /** The server that leads this group when all are well. */
  get preferredLeader(): ServerId | null {
    return preferredLeader(this.options.group, this.configuration);
  }

  get isVoter(): boolean {
    return this.configuration.voters.includes(this.server);
  }

  /**
   * Whether this server may stand for election: as a voter, and as one that was a voter until a
   * change that is not committed. It may be the only one that has that change, so that nobody else
   * could win (dissertation, section 4.2.2).
   */
  get isElectable(): boolean {
    if (this.isVoter) return true;
    const before = this.configurations[this.configurations.length - 2];
    return this.configuration.index > this.commitIndex && before?.voters.includes(this.server) === true;
  }

  /** T3: no entry at or below this is still to come beyond the commit index. */
  get watermark(): Timestamp {
    return this.watermarkValue;
  }

  /** watermark[g] = max(timestamp at the commit index, largest valid closed timestamp) (T3). */
  updateWatermark(): void {
    this.countPromises(this.commitIndex);
    this.closedTimestamps.advance(this.commitIndex);
    const committed = this.log.timestampAt(this.commitIndex);
    this.watermarkValue = Math.max(this.watermarkValue, committed, this.closedTimestamps.validTimestamp);
  }

  /** To be followed by `updateWatermark`, once for all that a message or a write has moved. */
  setCommitIndex(index: LogIndex): void {
    assert(index <= this.log.lastIndex, 'the commit index lies in the log');
    if (index <= this.commitIndex) return;
    const before = this.commitIndex;
    this.commitIndex = index;
    this.findLastCommand(before);
  }

  /**
   * T3: the newest claim at or below index `upTo` that a quorum has promised, as far as this server
   * knows. Of the configuration in force where the claim was made: the log must be known up to
   * there.
   */
  countPromises(upTo: LogIndex): Closed | null {
    return this.closedTimestamps.countQuorum(upTo, this.server, (index) => this.configurationAt(index));
  }

  /**
   * In force when the log ended at `index`. Below the base it may be a later one. A claim at such
   * an index says nothing new: what follows it is committed, and has greater timestamps.
   */
  private configurationAt(index: LogIndex): PlacedConfiguration {
    const inForce = this.configurations.findLast((one) => one.index <= index) ?? this.configurations[0];
    assert(inForce !== undefined, 'there is always a configuration');
    return inForce;
  }

  /**
   * The log of `server` is durable up to `index`, and equal there to that of the leader of this
   * term. Messages may overtake each other: what was true once stays true.
   */
  hearDurable(server: ServerId, index: LogIndex): void {
    if (this.heard.term !== this.term) this.heard = { term: this.term, durable: new Map() };
    const { durable } = this.heard;
    if (index > (durable.get(server) ?? BEFORE_FIRST)) durable.set(server, index);
  }

  /**
   * Raft section 5.4.2 at a follower: an index is committed when a quorum has it durably and its
   * entry is of the current term. A log that ends in this term is the beginning of the leader's
   * (log matching, section 5.3), so the configuration is one that the leader had.
   */
  countDurable(): void {
    const { heard, log, configuration, server, durableIndex, term } = this;
    if (heard.term !== term || log.lastTerm !== term) return;
    const reached = reachedByQuorum(configuration, (voter) =>
      voter === server ? durableIndex : (heard.durable.get(voter) ?? BEFORE_FIRST),
    );
    const index = Math.min(reached, log.lastIndex);
    if (index > this.commitIndex && log.termAt(index) === term) this.setCommitIndex(index);
  }

  private findLastCommand(after: LogIndex): void {
    for (let index = this.commitIndex; index > after; index--) {
      const entry = this.log.at(index);
      if (entry === undefined) return;
      if (entry.kind !== EntryKind.command) continue;
      this.lastCommittedCommand = index;
      return;
    }
  }

  send(to: ServerId, body: MessageBody, when: 'now' | 'durable', term: Term = this.term): void {
    this.push({ group: this.options.group, from: this.server, to, term, body }, when);
  }

  /** What may wait a little for something else to the same server. */
  sendPatiently(to: ServerId, body: MessageBody, when: 'now' | 'durable'): void {
    this.push({ group: this.options.group, from: this.server, to, term: this.term, body, isPatient: true }, when);
  }

  private push(message: Message, when: 'now' | 'durable'): void {
    (when === 'now' ? this.outbox : this.outboxDurable).push(message);
  }

  randomDeadline(nowMs: MonotonicMs): MonotonicMs {
    return nowMs + this.options.electionTimeoutMs * (1 + this.options.random());
  }

  /**
   * Raft section 5.1: a higher term makes every server a follower; also used to give up a role
   * within a term.
   */
  becomeFollower(term: Term, leader: ServerId | null, nowMs: MonotonicMs): void {
    const wasLeader = this.role === 'leader';
    const oldTerm = this.term;
    if (term > this.term) {
      this.term = term;
      this.votedFor = null;
      this.unsaved.hardState = true;
    }
    if (wasLeader || term > oldTerm) this.closedTimestamps.reset();
    this.role = 'follower';
    this.leader = leader;
    this.candidacy = null;
    this.leadership = null;
    this.electionDeadlineMs = this.randomDeadline(nowMs);
    if (wasLeader) {
      const from = Math.max(this.commitIndex + 1, this.log.firstInWindow);
      const uncommitted =
        from > this.log.lastIndex ? [] : this.log.slice(from, this.log.lastIndex, Number.POSITIVE_INFINITY);
      this.events.push({ type: 'lost-leadership', term: oldTerm, uncommitted });
    }
  }

  /** Appends to the log and remembers what the next write must hold. */
  append(entries: readonly LogEntry[]): void {
    this.log.append(entries);
    for (const entry of entries) {
      if (entry.kind === EntryKind.command) this.lastCommandTimestamp = entry.timestamp;
      else if (entry.kind === EntryKind.configuration) this.configure(entry);
    }
  }

  private configure(entry: LogEntry): void {
    const { index, term } = entry;
    this.configurations.push({ ...this.options.decodeConfiguration(entry), index, term });
    this.unsaved.configurations = true;
  }

  /**
   * Drops a suffix that conflicts with the leader's log (Raft section 5.3); never anything
   * committed.
   */
  truncate(from: LogIndex): void {
    assert(from > this.commitIndex, 'a committed entry is never truncated (leader completeness, Raft section 5.4.3)');
    this.log.truncateFrom(from);
    this.loseSuffix(indexBefore(from));
    if (this.configuration.index >= from) {
      this.configurations = this.configurations.filter(({ index }) => index < from);
      this.unsaved.configurations = true;
    }
    this.unsaved.onTruncated(from);
  }

  private loseSuffix(lastIndex: LogIndex): void {
    this.truncations += 1;
    this.durableIndex = Math.min(this.durableIndex, lastIndex);
  }

  /**
   * T10: snapshots cover everything up to `base`, which is committed; the log begins after it from
   * now on.
   */
  compact(base: LogPosition): void {
    if (base.index <= this.log.base.index) return;
    assert(base.index <= this.commitIndex, 'only what is committed is compacted');
    this.log.compact(base);
    while ((this.configurations[1]?.index ?? Number.POSITIVE_INFINITY) <= base.index) {
      this.configurations.shift();
      this.unsaved.configurations = true;
    }
    this.unsaved.onCompacted(base.index);
  }

  /**
   * T10: the state machine stands where this log has its `base` from now on. What follows `base` is
   * kept when the entry there is the one that the state machine has seen, else the whole log goes
   * (Raft section 7; hashicorp/raft 697). False when that cannot be done yet: which configurations
   * lie in what is skipped only the leader can tell (T11).
   */
  install(base: LogPosition): boolean {
    if (base.index <= this.commitIndex) return true;
    if (base.index <= this.log.lastIndex && this.log.termAt(base.index) === base.term) {
      this.setCommitIndex(base.index);
      this.updateWatermark();
      this.lastCommittedCommand = base.index;
      this.compact(base);
      if (this.leadership !== null) this.leadership.uncommittedBytes = this.log.bytesAfter(this.commitIndex);
      return true;
    }
    const { notice } = this;
    // The leader's log may have moved on since: what lies between would be missing.
    if (notice === null || base.index < notice.index || base.index > notice.commitIndex) return false;
    assert(this.role !== 'leader', 'a leader has every committed entry (leader completeness, Raft section 5.4.3)');
    const inForce = notice.configurations.filter(({ index }) => index <= base.index).pop();
    assert(inForce !== undefined, 'a notice tells the configuration at its base');
    // A leader that has joined does not know what the group began with; this server may.
    const [oldest] = this.configurations;
    const isKnownHere = inForce.voters.length === 0 && oldest?.index === inForce.index;
    this.options.clock.observe(base.timestamp);
    this.log = new RaftLog({ base, lastIndex: base.index, termStarts: [], tail: [] });
    this.loseSuffix(base.index);
    this.configurations = [isKnownHere ? oldest : inForce];
    this.commitIndex = base.index;
    this.lastCommittedCommand = base.index;
    this.lastCommandTimestamp = base.timestamp;
    this.unsaved.onReplaced(base.index);
    this.updateWatermark();
    return true;
  }
}
