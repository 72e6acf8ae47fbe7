/**
 * What a leader does: takes proposals, commits, keeps its leadership honest (Raft sections 5.3,
 * 5.4.2; dissertation 6.2, 3.10).
 */
import { assert } from './assert.js';
import { claimIfWanted, onFollowerPromised } from './claims.js';
import {
  BEFORE_FIRST,
  EntryKind,
  indexAfter,
  isRecovered,
  type LogEntry,
  type LogIndex,
  type MonotonicMs,
  type ServerId,
  type Timestamp,
} from './entry.js';
import type { AppendReply, Message } from './message.js';
import { quorumSize, reachedByQuorum } from './options.js';
import type { Progress } from './progress.js';
import { addMissingMembers, broadcast, removeFormerMembers, sendAppend, sendOwed } from './replicating.js';
import type { Leadership } from './role.js';
import type { GroupState } from './state.js';

const NO_BODY = new Uint8Array(0);

/** `floor`: maximum of the last log timestamp and the promises of the electing quorum (T2). */
export function becomeLeader(state: GroupState, floor: Timestamp, nowMs: MonotonicMs): void {
  assert(state.role === 'candidate', 'only a candidate becomes leader');
  state.role = 'leader';
  state.leader = state.server;
  state.candidacy = null;
  state.closedTimestamps.reset();
  state.options.clock.observe(floor);
  state.leadership = {
    followers: new Map(),
    noOpIndex: indexAfter(state.log.lastIndex),
    undurableSinceMs: null,
    uncommittedBytes: state.log.bytesAfter(state.commitIndex),
    floor,
    closed: null,
    quorumClosed: null,
    closeWanted: 0,
    closedAtMs: Number.NEGATIVE_INFINITY,
    asked: null,
    transferTo: null,
    transferUntilMs: 0,
    preferredReadySinceMs: null,
    commitMarks: [state.commitIndex, state.commitIndex],
    markedAtMs: nowMs,
  };
  addMissingMembers(state, state.leadership, nowMs);
  state.events.push({ type: 'became-leader', term: state.term });
  const noOp = { kind: EntryKind.noOp, body: NO_BODY };
  const { configuration } = state;
  if (!isRecovered(configuration)) stamp(state, state.leadership, [noOp], nowMs);
  else {
    // A follower still gets older entries with older members. When its log reaches this term, its
    // configuration is this one: it takes the place of the no-op, and nothing of the term is before
    // it.
    const body = state.options.encodeConfiguration(configuration);
    stamp(state, state.leadership, [{ kind: EntryKind.configuration, body }], nowMs);
  }
  broadcast(state, state.leadership, nowMs);
}

export interface Proposal {
  readonly kind: EntryKind;
  /** Encoded `Command` or `Configuration`. */
  readonly body: Uint8Array;
}

/** Why nothing was appended. */
export type ProposalRefusal = 'not-leader' | 'overloaded' | 'clock';

/**
 * Appends proposals in their order and sends them on; all or none of them. Returns the entries, or
 * why not.
 */
export function propose(
  state: GroupState,
  proposals: readonly Proposal[],
  nowMs: MonotonicMs,
): readonly LogEntry[] | ProposalRefusal {
  const { leadership } = state;
  if (leadership === null || leadership.transferTo !== null) return 'not-leader';
  if (leadership.uncommittedBytes >= state.options.uncommittedBytesMax) return 'overloaded';
  const { clock } = state.options;
  // A clock that was set just now is noticed before the next tick takes the leadership away.
  if (!clock.mayLead()) return 'clock';
  if (Math.max(clock.peek(), leadership.floor) + proposals.length > clock.bound()) return 'clock';
  const entries = stamp(state, leadership, proposals, nowMs);
  broadcast(state, leadership, nowMs);
  return entries;
}

export function stamp(
  state: GroupState,
  leadership: Leadership,
  proposals: readonly Proposal[],
  nowMs: MonotonicMs,
): readonly LogEntry[] {
  const { clock, encodeEntry } = state.options;
  const entries: LogEntry[] = [];
  for (const { kind, body } of proposals) {
    // T1, T2: greater than the last entry, than every promise of the electing quorum and than every
    // own claim.
    const timestamp = Math.max(clock.now(), leadership.floor + 1);
    leadership.floor = timestamp;
    const bytes = encodeEntry(state.term, timestamp, kind, body);
    leadership.uncommittedBytes += bytes.length;
    entries.push({ index: state.log.lastIndex + 1 + entries.length, term: state.term, timestamp, kind, bytes });
  }
  clock.observe(leadership.floor);
  leadership.undurableSinceMs ??= nowMs;
  state.append(entries);
  return entries;
}

