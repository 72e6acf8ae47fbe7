/**
 * Reference time: the median of the servers' physical clocks, as far as this server can tell.
 *
 * Each envelope between two servers carries what a round-trip clock sample needs (as NTP does, RFC
 * 5905 section 8). Of the latest samples of a peer the one with the shortest round trip counts: its
 * error is at most half of that round trip. The median makes one clock that is far off powerless
 * while most are right. Without fresh samples the reference is the server's own clock; of two
 * middle values the one nearer to the own clock counts.
 */
import type { MonotonicMs, ServerId } from '../raft/entry.js';
import { itemAt } from '../raft/lists.js';

/** One round trip with a peer. */
export interface ClockSample {
  /** Peer's clock minus own clock (microseconds). */
  readonly offsetUs: number;
  readonly roundTripUs: number;
  /** When it was taken (milliseconds, monotonic). */
  readonly atMs: MonotonicMs;
}

const SAMPLES_PER_PEER_MAX = 8;
const SAMPLE_AGE_MS_MAX = 30_000;
/** A round trip longer than this says too little about the offset. */
const ROUND_TRIP_US_MAX = 500_000;

export class ReferenceTime {
  private readonly samples = new Map<ServerId, ClockSample[]>();

  /**
   * Records a sample; one with an implausible round trip is ignored. True when it is the only fresh
   * one of this peer.
   */
  record(peer: ServerId, sample: ClockSample): boolean {
    if (sample.roundTripUs < 0 || sample.roundTripUs > ROUND_TRIP_US_MAX) return false;
    const list = this.samples.get(peer) ?? [];
    const last = list[list.length - 1];
    list.push(sample);
    if (list.length > SAMPLES_PER_PEER_MAX) list.shift();
    this.samples.set(peer, list);
    return last === undefined || sample.atMs - last.atMs > SAMPLE_AGE_MS_MAX;
  }

  /**
   * The own clock was set forward by `stepUs`: every peer's clock is that much less ahead of it.
   * What comes to lie within `agreementUs` of it only by that is forgotten. Such a peer was the one
   * that differed, and may have been set right since: a clock that follows it there would take an
   * old sample for a witness. The peer's next message says what holds now.
   */
  shift(stepUs: number, agreementUs: number): void {
    for (const [peer, list] of this.samples) {
      const shifted = list
        .map((sample) => ({ ...sample, offsetUs: sample.offsetUs - stepUs }))
        .filter(({ offsetUs }) => Math.abs(offsetUs) > agreementUs || Math.abs(offsetUs + stepUs) <= agreementUs);
      this.samples.set(peer, shifted);
    }
  }

  /** Reference time minus own physical clock (microseconds). */
  offsetUs(nowMs: MonotonicMs): number {
    const [lower, upper] = this.middle(nowMs);
    return Math.abs(lower) < Math.abs(upper) ? lower : upper;
  }

  /**
   * The same, but the earlier one of two middle values: negative when the own clock may be the one
   * that is ahead.
   */
  earliestOffsetUs(nowMs: MonotonicMs): number {
    return this.middle(nowMs)[0];
  }

  /**
   * A peer's clock minus the own one, by its best fresh sample (microseconds); undefined when
   * nothing is known.
   */
  peerOffsetUs(peer: ServerId, nowMs: MonotonicMs): number | undefined {
    const fresh = (this.samples.get(peer) ?? []).filter((sample) => nowMs - sample.atMs <= SAMPLE_AGE_MS_MAX);
    const [first, ...rest] = fresh;
    if (first === undefined) return undefined;
    return rest.reduce((a, b) => (b.roundTripUs < a.roundTripUs ? b : a), first).offsetUs;
  }

  private middle(nowMs: MonotonicMs): readonly [lower: number, upper: number] {
    const offsets = [0];
    for (const peer of this.samples.keys()) {
      const offsetUs = this.peerOffsetUs(peer, nowMs);
      if (offsetUs !== undefined) offsets.push(offsetUs);
    }
    offsets.sort((a, b) => a - b);
    const upper = itemAt(offsets, offsets.length >> 1);
    const lower = itemAt(offsets, (offsets.length - 1) >> 1);
    return [lower, upper];
  }
}
