/**
 * What no correct server can have sent to this one: it contradicts what is proven of Raft and of T1
 * to T3. A server that believed it would break an invariant of its own and end. The sender is a
 * faulty server, or an attacker who may publish to the subjects of the servers: the message is
 * dropped, and an event names its sender.
 *
 * The shape of a message is the decoder's business (shared/wire/envelope.ts).
 */
import { BEFORE_ALL, BEFORE_FIRST, type ServerId, type Term } from './entry.js';
import type { AppendEntries, AppendReply, Message } from './message.js';
import type { GroupState } from './state.js';

/**
 * One that was cut off for years is not so far behind: an election takes a tenth of a second at
 * least.
 */
const TERMS_BEHIND_MAX: Term = 2 ** 32;

/** Why no correct server can have sent this, or null. */
export function whyImpossible(state: GroupState, message: Message): string | null {
  const { from, term, body } = message;
  if (from === state.server) return 'it is said to be of this server itself';
  if (term > state.term + TERMS_BEHIND_MAX) return `no cluster has come to term ${term}`;
  switch (body.type) {
    case 'append':
      return whyNoLeader(state, message) ?? whyNoClaim(body) ?? (term < state.term ? null : whyOtherLog(state, body));
    case 'snapshot':
      return whyNoLeader(state, message);
    case 'append-reply':
      return term === state.term ? whyNoFollower(state, from, body) : null;
    case 'vote':
      return body.lastTerm < term ? null : `a candidate of term ${term} has no entry of term ${body.lastTerm}`;
    default:
      return null;
  }
}

/**
 * Election safety: at most one leader a term (Raft section 5.2), and terms begin with an election.
 */
function whyNoLeader(state: GroupState, { from, term }: Message): string | null {
  if (term === 0) return 'nobody leads term 0';
  const { leader } = state;
  return term === state.term && leader !== null && leader !== from ? `${leader} leads term ${term}, not ${from}` : null;
}

/**
 * T2, T3: what a leader appends after a claim is later than the claim, and a quorum promises
 * nothing that was not claimed.
 */
function whyNoClaim({ prevIndex, entries, closed, quorumClosed }: AppendEntries): string | null {
  const claimed = closed?.timestamp ?? BEFORE_ALL;
  if ((quorumClosed?.timestamp ?? BEFORE_ALL) > claimed)
    return `a quorum has not closed what its leader has closed up to ${claimed}`;
  const after = entries[Math.max(0, (closed?.index ?? BEFORE_FIRST) - prevIndex)];
  if (closed === null || after === undefined || after.timestamp > claimed) return null;
  return `entry ${after.index} is at ${after.timestamp}, which its leader has closed`;
}

/** Leader completeness (Raft section 5.4.3) and increasing timestamps (T1, T3). */
function whyOtherLog(state: GroupState, { prevIndex, prevTerm, entries }: AppendEntries): string | null {
  const { log, commitIndex } = state;
  if (prevIndex > log.base.index && log.termAt(prevIndex) !== prevTerm) {
    // A leader does not know the terms before its base (T10), and says 0. A log that is another one
    // there is not appended to.
    if (prevTerm === 0 || prevIndex > commitIndex) return null;
    return `entry ${prevIndex} is committed, and of another term than ${prevTerm}`;
  }
  const fresh = entries.find(({ index, term }) => index > log.base.index && log.termAt(index) !== term);
  if (fresh === undefined) return null;
  const { index, term, timestamp } = fresh;
  if (index <= commitIndex) return `entry ${index} is committed, and of another term than ${term}`;
  if (term < log.termAt(index - 1)) return `entry ${index} is of term ${term}, and the one before it of a later one`;
  if (timestamp <= log.timestampAt(index - 1)) return `T1: the timestamp of entry ${index} does not increase`;
  return timestamp <= state.watermark ? `T3: entry ${index} is at ${timestamp}, which is closed` : null;
}

/**
 * A leader follows no other one of its term. A follower's log equals the leader's up to where it
 * says so (Raft section 5.3).
 */
function whyNoFollower(
  { log, role, leader }: GroupState,
  from: ServerId,
  { refusal, matchIndex }: AppendReply,
): string | null {
  if (refusal !== 'none') return null;
  if (from === leader) return `${from} leads the term, and follows no other server in it`;
  return role === 'leader' && matchIndex > log.lastIndex ? `entry ${matchIndex} was never sent to it` : null;
}