export function onAppendReply(state: GroupState, message: Message, reply: AppendReply, nowMs: MonotonicMs): void {
  const { leadership } = state;
  const progress = leadership?.followers.get(message.from);
  if (!leadership || progress === undefined) return;
  progress.heardAtMs = nowMs;
  onFollowerPromised(state, leadership, message.from, reply.promised, nowMs);
  switch (reply.refusal) {
    case 'none':
      onMatch(state, progress, reply.matchIndex);
      maybeCommit(state, leadership, nowMs);
      break;
    case 'log-mismatch':
      if (progress.isCurrent(reply.round)) progress.fallBack(retryIndex(state, progress, reply));
      break;
    case 'snapshot':
      // It is alive, and hears with the next heartbeat what it waits for.
      return;
    case 'clock':
      // It stays where it is until clocks are right again; the next heartbeat probes anew.
      if (progress.isCurrent(reply.round)) progress.fallBack(indexAfter(progress.matchIndex));
      return;
  }
  sendAppend(state, leadership, message.from, nowMs);
  maybeFinishTransfer(state, leadership, nowMs);
}

/**
 * A commit that was told while the follower's log was not known to reach it is told again; else it
 * would wait for a heartbeat.
 */
function onMatch(state: GroupState, progress: Progress, matchIndex: LogIndex): void {
  const hasMore = matchIndex > progress.matchIndex;
  progress.onMatch(matchIndex);
  if (hasMore && progress.commitReached < Math.min(state.commitIndex, progress.matchIndex)) progress.commitSent = 0;
}

/** Fast back-off: skips a whole term a round trip (Raft section 5.3, end). */
function retryIndex({ log }: GroupState, progress: Progress, reply: AppendReply): LogIndex {
  if (reply.conflictTerm === 0) return Math.min(reply.conflictIndex, log.lastIndex + 1);
  const lastOfTerm = log.lastIndexOfTerm(reply.conflictTerm);
  const retry = lastOfTerm > 0 && lastOfTerm >= reply.conflictIndex ? lastOfTerm + 1 : reply.conflictIndex;
  // The follower's log reaches beyond the base of this one: whether it equals it there is worth one
  // try, else it needs a snapshot (T10).
  const firstThere = indexAfter(log.base.index);
  return retry < firstThere && progress.nextIndex > firstThere ? firstThere : retry;
}

/** The own log has become durable up to `durableIndex`. */
export function onOwnLogDurable(state: GroupState, nowMs: MonotonicMs): void {
  const { leadership, durableIndex: index } = state;
  if (leadership === null) return;
  leadership.undurableSinceMs = index < state.log.lastIndex ? nowMs : null;
  maybeCommit(state, leadership, nowMs);
  maybeFinishTransfer(state, leadership, nowMs);
}

/**
 * Raft section 5.4.2: an index is committed when a quorum has it durably and its entry is of the
 * current term.
 */
function maybeCommit(state: GroupState, leadership: Leadership, nowMs: MonotonicMs): void {
  const index = reachedByQuorum(state.configuration, (voter) =>
    voter === state.server ? state.durableIndex : (leadership.followers.get(voter)?.matchIndex ?? BEFORE_FIRST),
  );
  if (index <= state.commitIndex || index < leadership.noOpIndex) return;
  for (let i = state.commitIndex + 1; i <= index; i++) {
    const entry = state.log.at(i);
    assert(entry !== undefined, 'what is not committed is in the window');
    leadership.uncommittedBytes -= entry.bytes.length;
  }
  state.setCommitIndex(index);
  state.updateWatermark();
  // Followers merge too: they learn of it with whatever else goes to them, and soon.
  broadcast(state, leadership, nowMs);
  removeFormerMembers(state, leadership, nowMs);
}

export function tickLeader(state: GroupState, nowMs: MonotonicMs): void {
  const { leadership } = state;
  if (leadership === null) return;
  const { options } = state;
  if (!hearsQuorum(state, leadership, nowMs) || isDiskHung(state, leadership, nowMs)) {
    state.becomeFollower(state.term, null, nowMs);
    return;
  }
  if (leadership.transferTo !== null && nowMs >= leadership.transferUntilMs) leadership.transferTo = null;
  if (!state.isVoter && state.configuration.index <= state.commitIndex) leave(state, leadership, nowMs);
  for (const progress of leadership.followers.values()) {
    if (nowMs - progress.sentAtMs < options.heartbeatMs) continue;
    progress.allowProbe();
    progress.owe(nowMs, true);
  }
  maybeHandBack(state, leadership, nowMs);
  claimIfWanted(state, leadership, nowMs);
}

/**
 * A leader that is no voter any more has led only until that was committed (dissertation, section
 * 4.2.2).
 */
function leave(state: GroupState, leadership: Leadership, nowMs: MonotonicMs): void {
  const best = mostComplete(state, leadership, nowMs);
  if (best !== null) transfer(state, best, nowMs);
}

/** Check-quorum (dissertation, section 6.2): a leader that hears from no quorum stops leading. */
function hearsQuorum(state: GroupState, leadership: Leadership, nowMs: MonotonicMs): boolean {
  const heard = state.configuration.voters.filter((voter) => {
    const progress = leadership.followers.get(voter);
    return voter === state.server || (progress && nowMs - progress.heardAtMs < state.options.electionTimeoutMs);
  });
  return heard.length >= quorumSize(state.configuration);
}

