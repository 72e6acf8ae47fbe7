/**
 * How a leader closes its group (T2, T5): when it claims, and what it makes of the voters'
 * promises.
 */
import { BEFORE_ALL, type MonotonicMs, type ServerId, type Timestamp } from './entry.js';
import { quorumSize } from './options.js';
import { sendOwed, tellsAll } from './replicating.js';
import type { Leadership } from './role.js';
import type { GroupState } from './state.js';

/**
 * T5: claims when a server waits for a timestamp above what is closed, and nothing of the own log
 * in flight is above it (that entry's commit would do). At most one claim per interval. The claim
 * itself goes up to the clock, so that it covers what the other groups have appended meanwhile. A
 * claim that the promise limit does not cover yet waits for a write.
 */
export function claimIfWanted(state: GroupState, leadership: Leadership, nowMs: MonotonicMs): void {
  const { clock, promiseLimit, closeIntervalMs } = state.options;
  const wanted = leadership.closeWanted;
  if (wanted <= (leadership.closed?.timestamp ?? BEFORE_ALL) || wanted <= state.log.lastTimestamp) {
    leadership.closeWanted = 0;
    return;
  }
  // T2: after the no-op of this term. Once that is committed, a quorum has accepted this leader's
  // clock as well. So a wrong one cannot push the promises, which are kept for ever, out of reach.
  if (state.commitIndex < leadership.noOpIndex || !clock.mayLead()) return;
  if (wanted > clock.bound()) {
    leadership.closeWanted = 0;
    return;
  }
  if (nowMs - leadership.closedAtMs < closeIntervalMs) return;
  const timestamp = Math.min(Math.max(clock.peek(), wanted), clock.bound());
  if (!promiseLimit.covers(timestamp)) {
    promiseLimit.need(timestamp);
    if (!promiseLimit.covers(wanted)) return;
  }
  const closed = { timestamp: promiseLimit.covers(timestamp) ? timestamp : wanted, index: state.log.lastIndex };
  leadership.closeWanted = 0;
  leadership.closedAtMs = nowMs;
  leadership.closed = closed;
  leadership.floor = Math.max(leadership.floor, closed.timestamp);
  clock.observe(closed.timestamp);
  state.closedTimestamps.claim(closed);
  countPromises(state, leadership, nowMs);
  tell(state, leadership, true, nowMs);
}

/**
 * Where leader and follower are a quorum, a claim that an append has caused is of no use to its
 * leader before that entry is committed. It travels with the acknowledgement. Where more are
 * needed, the promises have to come back before it counts.
 */
function tell(state: GroupState, leadership: Leadership, wantsReply: boolean, nowMs: MonotonicMs): void {
  for (const [peer, progress] of leadership.followers) {
    progress.owe(nowMs, wantsReply);
    if (quorumSize(state.configuration) > 2) sendOwed(state, leadership, peer, nowMs);
  }
}

/** When the next claim may be made, or null when none is wanted (milliseconds, monotonic). */
export function nextClaimMs(state: GroupState): number | null {
  const { leadership } = state;
  if (leadership === null || leadership.closeWanted === 0 || state.commitIndex < leadership.noOpIndex) return null;
  return leadership.closedAtMs + state.options.closeIntervalMs;
}

export function onFollowerPromised(
  state: GroupState,
  leadership: Leadership,
  voter: ServerId,
  promised: Timestamp,
  nowMs: MonotonicMs,
): void {
  if (leadership.closed === null) return;
  state.closedTimestamps.onPromised(voter, promised);
  countPromises(state, leadership, nowMs);
}

/**
 * T3: what a quorum has promised counts here, and is announced where followers cannot tell by
 * themselves.
 */
function countPromises(state: GroupState, leadership: Leadership, nowMs: MonotonicMs): void {
  const { configuration } = state;
  const newest = state.countPromises(state.log.lastIndex);
  if (newest === null) return;
  state.updateWatermark();
  if (newest.timestamp <= (leadership.quorumClosed?.timestamp ?? BEFORE_ALL)) return;
  leadership.quorumClosed = newest;
  // Where followers count it themselves, one that missed a message hears of it with the next.
  const areTwoEnough =
    state.isVoter && quorumSize(configuration) <= 2 && leadership.followers.size < configuration.voters.length;
  if (!areTwoEnough && !tellsAll(state)) tell(state, leadership, false, nowMs);
}
