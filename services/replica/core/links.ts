/** Round-trip clock samples with every peer, from what the envelopes carry anyway (NTP's four timestamps). */
import type { ClockGuard } from '../../../shared/clock/guard.js';
import type { ServerId, Timestamp } from '../../../shared/raft/entry.js';
import type { Envelope } from '../../../shared/raft/message.js';

interface Heard {
  readonly sentAt: Timestamp;
  readonly receivedAt: Timestamp;
}

/** What an envelope carries besides what this file adds. */
type Contents = Pick<Envelope, 'messages' | 'barrierAsks' | 'barrierAnswers' | 'closeUpTo'>;

/** An echo that has been held longer says nothing useful: clocks may have been set meanwhile (microseconds). */
const HELD_US_MAX = 10_000_000;

export class Links {
  private readonly heard = new Map<ServerId, Heard>();

  constructor(
    private readonly server: ServerId,
    private readonly groups: number,
    private readonly clock: ClockGuard,
  ) {}

  /** Wraps what there is for a peer. `physical`: own clock (microseconds). */
  wrap(to: ServerId, outgoing: Contents, physical: Timestamp): Envelope {
    const heard = this.heard.get(to);
    const heldUs = heard === undefined ? 0 : physical - heard.receivedAt;
    const isUsable = heard !== undefined && heldUs >= 0 && heldUs <= HELD_US_MAX;
    return {
      from: this.server,
      groups: this.groups,
      sentAt: physical,
      echoSentAt: isUsable ? heard.sentAt : 0,
      echoHeldUs: isUsable ? heldUs : 0,
      ...outgoing,
    };
  }

  /** Takes a clock sample from an envelope that has arrived. */
  receive(envelope: Envelope, physical: Timestamp, nowMs: number): void {
    const newest = this.heard.get(envelope.from);
    // An envelope that was overtaken must not be echoed: it would look like a long round trip at best.
    if (newest === undefined || envelope.sentAt > newest.sentAt || physical - newest.receivedAt > HELD_US_MAX) {
      this.heard.set(envelope.from, { sentAt: envelope.sentAt, receivedAt: physical });
    }
    if (envelope.echoSentAt === 0) return;
    const roundTripUs = physical - envelope.echoSentAt - envelope.echoHeldUs;
    const offsetUs = envelope.sentAt + roundTripUs / 2 - physical;
    this.clock.record(envelope.from, { offsetUs, roundTripUs, atMs: nowMs });
  }
}
