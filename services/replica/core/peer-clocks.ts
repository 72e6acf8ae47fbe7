/**
 * Round-trip clock samples with every peer, from what the envelopes carry anyway.
 *
 * The four timestamps are NTP's (RFC 5905 section 8), but round trips are measured with the
 * monotonic clocks. A clock that was set while an envelope was under way or held is noticed with
 * the next sample, and does not make it useless or wrong.
 */
import type { ClockGuard } from '../../../shared/clock/guard.js';
import type { MonotonicMs, ServerId, Timestamp } from '../../../shared/raft/entry.js';
import type { Envelope } from '../../../shared/wire/envelope.js';

interface Heard {
  /** By the peer's monotonic clock (microseconds). */
  readonly sentUs: number;
  /** By the own one (microseconds). */
  readonly receivedUs: number;
}

/** What an envelope carries besides what this file adds. */
type Contents = Pick<Envelope, 'messages' | 'barrierAsks' | 'barrierAnswers' | 'closeUpTo'>;

/** The shortest round trip of the last one or two periods of this length counts (milliseconds). */
const PERIOD_MS = 5_000;

/** Shortest round trips to one peer, in a period and in the one before. */
interface Shortest {
  readonly beganMs: MonotonicMs;
  readonly roundTripMs: number;
  readonly beforeMs: number;
}

/** An echo that has been held longer says nothing useful: monotonic clocks drift (microseconds). */
const HELD_US_MAX = 10_000_000;

export class PeerClocks {
  /**
   * The envelope that came last. One that was overtaken only looks like a long round trip, and the
   * shortest counts.
   */
  private readonly heard = new Map<ServerId, Heard>();
  private readonly shortest = new Map<ServerId, Shortest>();

  constructor(
    private readonly server: ServerId,
    private readonly groups: number,
    private readonly clock: ClockGuard,
  ) {}

  /**
   * Wraps what there is for a peer. `physical`: own clock (microseconds); `nowMs`: monotonic time.
   */
  wrap(to: ServerId, outgoing: Contents, physical: Timestamp, nowMs: MonotonicMs): Envelope {
    const nowUs = Math.round(nowMs * 1_000);
    const heard = this.heard.get(to);
    const heldUs = heard === undefined ? 0 : nowUs - heard.receivedUs;
    const isUsable = heard !== undefined && heldUs <= HELD_US_MAX;
    return {
      from: this.server,
      groups: this.groups,
      sentAt: physical,
      sentMonotonicUs: nowUs,
      echoMonotonicUs: isUsable ? heard.sentUs : 0,
      echoHeldUs: isUsable ? heldUs : 0,
      ...outgoing,
    };
  }

  /** Takes a clock sample from an envelope that has arrived. */
  receive(envelope: Envelope, physical: Timestamp, nowMs: MonotonicMs): void {
    const nowUs = Math.round(nowMs * 1_000);
    this.heard.set(envelope.from, { sentUs: envelope.sentMonotonicUs, receivedUs: nowUs });
    if (envelope.echoMonotonicUs === 0) return;
    // An echo of what this server sent before it was started again gives no plausible round trip.
    const roundTripUs = nowUs - envelope.echoMonotonicUs - envelope.echoHeldUs;
    const offsetUs = envelope.sentAt + roundTripUs / 2 - physical;
    this.clock.record(envelope.from, { offsetUs, roundTripUs, atMs: nowMs });
    if (roundTripUs >= 0) this.measure(envelope.from, roundTripUs / 1_000, nowMs);
  }

  /**
   * Of the peers that have been heard lately the longest round trip, without what queues add; 0
   * when none is known (milliseconds).
   */
  longestRoundTripMs(nowMs: MonotonicMs): number {
    let longest = 0;
    for (const { beganMs, roundTripMs, beforeMs } of this.shortest.values()) {
      if (nowMs - beganMs <= 2 * PERIOD_MS) longest = Math.max(longest, Math.min(roundTripMs, beforeMs));
    }
    return longest;
  }

  private measure(peer: ServerId, roundTripMs: number, nowMs: MonotonicMs): void {
    const known = this.shortest.get(peer);
    if (known === undefined || nowMs - known.beganMs > PERIOD_MS) {
      const isRecent = known !== undefined && nowMs - known.beganMs <= 2 * PERIOD_MS;
      const beforeMs = isRecent ? known.roundTripMs : Number.POSITIVE_INFINITY;
      this.shortest.set(peer, { beganMs: nowMs, roundTripMs, beforeMs });
    } else if (roundTripMs < known.roundTripMs) {
      this.shortest.set(peer, { ...known, roundTripMs });
    }
  }
}
