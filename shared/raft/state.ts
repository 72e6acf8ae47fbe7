/**
 * The state of one group's replica that every role works on, and the changes of role. The handlers are functions over it,
 * one file a concern: election.ts, following.ts, leading.ts. Nobody outside this folder touches it; group.ts is the door.
 */
import { assert } from './assert.js';
import { Closing } from './closing.js';
import {
  type Configuration,
  EntryKind,
  type HardState,
  type Index,
  type LogEntry,
  type ServerId,
  type Term,
  type Timestamp,
} from './entry.js';
import { EMPTY_LOG, RaftLog, type RestoredLog } from './log.js';
import type { Closed, Message, MessageBody } from './message.js';
import type { GroupOptions } from './options.js';
import type { Progress } from './progress.js';

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader';

export interface RestoredGroup extends RestoredLog {
  readonly hardState: HardState;
}

/** What a candidate knows of its election. */
export interface Candidacy {
  readonly preVote: boolean;
  readonly transfer: boolean;
  /** The own vote counts once it is durable; a pre-vote needs no write. */
  readonly granted: Set<ServerId>;
  /** Maximum of what the granting voters, self included, have promised (T2). */
  floor: Timestamp;
}

/** What only a leader has. */
export interface Leadership {
  readonly followers: Map<ServerId, Progress>;
  /** First index of this term, its no-op: below it nothing is committed by counting (Raft section 5.4.2). */
  readonly noOpIndex: Index;
  /** Last index of the own log that is durable. */
  durableIndex: Index;
  /** Since when the own log has had entries that are not durable; null when it has none (milliseconds). */
  undurableSinceMs: number | null;
  uncommittedBytes: number;
  /** Every later timestamp is greater: T1 (last entry), T2 (promises of the electing quorum, own claims). */
  floor: Timestamp;
  closed: Closed | null;
  quorumClosed: Closed | null;
  /** The largest timestamp that somebody wants closed (T5). */
  closeWanted: Timestamp;
  closedAtMs: number;
  /** Leadership goes to this server as soon as its log is complete; until then nothing is proposed. */
  transferTo: ServerId | null;
  transferUntilMs: number;
  /** Since when the preferred leader could take over; null while it could not. */
  preferredReadySinceMs: number | null;
}

/** Something that the owner of the group wants to know at once. */
export type GroupEvent =
  | { readonly type: 'became-leader'; readonly term: Term }
  /** Entries after `commitIndex` that this server stamped are in doubt from now on. */
  | { readonly type: 'lost-leadership'; readonly term: Term; readonly uncommitted: readonly LogEntry[] }
  /** Entries from .. to are wanted for `to server`; answer with Group.entriesRead. */
  | { readonly type: 'read'; readonly follower: ServerId; readonly from: Index; readonly to: Index }
  /** A clock, own or other, is so far off that something was refused. */
  | { readonly type: 'clock-refused'; readonly what: string; readonly timestamp: Timestamp };

export class GroupState {
  readonly log: RaftLog;
  readonly closing: Closing;
  configuration: Configuration;
  role: Role = 'follower';
  term: Term;
  votedFor: ServerId | null;
  leader: ServerId | null = null;
  commitIndex: Index;
  candidacy: Candidacy | null = null;
  leadership: Leadership | null = null;
  electionDeadlineMs: number;
  /** When this follower last heard from a leader of its term (milliseconds). */
  leaderHeardAtMs = Number.NEGATIVE_INFINITY;
  /** Timestamp of the last command in the log, committed or not (T5, T6). */
  lastCommandTimestamp: Timestamp = 0;
  /** Index of the last command at or below the commit index; 0 for none (T6). */
  lastCommittedCommand: Index = 0;

  /** Messages that may leave at once, and those that must wait for the next write (and all before it) to be durable. */
  readonly outbox: Message[] = [];
  readonly outboxDurable: Message[] = [];
  readonly events: GroupEvent[] = [];

