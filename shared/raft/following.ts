import {
  BEFORE_ALL,
  BEFORE_FIRST,
  indexAfter,
  LOG_START,
  type LogIndex,
  type MonotonicMs,
  type ServerId,
  type Term,
} from './entry.js';
import { itemAt } from './lists.js';
import type { AppendEntries, AppendReply, Message, Refusal, SnapshotNotice } from './message.js';
import { quorumSize } from './options.js';
import type { GroupState } from './state.js';

export function onAppendEntries(state: GroupState, message: Message, append: AppendEntries, nowMs: MonotonicMs): void {
  if (!follow(state, message, append.round, nowMs)) return;
  const beyond = firstBeyondBound(state, append);
  if (beyond !== null) {
    state.events.push({ type: 'clock-refused', what: `${message.from} sends`, timestamp: beyond });
    reply(state, message, append.round, { refusal: 'clock' }, 'durable');
    return;
  }
  const isNewClaim = (append.closed?.timestamp ?? BEFORE_ALL) > state.closedTimestamps.promised;
  hearClaims(state, message.from, append);

  const conflict = findConflict(state, append);
  if (conflict !== null) {
    reply(state, message, append.round, { refusal: 'log-mismatch', ...conflict }, 'durable');
    return;
  }
  const matchIndex = store(state, append);
  state.hearDurable(message.from, append.durableIndex);
  state.setCommitIndex(Math.min(append.commitIndex, matchIndex));
  state.countDurable();
  state.updateWatermark();
  // Nothing waits for the answer to a heartbeat, nor for a promise where its claim counts without.
  const isPatient = append.entries.length === 0 && (!isNewClaim || quorumSize(state.configuration) <= 2);
  const told = reply(state, message, append.round, { refusal: 'none', matchIndex }, 'durable', isPatient);
  if (told === null || !append.tellsAll || !state.isVoter) return;
  // What the leader knows as committed it tells all members itself.
  const hasNewEntries = matchIndex > append.commitIndex;
  if (hasNewEntries || isNewClaim) tellOthers(state, message.from, told, hasNewEntries);
}

/**
 * What one that is no leader hears from a follower of this term: also a candidate, and a leader
 * that has stepped down. A server that is no voter, as far as is known here, is not listened to.
 */
export function onFollowerReply(state: GroupState, message: Message, told: AppendReply): void {
  const { voters } = state.configuration;
  if (!voters.includes(message.from)) return;
  state.closedTimestamps.onPromised(message.from, told.promised);
  if (told.refusal === 'none') state.hearDurable(message.from, told.matchIndex);
  state.countDurable();
  state.updateWatermark();
}

/** Claims may wait a little for company: the next one follows soon. Entries may not. */
function tellOthers(state: GroupState, leader: ServerId, told: AppendReply, hasNewEntries: boolean): void {
  const { voters, learners } = state.configuration;
  for (const member of [...voters, ...learners]) {
    if (member === state.server || member === leader) continue;
    if (hasNewEntries) state.send(member, told, 'durable');
    else state.sendPatiently(member, told, 'durable');
  }
}

/**
 * What this server needs has left the leader's log: the owner gets a snapshot, unless what is
 * committed here reaches far enough (T10).
 */
export function onSnapshotNotice(
  state: GroupState,
  message: Message,
  notice: SnapshotNotice,
  nowMs: MonotonicMs,
): void {
  if (!follow(state, message, notice.round, nowMs)) return;
  if (state.commitIndex >= notice.index) {
    // Committed here, so it is what the leader has (leader completeness, Raft section 5.4.3).
    reply(state, message, notice.round, { refusal: 'none', matchIndex: state.commitIndex }, 'durable');
    return;
  }
  state.notice = notice;
  state.events.push({ type: 'snapshot-needed', index: notice.index });
  reply(state, message, notice.round, { refusal: 'snapshot' }, 'durable');
}

/**
 * The sender leads the term of the message (Raft section 5.2); false, and told so, when
 * that term is over.
 */
