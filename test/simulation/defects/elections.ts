/** The election of a leader, and what keeps or moves leadership. */
import { ClockGuard } from '../../../shared/clock/guard.js';
import { Group } from '../../../shared/raft/group.js';
import type { Message } from '../../../shared/raft/message.js';
import { SimulatedDisk } from '../disk.js';
import { beforeEverything, sendEarly, stateOf } from './group.js';
import { all, type Plan, type Replacement, replace } from './plan.js';

export const ELECTIONS: readonly Plan[] = [
  {
    name: 'vote-twice-after-crash',
    what: 'after a restart a server has forgotten its vote (Raft section 5.2)',
    foundBy: 2,
    install: () =>
      replace(SimulatedDisk, 'load', (original) => {
        const loaded = original() as ReturnType<SimulatedDisk['load']>;
        const groups = [...loaded.groups].map(
          ([id, group]) => [id, { ...group, hardState: { ...group.hardState, votedFor: null } }] as const,
        );
        return { ...loaded, groups: new Map(groups) };
      }),
  },
  {
    name: 'vote-before-durable',
    what: 'a vote is told of before it is on disk (Raft section 5.2)',
    foundBy: 4,
    install: () => sendEarly(({ body }) => body.type === 'vote-reply' || body.type === 'vote'),
  },
  {
    name: 'vote-for-stale-log',
    foundBy: 10,
    what: 'a voter does not compare logs (Raft section 5.4.1)',
    install: () =>
      replace(Group, 'receive', (original, message: Message, nowMs: number) => {
        const { body } = message;
        const blind = body.type === 'vote' ? { ...body, lastTerm: Number.MAX_SAFE_INTEGER } : body;
        return original({ ...message, body: blind }, nowMs);
      }),
  },
  {
    name: 'skip-noop',
    what: 'a leader begins its term without a no-op (T2, Raft section 5.4.2)',
    foundBy: 2,
    install: () => {
      const wrap: Replacement = function (original, ...given) {
        const state = stateOf(this);
        const wasLeader = state.role === 'leader';
        const result = original(...given);
        const { leadership } = state;
        if (wasLeader || leadership === null || leadership.noOpIndex !== state.log.lastIndex) return result;
        state.log.truncateFrom(leadership.noOpIndex);
        state.unsaved.from = Math.min(state.unsaved.from, leadership.noOpIndex);
        state.outbox.splice(0);
        for (const progress of leadership.followers.values()) {
          progress.allowProbe();
          progress.sentAtMs = Number.NEGATIVE_INFINITY;
        }
        return result;
      };
      return all(...['receive', 'written', 'tick'].map((method) => replace(Group, method, wrap)));
    },
  },
  {
    name: 'unbounded-clock',
    foundBy: 8,
    within: 100,
    what: 'a clock far off is followed (clock guard)',
    install: () =>
      all(
        replace(ClockGuard, 'bound', () => Number.MAX_SAFE_INTEGER),
        replace(ClockGuard, 'mayLead', () => true),
      ),
  },
  {
    name: 'never-hand-back',
    what: 'leadership never goes back to the preferred server',
    foundBy: 2,
    install: () =>
      beforeEverything(({ leadership }) => {
        if (leadership !== null) leadership.preferredReadySinceMs = null;
      }),
  },
];
