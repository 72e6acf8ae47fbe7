/** What only a candidate has, and what only a leader has. */
import type { ConfigurationChange, LogIndex, MonotonicMs, ServerId, Timestamp } from './entry.js';
import type { Closed } from './message.js';
import type { Progress } from './progress.js';

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader';

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
  /**
   * First index of this term, its no-op or a recovered configuration: below it nothing is
   * committed by counting (Raft section 5.4.2).
   */
  readonly noOpIndex: LogIndex;
  /**
   * Since when the own log has had entries that are not durable; null when it has none
   * (milliseconds).
   */
  undurableSinceMs: MonotonicMs | null;
  uncommittedBytes: number;
  /**
   * Every later timestamp is greater: T1 (last entry), T2 (promises of the electing quorum, own
   * claims).
   */
  floor: Timestamp;
  closed: Closed | null;
  quorumClosed: Closed | null;
  /** The largest timestamp that a server wants closed (T5). */
  closeWanted: Timestamp;
  closedAtMs: MonotonicMs;
  /**
   * The change of members that was asked for last, since when, and when it was last asked for
   * (milliseconds, T11).
   */
  asked: { readonly change: ConfigurationChange; readonly sinceMs: MonotonicMs; readonly lastMs: MonotonicMs } | null;
  /**
   * Leadership goes to this server as soon as its log is complete; until then nothing is proposed.
   */
  transferTo: ServerId | null;
  transferUntilMs: MonotonicMs;
  /** Since when the preferred leader could take over; null while it could not. */
  preferredReadySinceMs: MonotonicMs | null;
  /**
   * The commit index at `markedAtMs`, which is a few heartbeats ago at most, and at the mark
   * before.
   */
  commitMarks: readonly [older: LogIndex, newer: LogIndex];
  markedAtMs: MonotonicMs;
}