function follow(state: GroupState, message: Message, round: number, nowMs: MonotonicMs): boolean {
  if (message.term < state.term) {
    // A leader of an older term learns of the newer one from the term of this reply.
    reply(state, message, round, { refusal: 'log-mismatch', conflictIndex: indexAfter(state.log.lastIndex) }, 'now');
    return false;
  }
  if (message.term > state.term || state.role !== 'follower') state.becomeFollower(message.term, message.from, nowMs);
  state.leader = message.from;
  state.leaderHeardAtMs = nowMs;
  state.electionDeadlineMs = state.randomDeadline(nowMs);
  return true;
}

/** The largest timestamp of the message that lies beyond the clock's bound, if one does. */
function firstBeyondBound(state: GroupState, append: AppendEntries): number | null {
  const { clock } = state.options;
  const last = append.entries[append.entries.length - 1];
  // Timestamps increase (T1): the last entry's is the largest.
  const largest = Math.max(last?.timestamp ?? BEFORE_ALL, append.closed?.timestamp ?? BEFORE_ALL);
  return largest > BEFORE_ALL && !clock.observe(largest) ? largest : null;
}

function hearClaims(state: GroupState, leader: ServerId, { closed, quorumClosed }: AppendEntries): void {
  const { closedTimestamps } = state;
  if (closed !== null) {
    // A learner promises as well: the entry that makes it a voter may be on its way (T11).
    closedTimestamps.promise(closed.timestamp);
    closedTimestamps.onPromised(leader, closed.timestamp);
    closedTimestamps.heard(closed, false);
  }
  if (quorumClosed !== null) closedTimestamps.heard(quorumClosed, true);
}

/**
 * Log matching (Raft section 5.3): null when the message connects, else where the leader should try
 * again.
 */
function findConflict(
  state: GroupState,
  append: AppendEntries,
): { conflictTerm: Term; conflictIndex: LogIndex } | null {
  const { log } = state;
  // Up to the base everything is committed, so it is what the leader has (T10).
  if (append.prevIndex <= log.base.index) return null;
  if (append.prevIndex > log.lastIndex) return { conflictTerm: 0, conflictIndex: indexAfter(log.lastIndex) };
  const conflictTerm = log.termAt(append.prevIndex);
  if (conflictTerm === append.prevTerm) return null;
  return { conflictTerm, conflictIndex: log.firstIndexOfRun(append.prevIndex) };
}

/**
 * Appends what is new, replacing a conflicting suffix; returns the index up to which the logs are
 * equal.
 */
function store(state: GroupState, append: AppendEntries): LogIndex {
  const { log } = state;
  const skip = append.entries.findIndex(
    (entry) => entry.index > log.base.index && log.termAt(entry.index) !== entry.term,
  );
  const matchIndex = Math.max(append.prevIndex + append.entries.length, log.base.index);
  if (skip < 0) return matchIndex;
  const fresh = skip === 0 ? append.entries : append.entries.slice(skip);
  const first = itemAt(fresh, 0);
  if (first.index <= log.lastIndex) state.truncate(first.index);
  state.append(fresh);
  return matchIndex;
}

function reply(
  state: GroupState,
  message: Message,
  round: number,
  what: { refusal: Refusal; matchIndex?: LogIndex; conflictTerm?: Term; conflictIndex?: LogIndex },
  when: 'now' | 'durable',
  isPatient = false,
): AppendReply | null {
  if (round === 0) return null;
  const { promiseLimit } = state.options;
  const { promised } = state.closedTimestamps;
  // A reply that waits for the next write may carry the promise, since that write raises the limit;
  // any other may not.
  const body: AppendReply = {
    type: 'append-reply',
    refusal: what.refusal,
    matchIndex: what.matchIndex ?? BEFORE_FIRST,
    conflictTerm: what.conflictTerm ?? LOG_START.term,
    conflictIndex: what.conflictIndex ?? BEFORE_FIRST,
    promised: when === 'durable' || promiseLimit.covers(promised) ? promised : 0,
    round,
  };
  if (isPatient) state.sendPatiently(message.from, body, when);
  else state.send(message.from, body, when);
  return body;
}
