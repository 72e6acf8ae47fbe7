/** How a leader sends its log: AppendEntries in a bounded pipeline (Raft section 5.3; dissertation, section 10.2.1). */
import type { LogEntry, ServerId } from './entry.js';
import { quorumSize } from './options.js';
import { Progress } from './progress.js';
import type { GroupState, Leadership } from './state.js';

const NOTHING: readonly LogEntry[] = [];

/** Sends everybody what there is for them. */
export function broadcast(state: GroupState, leadership: Leadership, nowMs: number): void {
  for (const peer of leadership.followers.keys()) sendAppend(state, leadership, peer, nowMs);
}

/** Every member of the configuration is sent to from now on (T11). */
export function meetMembers(state: GroupState, leadership: Leadership, nowMs: number): void {
  const { voters, learners } = state.configuration;
  for (const peer of [...voters, ...learners]) {
    if (peer === state.server || leadership.followers.has(peer)) continue;
    leadership.followers.set(peer, new Progress(state.log.lastIndex + 1, nowMs));
  }
}

/** Once the configuration is committed, who is no member any more is not sent to. */
export function forgetStrangers(state: GroupState, leadership: Leadership): void {
  const { voters, learners, index } = state.configuration;
  if (index > state.commitIndex || leadership.followers.size < voters.length + learners.length) return;
  for (const peer of leadership.followers.keys()) {
    if (!voters.includes(peer) && !learners.includes(peer)) leadership.followers.delete(peer);
  }
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
  if (progress.state === 'snapshot') {
    if (force) sendNotice(state, progress, peer, nowMs);
    return;
  }
  let mustSend = force || progress.commitSent < state.commitIndex;
  while (
    progress.nextIndex <= log.lastIndex &&
    progress.hasRoom(options.inflightMessagesMax, options.inflightBytesMax)
  ) {
    if (progress.nextIndex <= log.base.index) {
      progress.awaitSnapshot(nowMs);
      sendNotice(state, progress, peer, nowMs);
      return;
    }
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
    isQuorumOfTwo: leadership.closed !== null && isQuorumOfTwo(state, peer),
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

/** T3: own claims are of the configuration in force, since a new one voids those before it (leading.ts). */
function isQuorumOfTwo({ configuration, isVoter }: GroupState, peer: ServerId): boolean {
  return isVoter && configuration.voters.includes(peer) && quorumSize(configuration) <= 2;
}

/** What the follower needs is covered by snapshots and gone: it hears so with every heartbeat until it has one (T10). */
function sendNotice(state: GroupState, progress: Progress, peer: ServerId, nowMs: number): void {
  const { log, commitIndex } = state;
  const configurations = state.configurations.filter(({ index }) => index <= commitIndex);
  const round = progress.nextRound();
  state.send(peer, { type: 'snapshot', index: log.base.index, commitIndex, configurations, round }, 'now');
  progress.sentAtMs = nowMs;
}

/** What the follower needs has left the window: it comes back from the log store (Group.entriesRead). */
function requestRead(state: GroupState, progress: Progress, peer: ServerId): void {
  progress.state = 'reading';
  const to = state.log.firstInWindow - 1;
  state.events.push({ type: 'read', follower: peer, from: progress.nextIndex, to });
}
