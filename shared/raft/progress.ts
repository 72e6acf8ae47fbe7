/**
 * What a leader knows of one follower: Raft section 5.3, with a bounded pipeline in the manner of
 * dissertation section 10.2.1.
 */
import { indexAfter, type LogIndex, type MonotonicMs } from './entry.js';

/** News without entries: a commit, a claim, a heartbeat. */
interface Owed {
  /** The oldest of it (milliseconds, monotonic). */
  readonly sinceMs: MonotonicMs;
  readonly wantsReply: boolean;
}

interface Inflight {
  readonly lastIndex: LogIndex;
  readonly bytes: number;
}

export class Progress {
  /** Highest index known to equal the leader's log and to be durable at the follower. */
  matchIndex: LogIndex = 0;
  nextIndex: LogIndex;
  /**
   * `probe`: nothing is known of the follower's log yet, one message at a time. `pipeline`:
   * messages follow each other without waiting. `reading`: what it needs is being read back from
   * the log store. `snapshot`: what it needs is gone; every heartbeat says so until it matches
   * something that is there (T10).
   */
  state: 'probe' | 'pipeline' | 'reading' | 'snapshot' = 'probe';
  /** When the follower was last heard from, and last sent to (milliseconds, monotonic). */
  heardAtMs: MonotonicMs;
  sentAtMs: MonotonicMs = Number.NEGATIVE_INFINITY;
  /**
   * Commit index that the follower was last told, and how much of it what was sent then could
   * reach.
   */
  commitSent: LogIndex = 0;
  commitReached: LogIndex = 0;
  /**
   * What the follower is to hear with the next message, or soon; null when it has heard everything.
   */
  owed: Owed | null = null;
  /** In state `snapshot`: since when (milliseconds). */
  private awaitsSnapshotSinceMs: MonotonicMs = 0;
  private round = 0;
  /** Refusals of earlier rounds are stale: the leader has fallen back since. */
  private roundMin = 0;
  private probeSent = false;
  private inflight: Inflight[] = [];
  private inflightBytes = 0;

  constructor(nextIndex: LogIndex, nowMs: MonotonicMs) {
    this.nextIndex = nextIndex;
    // A new leader gives every follower an election timeout to be heard from.
    this.heardAtMs = nowMs;
  }

  /** Whether entries may be sent now. */
  hasRoom(messagesMax: number, bytesMax: number): boolean {
    if (this.state === 'pipeline') return this.inflight.length < messagesMax && this.inflightBytes < bytesMax;
    return this.state === 'probe' && !this.probeSent;
  }

  nextRound(): number {
    this.round += 1;
    return this.round;
  }

  /** There is news that can wait a little for other messages to the same server. */
  owe(nowMs: MonotonicMs, wantsReply: boolean): void {
    const { owed } = this;
    this.owed = { sinceMs: owed?.sinceMs ?? nowMs, wantsReply: wantsReply || owed?.wantsReply === true };
  }

  onSent(lastIndex: LogIndex, bytes: number): void {
    if (this.state === 'probe') {
      this.probeSent = true;
      return;
    }
    this.inflight.push({ lastIndex, bytes });
    this.inflightBytes += bytes;
    this.nextIndex = indexAfter(lastIndex);
  }

  /** A lost probe would silence the leader for ever; with every heartbeat another one may go. */
  allowProbe(): void {
    this.probeSent = false;
  }

  onMatch(index: LogIndex): void {
    while (true) {
      const first = this.inflight[0];
      if (first === undefined || first.lastIndex > index) break;
      this.inflight.shift();
      this.inflightBytes -= first.bytes;
    }
    if (index > this.matchIndex) this.matchIndex = index;
    if (this.nextIndex <= this.matchIndex) this.nextIndex = indexAfter(this.matchIndex);
    if (this.state === 'probe' || this.state === 'snapshot') this.state = 'pipeline';
    this.probeSent = false;
  }

  awaitSnapshot(nowMs: MonotonicMs): void {
    this.state = 'snapshot';
    this.awaitsSnapshotSinceMs = nowMs;
    this.roundMin = this.round + 1;
    this.inflight = [];
    this.inflightBytes = 0;
  }

  /**
   * Whether it is alive and getting a snapshot, which may take so long and no longer
   * (milliseconds).
   */
  isInstalling(nowMs: MonotonicMs, heardWithinMs: number, forMs: number): boolean {
    const isAlive = nowMs - this.heardAtMs < heardWithinMs;
    return this.state === 'snapshot' && isAlive && nowMs - this.awaitsSnapshotSinceMs < forMs;
  }

  /** Whether a refusal of this round says something new. */
  isCurrent(round: number): boolean {
    return round >= this.roundMin;
  }

  /** Goes back to `nextIndex` and probes from there. */
  fallBack(nextIndex: LogIndex): void {
    this.nextIndex = Math.max(nextIndex, this.matchIndex + 1);
    this.state = 'probe';
    this.probeSent = false;
    this.roundMin = this.round + 1;
    this.inflight = [];
    this.inflightBytes = 0;
  }
}
