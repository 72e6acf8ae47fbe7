/** What one turn has for each peer, in the order in which it came up, until it leaves in envelopes. */
import type { LogEntry, ServerId, Timestamp } from '../../../shared/raft/entry.js';
import type { BarrierAnswer, Message } from '../../../shared/raft/message.js';

/** For one peer. */
export interface Outgoing {
  readonly messages: Message[];
  readonly barrierAsks: number[];
  readonly barrierAnswers: BarrierAnswer[];
  closeUpTo: Timestamp;
}

export class Outbox {
  private readonly byPeer = new Map<ServerId, Outgoing>();

  /** @param bytesMax Most bytes of entries in one envelope, one message at least. */
  constructor(private readonly bytesMax: number) {}

  to(peer: ServerId): Outgoing {
    let outgoing = this.byPeer.get(peer);
    if (outgoing === undefined) {
      outgoing = { messages: [], barrierAsks: [], barrierAnswers: [], closeUpTo: 0 };
      this.byPeer.set(peer, outgoing);
    }
    return outgoing;
  }

  add(message: Message): void {
    this.to(message.to).messages.push(message);
  }

  /** Empties the box: the contents of each envelope, with its peer. */
  *take(): Generator<[peer: ServerId, contents: Outgoing]> {
    for (const [peer, outgoing] of this.byPeer) {
      // What is not a message goes once, with the first piece.
      let besides: Omit<Outgoing, 'messages'> = outgoing;
      for (const messages of piecesOf(outgoing.messages, this.bytesMax)) {
        const { barrierAsks, barrierAnswers, closeUpTo } = besides;
        yield [peer, { messages, barrierAsks, barrierAnswers, closeUpTo }];
        besides = { barrierAsks: [], barrierAnswers: [], closeUpTo: 0 };
      }
    }
    this.byPeer.clear();
  }
}

/** Messages in their order, cut where their entries would be more than `bytesMax`; one piece at least, one message in each. */
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
