/** What a follower does with its leader's messages: Raft section 5.3, the clock guard, promises (T2). */
import { assert } from './assert.js';
import type { Index, LogEntry } from './entry.js';
import type { AppendEntries, AppendReply, Message, Refusal } from './message.js';
import { quorumSize } from './options.js';
import type { GroupState } from './state.js';

export function onAppendEntries(state: GroupState, message: Message, append: AppendEntries, nowMs: number): void {
  if (message.term < state.term) {
    // A leader of an older term learns of the newer one from the term of this reply.
    reply(state, message, append, { refusal: 'log-mismatch', conflictIndex: state.log.lastIndex + 1 }, 'now');
    return;
  }
  assert(
    !(state.role === 'leader' && message.term === state.term),
    'election safety: at most one leader a term (Raft section 5.2)',
  );
  if (message.term > state.term || state.role !== 'follower') state.becomeFollower(message.term, message.from, nowMs);
  state.leader = message.from;
  state.leaderHeardAtMs = nowMs;
  state.electionDeadlineMs = state.randomDeadline(nowMs);

  const beyond = firstBeyondBound(state, append);
  if (beyond !== null) {
    state.events.push({ type: 'clock-refused', what: `${message.from} sends`, timestamp: beyond });
    reply(state, message, append, { refusal: 'clock' }, 'durable');
    return;
  }
  hearClaims(state, append);

  const conflict = findConflict(state, append);
  if (conflict !== null) {
    reply(state, message, append, { refusal: 'log-mismatch', ...conflict }, 'durable');
    return;
  }
  const matchIndex = store(state, append);
  state.setCommitIndex(Math.min(append.commitIndex, matchIndex));
  state.settle();
  reply(state, message, append, { refusal: 'none', matchIndex }, 'durable');
}

/** The largest timestamp of the message that lies beyond the clock's bound, if one does. */
function firstBeyondBound(state: GroupState, append: AppendEntries): number | null {
  const { clock } = state.options;
  const last = append.entries[append.entries.length - 1];
  // Timestamps increase (T1): the last entry's is the largest.
  const largest = Math.max(last?.timestamp ?? 0, append.closed?.timestamp ?? 0);
  return largest > 0 && !clock.observe(largest) ? largest : null;
}

function hearClaims(state: GroupState, append: AppendEntries): void {
  const { closed, quorumClosed } = append;
  if (closed !== null) {
    if (state.isVoter) state.closing.promise(closed.timestamp);
    // T3: the leader and this voter are a quorum of up to three voters.
    const isQuorum = state.isVoter && quorumSize(state.configuration) <= 2;
    state.closing.heard(closed, isQuorum, state.isVoter);
  }
  if (quorumClosed !== null) state.closing.heard(quorumClosed, true, false);
}

/** Log matching (Raft section 5.3): null when the message connects, else where the leader should try again. */
function findConflict(state: GroupState, append: AppendEntries): { conflictTerm: number; conflictIndex: Index } | null {
  const { log } = state;
  if (append.prevIndex > log.lastIndex) return { conflictTerm: 0, conflictIndex: log.lastIndex + 1 };
  const conflictTerm = log.termAt(append.prevIndex);
  if (conflictTerm === append.prevTerm) return null;
  return { conflictTerm, conflictIndex: log.firstIndexOfRun(append.prevIndex) };
}

/** Appends what is new, replacing a conflicting suffix; returns the index up to which the logs are equal. */
function store(state: GroupState, append: AppendEntries): Index {
  const { log } = state;
  let fresh: readonly LogEntry[] = append.entries;
  const skip = fresh.findIndex((entry) => log.termAt(entry.index) !== entry.term);
  const matchIndex = append.prevIndex + append.entries.length;
  if (skip < 0) return matchIndex;
  fresh = skip === 0 ? fresh : fresh.slice(skip);
  const first = fresh[0];
  assert(first !== undefined, 'there is something to append');
  if (first.index <= log.lastIndex) state.truncate(first.index);
  state.append(fresh);
  return matchIndex;
}

function reply(
  state: GroupState,
  message: Message,
  append: AppendEntries,
  what: { refusal: Refusal; matchIndex?: Index; conflictTerm?: number; conflictIndex?: Index },
  when: 'now' | 'durable',
): void {
  if (append.round === 0) return;
  const { promiseLimit } = state.options;
  const { promised } = state.closing;
  // A reply that waits for the next write may carry the promise, since that write raises the limit; any other may not.
  const body: AppendReply = {
    type: 'append-reply',
    refusal: what.refusal,
    matchIndex: what.matchIndex ?? 0,
    conflictTerm: what.conflictTerm ?? 0,
    conflictIndex: what.conflictIndex ?? 0,
    promised: when === 'durable' || promiseLimit.covers(promised) ? promised : 0,
    round: append.round,
  };
  state.send(message.from, body, when);
}
