/**
 * What there is for each peer, in the order in which it came up, until it leaves in envelopes.
 *
 * What is urgent leaves at the end of the turn. What is patient goes along with the next envelope
 * to that peer, or alone when it has waited for `PATIENCE_MS`: an envelope costs much more than
 * what is in it. To a peer at which a read waits, nothing is patient.
 */
import type { LogEntry, MonotonicMs, ServerId, Timestamp } from '../../../shared/raft/entry.js';
import type { Message } from '../../../shared/raft/message.js';
import type { BarrierAnswer, Envelope } from '../../../shared/wire/envelope.js';

/** For one peer. */
export type Outgoing = Pick<Envelope, 'messages' | 'barrierAsks' | 'barrierAnswers' | 'closeUpTo'>;

/**
 * How long what is patient waits for company (milliseconds). Longer than most disk writes: after a
 * write, the acknowledgement of an append takes along the claim that the append caused. Also longer
 * than a client with one request in flight needs from one request to the next. No answer to a
 * client waits for anything patient, unless a disk is slower than this.
 */
export const PATIENCE_MS = 4;

/** Patient messages for one peer: with more of them nothing waits. */
const PATIENT_MAX = 64;

class Peer {
  readonly messages: Message[] = [];
  readonly patient: Message[] = [];
  /** Since when the first of `patient` has been waiting (milliseconds, monotonic). */
  patientSinceMs: MonotonicMs = Number.POSITIVE_INFINITY;
  readonly barrierAsks: number[] = [];
  readonly barrierAnswers: BarrierAnswer[] = [];
  closeUpTo: Timestamp = 0;
  /** The transport is to be asked whether the peer takes messages. */
  isProbed = false;

  get isUrgent(): boolean {
    const { messages, barrierAsks, barrierAnswers, closeUpTo, isProbed, patient } = this;
    const urgent = messages.length + barrierAsks.length + barrierAnswers.length;
    return urgent > 0 || closeUpTo > 0 || isProbed || patient.length > PATIENT_MAX;
  }
}

export class Outbox {
  private readonly byPeer = new Map<ServerId, Peer>();
  /** Until when nothing for a peer is patient (milliseconds). */
  private readonly impatientUntilMs = new Map<ServerId, MonotonicMs>();

  /** @param bytesMax Most bytes of entries in one envelope, one message at least. */
  constructor(public bytesMax: number) {}

  to(peer: ServerId): Peer {
    let outgoing = this.byPeer.get(peer);
    if (outgoing === undefined) {
      outgoing = new Peer();
      this.byPeer.set(peer, outgoing);
    }
    return outgoing;
  }

  add(message: Message, nowMs: MonotonicMs): void {
    const peer = this.to(message.to);
    if (message.isPatient !== true) peer.messages.push(message);
    else if (peer.patient.push(message) === 1) peer.patientSinceMs = nowMs;
  }

  /**
   * An envelope leaves for `peer` at once, also when there is nothing to say: the transport is
   * asked about it.
   */
  probe(peer: ServerId): void {
    this.to(peer).isProbed = true;
  }

  /**
   * A read waits at `peer`, or here for what `peer` has to say: until then what goes there leaves
   * at once.
   */
  hurry(peer: ServerId, untilMs: MonotonicMs): void {
    this.impatientUntilMs.set(peer, untilMs);
  }

  /**
   * Whether an envelope leaves for `peer` now. `sinceMs`: since when there has been something that
   * is not in here yet.
   */
  isLeaving(peer: ServerId, nowMs: MonotonicMs, sinceMs = Number.POSITIVE_INFINITY): boolean {
    const outgoing = this.byPeer.get(peer);
    if (outgoing?.isUrgent === true) return true;
    const oldestMs = Math.min(sinceMs, outgoing?.patientSinceMs ?? sinceMs);
    return this.isDue(oldestMs, nowMs) || (oldestMs <= nowMs && nowMs < (this.impatientUntilMs.get(peer) ?? oldestMs));
  }

  private isDue(sinceMs: MonotonicMs, nowMs: MonotonicMs): boolean {
    return nowMs - sinceMs >= PATIENCE_MS;
  }

  /**
   * When something that waits has to leave alone; null when nothing waits (milliseconds,
   * monotonic).
   */
  nextDueMs(): MonotonicMs | null {
    let next: number | null = null;
    for (const { patient, patientSinceMs } of this.byPeer.values()) {
      if (patient.length > 0) next = Math.min(next ?? patientSinceMs, patientSinceMs);
    }
    return next === null ? null : next + PATIENCE_MS;
  }

  /**
   * Takes out what leaves now: the contents of each envelope, with its peer, and whether it is a
   * probe.
   */
  *take(nowMs: MonotonicMs): Generator<[peer: ServerId, contents: Outgoing, isProbe: boolean]> {
    for (const [peer, outgoing] of this.byPeer) {
      if (!this.isLeaving(peer, nowMs)) continue;
      this.byPeer.delete(peer);
      // What is not a message goes once, with the first piece.
      let besides: Omit<Outgoing, 'messages'> = outgoing;
      // What has waited is older than the rest.
      for (const messages of piecesOf([...outgoing.patient, ...outgoing.messages], this.bytesMax)) {
        const { barrierAsks, barrierAnswers, closeUpTo } = besides;
        yield [peer, { messages, barrierAsks, barrierAnswers, closeUpTo }, outgoing.isProbed];
        outgoing.isProbed = false;
        besides = { barrierAsks: [], barrierAnswers: [], closeUpTo: 0 };
      }
    }
  }
}

/**
 * Messages in their order, cut where their entries would be more than `bytesMax`; one piece at
 * least, one message in each.
 */
function piecesOf(messages: readonly Message[], bytesMax: number): Message[][] {
  let piece: Message[] = [];
  const pieces = [piece];
  let bytes = 0;
  for (const message of messages) {
    const size = message.body.type === 'append' ? blockLength(message.body.entries) : 0;
    if (bytes > 0 && bytes + size > bytesMax) {
      piece = [];
      pieces.push(piece);
      bytes = 0;
    }
    piece.push(message);
    bytes += size;
  }
  return pieces;
}

function blockLength(entries: readonly LogEntry[]): number {
  let length = 0;
  for (const entry of entries) length += entry.bytes.length;
  return length;
}
