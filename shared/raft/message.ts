/**
 * What the replicas of one group say to each other. Plain data; `shared/wire` turns it into
 * protobuf and back.
 */
import type { GroupId, LogEntry, LogIndex, PlacedConfiguration, ServerId, Term, Timestamp } from './entry.js';

/** "What this leader appends after `index` has a greater timestamp than `timestamp`" (T2). */
export interface Closed {
  readonly timestamp: Timestamp;
  readonly index: LogIndex;
}

/** Raft section 5.3; a heartbeat is one without entries. */
export interface AppendEntries {
  readonly type: 'append';
  readonly prevIndex: LogIndex;
  readonly prevTerm: Term;
  readonly entries: readonly LogEntry[];
  readonly commitIndex: LogIndex;
  readonly closed: Closed | null;
  /**
   * The newest close that a quorum is known to have promised (T3). A follower that can count
   * promises itself knows it already.
   */
  readonly quorumClosed: Closed | null;
  /** Up to here the leader's own log is durable: followers count it (`GroupState.countDurable`). */
  readonly durableIndex: LogIndex;
  /**
   * A reply with news goes to every other member, too. Then each of them counts for itself what is
   * committed and closed, and does not wait for the leader to say so.
   */
  readonly tellsAll: boolean;
  /**
   * Grows with every message to this follower in this term; echoed in the reply. 0: the message
   * only tells of a commit, no reply is wanted (a loss shows at the next message that wants one).
   */
  readonly round: number;
}

/**
 * "What you need is gone from my log: everything up to `index` is covered by snapshots" (T10). In
 * place of Raft's InstallSnapshot, whose data comes from the object store here, for all groups at
 * once. A heartbeat besides.
 */
export interface SnapshotNotice {
  readonly type: 'snapshot';
  /** The base of the leader's log. */
  readonly index: LogIndex;
  readonly commitIndex: LogIndex;
  /**
   * The configuration in force at the base, and every later one up to the commit index: what a
   * snapshot does not tell (T11).
   */
  readonly configurations: readonly PlacedConfiguration[];
  readonly round: number;
}

/**
 * Why a follower did not append. `clock`: a timestamp lies beyond its clock's bound; `snapshot`: it
 * needs a snapshot first.
 */
export type Refusal = 'none' | 'log-mismatch' | 'clock' | 'snapshot';

/** To the leader; with `AppendEntries.tellsAll` also to every other member. */
export interface AppendReply {
  readonly type: 'append-reply';
  readonly refusal: Refusal;
  /** With `none`: everything up to here equals the leader's log and is durable. */
  readonly matchIndex: LogIndex;
  /** With `log-mismatch`: the term of the conflicting entry, 0 when the log is shorter. */
  readonly conflictTerm: Term;
  /** With `log-mismatch`: first index of that term, or the index after the end of the log. */
  readonly conflictIndex: LogIndex;
  /** The largest closed timestamp that the sender has durably promised (T2). */
  readonly promised: Timestamp;
  readonly round: number;
}

/** Raft section 5.2; pre-vote as in section 9.6 of the dissertation. */
export interface VoteRequest {
  readonly type: 'vote';
  readonly preVote: boolean;
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  /** The leader itself asked for this election (dissertation, section 3.10). */
  readonly transfer: boolean;
}

export interface VoteReply {
  readonly type: 'vote-reply';
  readonly preVote: boolean;
  readonly granted: boolean;
  /**
   * What the voter has promised: the floor of a leader that this vote elects is at least this (T2).
   */
  readonly promised: Timestamp;
}

/** "Stand for election now" (dissertation, section 3.10). */
interface TimeoutNow {
  readonly type: 'timeout-now';
}

export type MessageBody = AppendEntries | SnapshotNotice | AppendReply | VoteRequest | VoteReply | TimeoutNow;

/** A message on its way: `term` is the sender's term, or the term it would have for a pre-vote. */
export interface Message {
  readonly group: GroupId;
  readonly from: ServerId;
  readonly to: ServerId;
  readonly term: Term;
  readonly body: MessageBody;
  /**
   * It may wait a little for something else to the same server; left out, it leaves at once. Only
   * the sender looks at it: nothing of it travels.
   */
  readonly isPatient?: boolean;
}
