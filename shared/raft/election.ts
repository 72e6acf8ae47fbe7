/**
 * Elections: Raft sections 5.2 and 5.4.1, pre-vote and leader stickiness (dissertation 9.6, 4.2.3),
 * promises in votes (T2).
 */
import type { MonotonicMs, ServerId, Term } from './entry.js';
import { becomeLeader } from './leading.js';
import type { Message, VoteReply, VoteRequest } from './message.js';
import { quorumSize } from './options.js';
import type { GroupState } from './state.js';

/**
 * The election timeout has passed: asks whether an election could be won before it disturbs the
 * others with a new term.
 */
export function onElectionTimeout(state: GroupState, nowMs: MonotonicMs): void {
  state.electionDeadlineMs = state.randomDeadline(nowMs);
  if (!mayCampaign(state)) return;
  campaign(state, { preVote: true, transfer: false }, nowMs);
}

/**
 * Heartbeats that a follower misses before it asks the transport whether its leader takes messages
 * at all.
 */
const SILENT_HEARTBEATS = 3;

/**
 * The leader that has been silent for some heartbeats, on a follower that might stand in its place.
 */
export function silentLeader(
  { role, leader, leaderHeardAtMs, options }: GroupState,
  nowMs: MonotonicMs,
): ServerId | null {
  if (role !== 'follower' || leader === null) return null;
  return nowMs - leaderHeardAtMs >= options.heartbeatMs * SILENT_HEARTBEATS ? leader : null;
}

/**
 * The transport says that no process takes messages for `peer`. If that is the silent leader, this
 * follower need not wait for the rest of its election timeout, nor protect that leader any longer.
 * This is only about when to stand: a word that is wrong costs an election, since pre-votes, votes
 * and terms are as ever.
 */
export function onUnreachable(state: GroupState, peer: ServerId, nowMs: MonotonicMs): void {
  if (silentLeader(state, nowMs) !== peer) return;
  const { heartbeatMs, random } = state.options;
  state.leaderHeardAtMs = Number.NEGATIVE_INFINITY;
  // Followers hear of it at about the same time: they stand at different ones (Raft section 5.2).
  state.electionDeadlineMs = Math.min(state.electionDeadlineMs, nowMs + random() * heartbeatMs);
}

/**
 * The leader hands over (dissertation, section 3.10): no pre-vote, and voters do not protect the
 * old leader.
 */
export function onTimeoutNow(state: GroupState, nowMs: MonotonicMs): void {
  if (!mayCampaign(state)) return;
  campaign(state, { preVote: false, transfer: true }, nowMs);
}

/** A server whose clock, or whose floor, is too far off does not lead; it says so and waits. */
function mayCampaign(state: GroupState): boolean {
  if (!state.isElectable) return false;
  const { clock } = state.options;
  const floor = Math.max(state.log.lastTimestamp, state.closedTimestamps.promised);
  if (clock.mayLead() && floor <= clock.bound()) return true;
  state.events.push({ type: 'clock-refused', what: 'campaign', timestamp: floor });
  return false;
}

function campaign(state: GroupState, kind: { preVote: boolean; transfer: boolean }, nowMs: MonotonicMs): void {
  const { preVote } = kind;
  const nextTerm = state.term + 1;
  if (!preVote) {
    state.closedTimestamps.reset();
    state.term = nextTerm;
    state.votedFor = state.server;
    state.unsaved.hardState = true;
    state.elections += 1;
  }
  state.role = preVote ? 'pre-candidate' : 'candidate';
  state.leader = null;
  state.electionDeadlineMs = state.randomDeadline(nowMs);
  state.candidacy = {
    ...kind,
    granted: new Set(),
    floor: Math.max(state.log.lastTimestamp, state.closedTimestamps.promised),
  };
  const request: VoteRequest = {
    type: 'vote',
    preVote,
    transfer: kind.transfer,
    lastIndex: state.log.lastIndex,
    lastTerm: state.log.lastTerm,
  };
  for (const voter of state.configuration.voters) {
    // A real vote of its own must be durable before it can be counted: the request waits for the
    // same write.
    if (voter !== state.server) state.send(voter, request, preVote ? 'now' : 'durable', nextTerm);
  }
  if (preVote) {
    state.candidacy.granted.add(state.server);
    maybeWin(state, nowMs);
  }
}