/**
 * A leader whose own writes make no progress for an election timeout stops leading, though its
 * heartbeats still go out.
 */
function isDiskHung(state: GroupState, leadership: Leadership, nowMs: MonotonicMs): boolean {
  const since = leadership.undurableSinceMs;
  return since !== null && nowMs - since >= state.options.electionTimeoutMs;
}

/**
 * A server that takes no longer than this for what is committed is as good as complete; the
 * transfer waits for the rest.
 */
const MARK_HEARTBEATS = 2;

/**
 * Leadership moves to the preferred server once that has been well and complete for a while, or
 * away from a bad clock.
 */
function maybeHandBack(state: GroupState, leadership: Leadership, nowMs: MonotonicMs): void {
  const { clock, handBackAfterMs } = state.options;
  const { preferredLeader } = state;
  if (!clock.mayLead() || leadership.floor > clock.bound()) {
    state.events.push({ type: 'clock-refused', what: 'lead', timestamp: leadership.floor });
    // What this leader has stamped wrongly nobody accepts: then it cannot hand over a complete log,
    // and just stops leading.
    const best = mostComplete(state, leadership, nowMs);
    if (best !== null && mayTakeOver(state, leadership, best)) transfer(state, best, nowMs);
    else if (leadership.transferTo === null) state.becomeFollower(state.term, null, nowMs);
    return;
  }
  if (nowMs - leadership.markedAtMs >= state.options.heartbeatMs * MARK_HEARTBEATS) {
    leadership.commitMarks = [leadership.commitMarks[1], state.commitIndex];
    leadership.markedAtMs = nowMs;
  }
  if (preferredLeader === null || preferredLeader === state.server || leadership.transferTo !== null) return;
  const progress = leadership.followers.get(preferredLeader);
  const isReady =
    progress !== undefined &&
    nowMs - progress.heardAtMs < state.options.heartbeatMs * 3 &&
    progress.state === 'pipeline' &&
    // Under a steady load it is always a little behind; what is missing it gets while nothing is
    // proposed.
    progress.matchIndex >= leadership.commitMarks[0] &&
    // It would not stand, and nothing would be proposed here until that is noticed; again and
    // again.
    clock.mayPeerLead(preferredLeader);
  if (!isReady) leadership.preferredReadySinceMs = null;
  else leadership.preferredReadySinceMs ??= nowMs;
  const since = leadership.preferredReadySinceMs;
  if (since !== null && nowMs - since >= handBackAfterMs) {
    leadership.preferredReadySinceMs = null;
    transfer(state, preferredLeader, nowMs);
  }
}

/** The voter with the longest log that has been heard from lately, or null. */
export function mostComplete(state: GroupState, leadership: Leadership, nowMs: MonotonicMs): ServerId | null {
  let best: ServerId | null = null;
  let bestMatch = -1;
  for (const [peer, progress] of leadership.followers) {
    if (!state.configuration.voters.includes(peer)) continue;
    if (nowMs - progress.heardAtMs >= state.options.electionTimeoutMs) continue;
    if (progress.matchIndex > bestMatch) {
      best = peer;
      bestMatch = progress.matchIndex;
    }
  }
  return best;
}

/**
 * Dissertation, section 3.10: stop taking proposals, bring the target up to date, tell it to stand.
 * False when it cannot be.
 */
export function transfer(state: GroupState, target: ServerId, nowMs: MonotonicMs): boolean {
  const { leadership } = state;
  if (leadership === null || !leadership.followers.has(target)) return false;
  if (!state.configuration.voters.includes(target)) return false;
  if (leadership.transferTo !== null) return leadership.transferTo === target;
  leadership.transferTo = target;
  leadership.transferUntilMs = nowMs + state.options.electionTimeoutMs;
  sendAppend(state, leadership, target, nowMs);
  maybeFinishTransfer(state, leadership, nowMs);
  return true;
}

function maybeFinishTransfer(state: GroupState, leadership: Leadership, nowMs: MonotonicMs): void {
  const target = leadership.transferTo;
  if (target === null || !mayTakeOver(state, leadership, target)) return;
  // In the term that it begins the target hears no word of this leader any more.
  sendOwed(state, leadership, target, nowMs);
  state.send(target, { type: 'timeout-now' }, 'now');
}

/**
 * The target has the whole log, and all of it is committed. The target may have it before the
 * leader's own disk does. Clients would then hear of a loss of leadership that leaves the outcome
 * of their commands open (T9).
 */
function mayTakeOver(state: GroupState, leadership: Leadership, target: ServerId): boolean {
  const { lastIndex } = state.log;
  return state.commitIndex === lastIndex && leadership.followers.get(target)?.matchIndex === lastIndex;
}
