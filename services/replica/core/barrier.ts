/**
 * Read barriers: linearizable reads at any server without a leader (T6).
 *
 * A barrier asks every server for the largest timestamp that it has appended in any group and takes
 * the maximum T over a quorum. A write that was acknowledged before the barrier began is on a
 * quorum, which meets this one: so its timestamp is <= T, whatever the clocks do. Once every
 * watermark here has reached T, all that will ever lie at or below T is committed here. The barrier
 * then gives, for each group, the index up to which the state machine must have applied before it
 * may be read.
 *
 * What a quorum is depends on the configuration, which this server may be the last to learn of
 * (T11). Of the servers that hold the write, one that has been asked knows its configuration, since
 * quorums of neighbouring configurations meet. Therefore nothing counts until this server knows a
 * configuration as new as the newest that it has been told of.
 */
import type { MonotonicMs, ServerId, Timestamp } from '../../../shared/raft/entry.js';
import type { BarrierAnswer, ConfigurationPlace } from '../../../shared/wire/envelope.js';

interface Barrier {
  readonly request: number;
  readonly answered: Set<ServerId>;
  timestamp: Timestamp;
  /** For each group the newest configuration that an answer spoke of. */
  newest: readonly ConfigurationPlace[];
  hasQuorum: boolean;
  /** When the others were last asked, or told what this barrier waits for (milliseconds). */
  askedAtMs: MonotonicMs;
}

/**
 * Barriers under way at once: an applier has 16 at most, and some may be left by appliers that are
 * gone.
 */
export const BARRIERS_MAX = 64;

export class Barriers {
  private readonly byId = new Map<number, Barrier>();

  constructor(
    private readonly server: ServerId,
    /**
     * Ids of different lives of a server must differ: an answer to an older life's ask says nothing
     * about now.
     */
    private nextId: number,
    /**
     * Whether these servers are a quorum of every group, in configurations at least as new as
     * these.
     */
    private readonly isQuorum: (servers: ReadonlySet<ServerId>, newest: readonly ConfigurationPlace[]) => boolean,
  ) {}

  /** Begins a barrier. False when there are too many. */
  begin(request: number, ownTimestamp: Timestamp): boolean {
    if (this.byId.size >= BARRIERS_MAX) return false;
    const answered = new Set([this.server]);
    this.byId.set(this.nextId++, {
      request,
      answered,
      timestamp: ownTimestamp,
      newest: [],
      hasQuorum: this.isQuorum(answered, []),
      askedAtMs: Number.NEGATIVE_INFINITY,
    });
    return true;
  }

  /** Barriers under way, and how many may be. */
  get fill(): { readonly now: number; readonly max: number } {
    return { now: this.byId.size, max: BARRIERS_MAX };
  }

  get areWaiting(): boolean {
    return this.byId.size > 0;
  }

  remove(request: number): void {
    for (const [id, barrier] of this.byId) if (barrier.request === request) this.byId.delete(id);
  }

  answer(from: ServerId, { id, timestamp, configurations }: BarrierAnswer): void {
    const barrier = this.byId.get(id);
    if (barrier === undefined || barrier.hasQuorum) return;
    barrier.answered.add(from);
    barrier.timestamp = Math.max(barrier.timestamp, timestamp);
    const { newest } = barrier;
    barrier.newest = configurations.map((place, group) => laterOf(place, newest[group]));
    barrier.hasQuorum = this.isQuorum(barrier.answered, barrier.newest);
  }

  /**
   * This server may have learned of a newer configuration: answers that it could not judge may
   * count now.
   */
  recount(): void {
    for (const barrier of this.byId.values()) {
      if (!barrier.hasQuorum && barrier.newest.length > 0) {
        barrier.hasQuorum = this.isQuorum(barrier.answered, barrier.newest);
      }
    }
  }

  /** Ids to ask `peer` for now; asked again after `intervalMs`, since messages may be lost. */
  asks(nowMs: MonotonicMs, intervalMs: number): { id: number; missing: (peer: ServerId) => boolean }[] {
    const asks: { id: number; missing: (peer: ServerId) => boolean }[] = [];
    for (const [id, barrier] of this.byId) {
      if (barrier.hasQuorum || nowMs - barrier.askedAtMs < intervalMs) continue;
      barrier.askedAtMs = nowMs;
      asks.push({ id, missing: (peer) => !barrier.answered.has(peer) });
    }
    return asks;
  }

  /**
   * The largest timestamp that a barrier waits for; 0 when none does (T6: it may close up to T).
   */
  get waitingFor(): Timestamp {
    let largest = 0;
    for (const barrier of this.byId.values()) if (barrier.hasQuorum) largest = Math.max(largest, barrier.timestamp);
    return largest;
  }

  /**
   * What to ask the others to close up to, or 0. They close by themselves when they know of the
   * entry. Therefore only a barrier that has been waiting for a while asks, and not more often than
   * every `intervalMs`.
   */
  nudge(lowestWatermark: Timestamp, nowMs: MonotonicMs, intervalMs: number): Timestamp {
    let largest = 0;
    for (const barrier of this.byId.values()) {
      if (!barrier.hasQuorum || barrier.timestamp <= lowestWatermark) continue;
      if (nowMs - barrier.askedAtMs < intervalMs) continue;
      barrier.askedAtMs = nowMs;
      largest = Math.max(largest, barrier.timestamp);
    }
    return largest;
  }

  /** Requests whose barrier is passed: every watermark has reached its timestamp. */
  passed(lowestWatermark: Timestamp): number[] {
    const requests: number[] = [];
    for (const [id, barrier] of this.byId) {
      if (!barrier.hasQuorum || barrier.timestamp > lowestWatermark) continue;
      requests.push(barrier.request);
      this.byId.delete(id);
    }
    return requests;
  }
}

function laterOf(a: ConfigurationPlace, b: ConfigurationPlace | undefined): ConfigurationPlace {
  return b === undefined || isAtLeast(a, b) ? a : b;
}

/**
 * Whether the configuration at `a` is as new as the one at `b`: compared as logs are (Raft section
 * 5.4.1).
 */
export function isAtLeast(a: ConfigurationPlace, b: ConfigurationPlace): boolean {
  return a.term > b.term || (a.term === b.term && a.index >= b.index);
}