/** The candidate's own vote of `term` has become durable. */
export function onOwnVoteDurable(state: GroupState, term: Term, nowMs: MonotonicMs): void {
  if (state.role !== 'candidate' || state.term !== term || state.candidacy === null) return;
  state.candidacy.granted.add(state.server);
  maybeWin(state, nowMs);
}

export function onVoteRequest(state: GroupState, message: Message, request: VoteRequest, nowMs: MonotonicMs): void {
  const hasLeader = state.role === 'leader' || nowMs - state.leaderHeardAtMs < state.options.electionTimeoutMs;
  if (hasLeader && !request.transfer && message.term > state.term) {
    // A server that hears from a leader helps no other to replace it; a server that was cut off
    // must not disturb the rest.
    if (request.preVote) replyVote(state, message, request, false, 'now');
    return;
  }
  if (!request.preVote && message.term > state.term) state.becomeFollower(message.term, null, nowMs);
  if (message.term < state.term) {
    replyVote(state, message, request, false, 'now');
    return;
  }
  const { log } = state;
  const isUpToDate =
    request.lastTerm > log.lastTerm || (request.lastTerm === log.lastTerm && request.lastIndex >= log.lastIndex);
  if (request.preVote) {
    replyVote(state, message, request, isUpToDate && message.term > state.term, 'now');
    return;
  }
  const isFree = state.votedFor === null || state.votedFor === message.from;
  if (!isUpToDate || !isFree || state.role !== 'follower') {
    replyVote(state, message, request, false, 'now');
    return;
  }
  if (state.votedFor === null) {
    state.votedFor = message.from;
    state.unsaved.hardState = true;
  }
  state.electionDeadlineMs = state.randomDeadline(nowMs);
  // The promise that the vote carries must be durable as well; after a restart it would be the
  // limit otherwise.
  state.options.promiseLimit.need(state.closedTimestamps.promised);
  replyVote(state, message, request, true, 'durable');
}

function replyVote(
  state: GroupState,
  message: Message,
  request: VoteRequest,
  granted: boolean,
  when: 'now' | 'durable',
): void {
  const reply: VoteReply = {
    type: 'vote-reply',
    preVote: request.preVote,
    granted,
    promised: state.closedTimestamps.promised,
  };
  // A granted pre-vote is about the term asked for; a refusal tells the own term, so that the asker
  // can catch up.
  state.send(message.from, reply, when, granted ? message.term : state.term);
}

export function onVoteReply(state: GroupState, message: Message, reply: VoteReply, nowMs: MonotonicMs): void {
  const { candidacy } = state;
  if (candidacy === null || candidacy.preVote !== reply.preVote) return;
  const termAsked = candidacy.preVote ? state.term + 1 : state.term;
  if (!reply.granted || message.term !== termAsked) return;
  if (!state.configuration.voters.includes(message.from)) return;
  candidacy.granted.add(message.from);
  candidacy.floor = Math.max(candidacy.floor, reply.promised);
  maybeWin(state, nowMs);
}

function maybeWin(state: GroupState, nowMs: MonotonicMs): void {
  const { candidacy } = state;
  if (candidacy === null) return;
  // The own vote counts only as a voter's.
  const granted = state.configuration.voters.filter((voter) => candidacy.granted.has(voter));
  if (granted.length < quorumSize(state.configuration)) return;
  // The votes brought clock samples along: a server whose clock is wrong may know it only now.
  if (!mayCampaign(state)) {
    state.becomeFollower(state.term, null, nowMs);
    return;
  }
  if (candidacy.preVote) {
    campaign(state, { preVote: false, transfer: false }, nowMs);
    return;
  }
  // What the voters have promised may lie beyond the clock's bound; such a leader could not stamp
  // anything acceptable.
  if (candidacy.floor > state.options.clock.bound()) {
    state.events.push({ type: 'clock-refused', what: 'floor', timestamp: candidacy.floor });
    state.becomeFollower(state.term, null, nowMs);
    return;
  }
  becomeLeader(state, candidacy.floor, nowMs);
}
