/**
 * Durable vote and term: on disk a term never goes back and the vote of a term never changes. No
 * server is told of a vote that is not on disk, and none votes for two candidates in a term (Raft
 * section 5.2).
 */
import type { WriteBatch } from '../../../shared/log-store/port.js';
import type { HardState } from '../../../shared/raft/entry.js';
import type { Message } from '../../../shared/raft/message.js';
import type { SimulatedServer } from '../server.js';
import { hold, type Invariant } from './invariant.js';

export class DurableVote implements Invariant {
  readonly name = 'durable vote';
  private readonly stored = new Map<string, HardState>();
  private readonly votes = new Map<string, string>();

  onLanded(server: SimulatedServer, batch: WriteBatch): void {
    for (const { group, hardState } of batch.groups) {
      if (hardState === undefined) continue;
      const key = `${server.name}/${group}`;
      const before = this.stored.get(key);
      this.stored.set(key, hardState);
      if (before === undefined) continue;
      hold(hardState.term >= before.term, this.name, () => `the stored term of ${key} goes back`, group);
      const keepsVote =
        hardState.term > before.term || before.votedFor === null || before.votedFor === hardState.votedFor;
      hold(keepsVote, this.name, () => `the stored vote of ${key} in term ${before.term} changes`, group);
    }
  }

  onSent(server: SimulatedServer, _: unknown, { body, to, term, group }: Message): void {
    const isVote = body.type === 'vote-reply' && body.granted && !body.preVote;
    const isOwnVote = body.type === 'vote' && !body.preVote;
    if (!isVote && !isOwnVote) return;
    const candidate = isVote ? to : server.name;
    const key = `${server.name}/${group}/${term}`;
    const before = this.votes.get(key);
    this.votes.set(key, candidate);
    const isFirst = before === undefined || before === candidate;
    hold(
      isFirst,
      this.name,
      () => `${server.name} votes for ${before} and ${candidate} in term ${term} of group ${group}`,
      group,
    );
    const hardState = this.stored.get(`${server.name}/${group}`);
    const isDurable =
      hardState !== undefined &&
      (hardState.term > term || (hardState.term === term && hardState.votedFor === candidate));
    hold(
      isDurable,
      this.name,
      () => `${server.name} tells of a vote for ${candidate} in term ${term} that is not on disk`,
      group,
    );
  }
}