  /** What the next write must contain. */
  hardStateChanged = false;
  truncateFrom: Index | null = null;
  /** First index of the log that no write has been given yet. */
  unsavedFrom: Index;
  private watermarkValue: Timestamp = 0;

  constructor(
    readonly options: GroupOptions,
    restored: RestoredGroup | null,
    readonly bornMs: number,
  ) {
    const hardState = restored?.hardState ?? { term: 0, votedFor: null, commitIndex: 0 };
    this.term = hardState.term;
    this.votedFor = hardState.votedFor;
    this.log = new RaftLog(restored ?? EMPTY_LOG);
    this.commitIndex = Math.min(hardState.commitIndex, this.log.lastIndex);
    this.closing = new Closing(options.promiseLimit, options.promiseLimit.value);
    this.configuration = options.bootstrap;
    this.unsavedFrom = this.log.lastIndex + 1;
    this.findLastCommand(0);
    for (const entry of restored?.tail ?? []) {
      options.clock.observe(entry.timestamp);
      if (entry.kind === EntryKind.command) this.lastCommandTimestamp = entry.timestamp;
    }
    // The preferred leader of a fresh group stands first, so that leadership is spread from the start.
    const isFirst = this.log.lastIndex === 0 && options.preferredLeader === options.server;
    this.electionDeadlineMs = isFirst ? bornMs : this.randomDeadline(bornMs);
    this.settle();
  }

  get server(): ServerId {
    return this.options.server;
  }

  get isVoter(): boolean {
    return this.configuration.voters.includes(this.server);
  }

  /** T3: no entry at or below this is still to come beyond the commit index. */
  get watermark(): Timestamp {
    return this.watermarkValue;
  }

  /** watermark[g] = max(timestamp at the commit index, largest valid closed timestamp) (T3). */
  settle(): void {
    this.closing.settle(this.commitIndex);
    const committed = this.log.at(this.commitIndex)?.timestamp ?? 0;
    this.watermarkValue = Math.max(this.watermarkValue, committed, this.closing.validTimestamp);
  }

  setCommitIndex(index: Index): void {
    assert(index <= this.log.lastIndex, 'the commit index lies in the log');
    if (index <= this.commitIndex) return;
    const before = this.commitIndex;
    this.commitIndex = index;
    this.findLastCommand(before);
    this.settle();
  }

  private findLastCommand(after: Index): void {
    for (let index = this.commitIndex; index > after; index--) {
      const entry = this.log.at(index);
      if (entry === undefined) return;
      if (entry.kind !== EntryKind.command) continue;
      this.lastCommittedCommand = index;
      return;
    }
  }

  send(to: ServerId, body: MessageBody, when: 'now' | 'durable', term: Term = this.term): void {
    const message = { group: this.options.group, from: this.server, to, term, body };
    (when === 'now' ? this.outbox : this.outboxDurable).push(message);
  }

  randomDeadline(nowMs: number): number {
    return nowMs + this.options.electionTimeoutMs * (1 + this.options.random());
  }

  /** Raft section 5.1: a higher term makes everybody a follower; also used to give up a role within a term. */
  becomeFollower(term: Term, leader: ServerId | null, nowMs: number): void {
    const wasLeader = this.role === 'leader';
    const oldTerm = this.term;
    if (term > this.term) {
      this.term = term;
      this.votedFor = null;
      this.hardStateChanged = true;
    }
    if (wasLeader || term > oldTerm) this.closing.reset();
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
    }
  }

  /** Drops a suffix that conflicts with the leader's log (Raft section 5.3); never anything committed. */
  truncate(from: Index): void {
    assert(from > this.commitIndex, 'a committed entry is never truncated (leader completeness, Raft section 5.4.3)');
    this.log.truncateFrom(from);
    if (from < this.unsavedFrom) {
      this.truncateFrom = this.truncateFrom === null ? from : Math.min(this.truncateFrom, from);
      this.unsavedFrom = from;
    }
  }
}
