/**
 * A follower's success says only what is on its disk, and so does the promise beside it (Raft
 * section 5.3, T2).
 */

import type { GroupId, Timestamp } from '../../../shared/raft/entry.js';
import type { Message } from '../../../shared/raft/message.js';
import type { Ledger } from '../ledger.js';
import type { SimulatedServer } from '../server.js';
import { hold, type Invariant, type Surroundings } from './invariant.js';

export class DurableReply implements Invariant {
  readonly name = 'durable reply';
  protected readonly ledger: Ledger;

  constructor({ ledger }: Surroundings) {
    this.ledger = ledger;
  }

  onSent(server: SimulatedServer, _: unknown, { body, term, group }: Message): void {
    if (body.type === 'vote-reply' && body.granted && !body.preVote) this.promise(server, group, body.promised);
    if (body.type !== 'append-reply') return;
    this.promise(server, group, body.promised);
    if (body.refusal !== 'none' || body.matchIndex === 0) return;
    const stored = server.disk.groups.get(group);
    // A later term may have replaced it by now; then the reply is of no use.
    if ((stored?.head.hardState.term ?? 0) > term) return;
    const isStored = (stored?.head.lastIndex ?? 0) >= body.matchIndex;
    hold(
      isStored,
      this.name,
      () => `${server.name} tells of entry ${body.matchIndex} of group ${group}, which is not on its disk`,
      group,
    );
  }

  private promise(server: SimulatedServer, group: GroupId, promised: Timestamp): void {
    const { promiseLimit } = server.disk;
    hold(
      promised <= promiseLimit,
      this.name,
      () => `${server.name} promises ${promised} with a durable limit of ${promiseLimit}`,
      group,
    );
  }
}
