/**
 * How a leader sends its log: AppendEntries in a bounded pipeline (Raft section 5.3; dissertation,
 * section 10.2.1).
 *
 * Entries leave at once. What can be said without entries (a commit, a claim, a heartbeat) is owed.
 * The next message to that follower carries it, whatever made that necessary. When it has waited
 * for long enough, the owner of the group asks for it (`Group.takeOwed`). It is put into words only
 * then, so one message tells of everything until then.
 */
import { indexAfter, indexBefore, type LogEntry, type MonotonicMs, type ServerId } from './entry.js';
import { quorumSize } from './options.js';
import { Progress } from './progress.js';
import type { Leadership } from './role.js';
import type { GroupState } from './state.js';

const NOTHING: readonly LogEntry[] = [];

/** Sends every follower what there is for it. */
export function broadcast(state: GroupState, leadership: Leadership, nowMs: MonotonicMs): void {
  for (const peer of leadership.followers.keys()) sendAppend(state, leadership, peer, nowMs);
}

/** Every member of the configuration is sent to from now on (T11). */
export function addMissingMembers(state: GroupState, leadership: Leadership, nowMs: MonotonicMs): void {
  const { voters, learners } = state.configuration;
  for (const peer of [...voters, ...learners]) {
    if (peer === state.server || leadership.followers.has(peer)) continue;
    leadership.followers.set(peer, new Progress(indexAfter(state.log.lastIndex), nowMs));
  }
}

/**
 * Once the configuration is committed, a server that is no member any more hears of that, and of
 * nothing after it.
 */
export function removeFormerMembers(state: GroupState, leadership: Leadership, nowMs: MonotonicMs): void {
  const { voters, learners, index } = state.configuration;
  if (index > state.commitIndex || leadership.followers.size < voters.length + learners.length) return;
  for (const peer of leadership.followers.keys()) {
    if (voters.includes(peer) || learners.includes(peer)) continue;
    sendOwed(state, leadership, peer, nowMs);
    leadership.followers.delete(peer);
  }
}

/**
 * Sends a follower all entries that it may have now; it is owed the commit index when there are
 * none.
 */
export function sendAppend(state: GroupState, leadership: Leadership, peer: ServerId, nowMs: MonotonicMs): void {
  const progress = leadership.followers.get(peer);
  if (progress === undefined || progress.state === 'snapshot') return;
  if (!sendNewEntries(state, leadership, progress, peer, nowMs) && progress.commitSent < state.commitIndex) {
    progress.owe(nowMs, false);
  }
}

/** Sends a follower what it is owed, with all entries that it may have now. */
export function sendOwed(state: GroupState, leadership: Leadership, peer: ServerId, nowMs: MonotonicMs): void {
  const progress = leadership.followers.get(peer);
  const owed = progress?.owed;
  if (progress === undefined || !owed) return;
  progress.owed = null;
  if (progress.state === 'snapshot') {
    if (owed.wantsReply) sendNotice(state, progress, peer, nowMs);
    return;
  }
  if (sendNewEntries(state, leadership, progress, peer, nowMs)) return;
  sendEntries(state, leadership, progress, peer, NOTHING, nowMs, owed.wantsReply);
}

/** False when nothing was sent. */
function sendNewEntries(
  state: GroupState,
  leadership: Leadership,
  progress: Progress,
  peer: ServerId,
  nowMs: MonotonicMs,
): boolean {
  const { options, log } = state;
  let isSent = false;
  while (
    progress.nextIndex <= log.lastIndex &&
    progress.hasRoom(options.inflightMessagesMax, options.inflightBytesMax)
  ) {
    if (progress.nextIndex <= log.base.index) {
      progress.awaitSnapshot(nowMs);
      sendNotice(state, progress, peer, nowMs);
      return true;
    }
    if (progress.nextIndex < log.firstInWindow) {
      requestRead(state, progress, peer);
      break;
    }
    const entries = log.slice(progress.nextIndex, log.lastIndex, state.appendBytesMax);
    sendEntries(state, leadership, progress, peer, entries, nowMs);
    isSent = true;
  }
  return isSent;
}

/** `wantsReply` is false for what only tells of a commit: its reply would tell nothing. */
export function sendEntries(
  state: GroupState,
  leadership: Leadership,
  progress: Progress,
  peer: ServerId,
  entries: readonly LogEntry[],
  nowMs: MonotonicMs,
  wantsReply = true,
): void {
  const prevIndex = indexBefore(entries[0]?.index ?? progress.nextIndex);
  const append = {
    type: 'append',
    prevIndex,
    prevTerm: state.log.termAt(prevIndex),
    entries,
    commitIndex: state.commitIndex,
    closed: leadership.closed,
    quorumClosed: leadership.quorumClosed,
    durableIndex: state.durableIndex,
    tellsAll: tellsAll(state),
    round: wantsReply ? progress.nextRound() : 0,
  } as const;
  state.send(peer, append, 'now');
  progress.owed = null;
  // Check-quorum lives on replies: what wants none does not put off the next heartbeat.
  if (wantsReply) progress.sentAtMs = nowMs;
  progress.commitSent = state.commitIndex;
  progress.commitReached = Math.min(state.commitIndex, prevIndex + entries.length);
  const last = entries[entries.length - 1];
  if (last !== undefined) {
    let bytes = 0;
    for (const entry of entries) bytes += entry.bytes.length;
    progress.onSent(last.index, bytes);
  }
}

/**
 * Whether followers tell each other what they have, besides the leader. It pays where the leader's
 * word takes long to come, and where leader and follower alone are no quorum.
 */
export function tellsAll({ isNetworkSlow, configuration }: GroupState): boolean {
  return isNetworkSlow && quorumSize(configuration) > 2;
}

/**
 * What the follower needs is covered by snapshots and gone: it hears so with every heartbeat until
 * it has one (T10).
 */
function sendNotice(state: GroupState, progress: Progress, peer: ServerId, nowMs: MonotonicMs): void {
  const { log, commitIndex } = state;
  const configurations = state.configurations.filter(({ index }) => index <= commitIndex);
  const round = progress.nextRound();
  state.send(peer, { type: 'snapshot', index: log.base.index, commitIndex, configurations, round }, 'now');
  progress.sentAtMs = nowMs;
}

/**
 * What the follower needs has left the window: it comes back from the log store
 * (Group.entriesRead).
 */
function requestRead(state: GroupState, progress: Progress, peer: ServerId): void {
  progress.state = 'reading';
  const to = indexBefore(state.log.firstInWindow);
  state.events.push({ type: 'read', follower: peer, from: progress.nextIndex, to });
}
