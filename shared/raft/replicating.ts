/** How a leader sends its log: AppendEntries in a bounded pipeline (Raft section 5.3; dissertation, section 10.2.1). */
import type { LogEntry, ServerId } from './entry.js';
import type { Progress } from './progress.js';
import type { GroupState, Leadership } from './state.js';

const NOTHING: readonly LogEntry[] = [];

/** Sends everybody what there is for them. */
export function broadcast(state: GroupState, leadership: Leadership, nowMs: number): void {
  for (const peer of leadership.followers.keys()) sendAppend(state, leadership, peer, nowMs);
}

/**
 * Sends a follower all that it may have now; with `force` at least a heartbeat, else nothing when there is nothing new
 * (no entry, commit index or claim that it has not been told of).
 */
export function sendAppend(
  state: GroupState,
  leadership: Leadership,
  peer: ServerId,
  nowMs: number,
  force = false,
): void {
  const progress = leadership.followers.get(peer);
  if (progress === undefined) return;
  const { options, log } = state;
  let mustSend = force || progress.commitSent < state.commitIndex;
  while (
    progress.nextIndex <= log.lastIndex &&
    progress.hasRoom(options.inflightMessagesMax, options.inflightBytesMax)
  ) {
    if (progress.nextIndex < log.firstInWindow) {
      requestRead(state, progress, peer);
      break;
    }
    const entries = log.slice(progress.nextIndex, log.lastIndex, options.appendBytesMax);
    sendEntries(state, leadership, progress, peer, entries, nowMs);
    mustSend = false;
  }
  if (mustSend) sendEntries(state, leadership, progress, peer, NOTHING, nowMs, force);
}

/** `wantsReply` is false for what only tells of a commit: its reply would tell nothing. */
export function sendEntries(
  state: GroupState,
  leadership: Leadership,
  progress: Progress,
  peer: ServerId,
  entries: readonly LogEntry[],
  nowMs: number,
  wantsReply = true,
): void {
  const prevIndex = (entries[0]?.index ?? progress.nextIndex) - 1;
  const append = {
    type: 'append',
    prevIndex,
    prevTerm: state.log.termAt(prevIndex),
    entries,
    commitIndex: state.commitIndex,
    closed: leadership.closed,
    quorumClosed: leadership.quorumClosed,
    round: wantsReply ? progress.nextRound() : 0,
  } as const;
  state.send(peer, append, 'now');
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

/** What the follower needs has left the window: it comes back from the log store (Group.entriesRead). */
function requestRead(state: GroupState, progress: Progress, peer: ServerId): void {
  progress.state = 'reading';
  const to = state.log.firstInWindow - 1;
  state.events.push({ type: 'read', follower: peer, from: progress.nextIndex, to });
}
