/**
 * Changes of a group's members, one server at a time (T11; dissertation, chapter 4). Of two
 * configurations that differ by one voter, any two quorums share a server. Therefore the new one
 * may be in force at each server as soon as its entry is in that server's log.
 *
 *     non-member --add--> learner --promote--> voter --demote--> learner --remove--> non-member
 *
 * A learner gets the log and does not count, so a server counts only once it has caught up.
 */
import { type Configuration, type ConfigurationChange, EntryKind, type MonotonicMs, type ServerId } from './entry.js';
import { mostComplete, stamp, transfer } from './leading.js';
import { quorumSize } from './options.js';
import { addMissingMembers, broadcast } from './replicating.js';
import type { Leadership } from './role.js';
import type { GroupState } from './state.js';

/**
 * Why nothing was appended. `not-leader`: also while leadership moves away, which a change about
 * the leader itself begins. `pending`: the change before is not committed yet. `checking`: the
 * leader checks whether enough voters are there; ask again. `behind`: the learner has not caught
 * up. `quorum`: too few voters of the new configuration are there. `not-a-member`: it must be a
 * learner first (or, to be removed, no voter any more). `clock`: as for commands.
 */
export type ConfigureRefusal = 'not-leader' | 'pending' | 'checking' | 'behind' | 'quorum' | 'not-a-member' | 'clock';

/** A learner that lacks no more than this may vote (entries): the rest is on its way. */
const BEHIND_MAX = 1_000;

export function configure(state: GroupState, change: ConfigurationChange, nowMs: MonotonicMs): ConfigureRefusal | null {
  const { leadership } = state;
  if (leadership === null || leadership.transferTo !== null) return 'not-leader';
  const next = changed(state.configuration, change);
  if (next === 'not-a-member') return next;
  if (next === null) return null;
  // A change before this one, or of an earlier leader, may still be undone. A leader knows what is
  // committed only once its no-op is (Ongaro's correction of single-server changes, raft-dev 2015).
  if (state.configuration.index > state.commitIndex || state.commitIndex < leadership.noOpIndex) return 'pending';
  if (change.type === 'promote' && !hasCaughtUp(state, leadership, change.server)) return 'behind';
  const asked = askedSince(state, leadership, change, nowMs);
  if (!hasQuorum(state, leadership, next, asked)) {
    return nowMs - asked < state.options.electionTimeoutMs ? 'checking' : 'quorum';
  }
  if (change.server === state.server && change.type !== 'promote') {
    // Leadership moves away first; the new leader is asked again.
    const successor = mostComplete(state, leadership, nowMs);
    if (successor === null) return 'quorum';
    transfer(state, successor, nowMs);
    return 'not-leader';
  }
  const { clock, encodeConfiguration } = state.options;
  if (!clock.mayLead() || Math.max(clock.peek(), leadership.floor) + 1 > clock.bound()) return 'clock';
  stamp(state, leadership, [{ kind: EntryKind.configuration, body: encodeConfiguration(next) }], nowMs);
  addMissingMembers(state, leadership, nowMs);
  broadcast(state, leadership, nowMs);
  return null;
}

/** The configuration after the change; null when it is that already. */
function changed(before: Configuration, { type, server }: ConfigurationChange): Configuration | 'not-a-member' | null {
  const isVoter = before.voters.includes(server);
  const isLearner = before.learners.includes(server);
  const voters = before.voters.filter((voter) => voter !== server);
  const learners = before.learners.filter((learner) => learner !== server);
  switch (type) {
    case 'add':
      return isVoter || isLearner ? null : { voters, learners: [...learners, server] };
    case 'promote':
      if (isVoter) return null;
      return isLearner ? { voters: [...voters, server], learners } : 'not-a-member';
    case 'demote':
      if (!isVoter) return null;
      return { voters, learners: [...learners, server] };
    case 'remove':
      if (isVoter) return 'not-a-member';
      return isLearner ? { voters, learners } : null;
  }
}

function hasCaughtUp(state: GroupState, { followers }: Leadership, server: ServerId): boolean {
  const progress = followers.get(server);
  return progress?.state === 'pipeline' && progress.matchIndex + BEHIND_MAX >= state.log.lastIndex;
}

/** Since when this change has been asked for, again and again (milliseconds). */
function askedSince(
  { options }: GroupState,
  leadership: Leadership,
  { type, server }: ConfigurationChange,
  nowMs: MonotonicMs,
): number {
  const { asked } = leadership;
  const isSame = asked !== null && asked.change.type === type && asked.change.server === server;
  const sinceMs = isSame && nowMs - asked.lastMs < options.electionTimeoutMs ? asked.sinceMs : nowMs;
  leadership.asked = { change: { type, server }, sinceMs, lastMs: nowMs };
  return sinceMs;
}

/**
 * Whether enough voters of `next` have been heard from since the change was asked for. A change
 * must not stop the group (consul 5546), and a voter that was heard from a moment before may be
 * dead by now.
 */
function hasQuorum(state: GroupState, { followers }: Leadership, next: Configuration, sinceMs: MonotonicMs): boolean {
  const there = next.voters.filter((voter) => {
    const progress = followers.get(voter);
    return voter === state.server || (progress !== undefined && progress.heardAtMs >= sinceMs);
  });
  return next.voters.length > 0 && there.length >= quorumSize(next);
}
