/** Entries on their way through the logs of one group: durable, equal, committed. */

import { BEFORE_FIRST, type LogIndex } from '../../../shared/raft/entry.js';
import { Group } from '../../../shared/raft/group.js';
import type { Message } from '../../../shared/raft/message.js';
import { reachedByQuorum } from '../../../shared/raft/options.js';
import { GroupState } from '../../../shared/raft/state.js';
import { SimulatedDisk } from '../disk.js';
import { beforeEverything, changeMessages, sendEarly, stateOf } from './group.js';
import { all, type Plan, replace } from './plan.js';

/** What `GroupState.countDurable` would count, whichever term it is of. */
function reachedByQuorumHeard({ configuration, server, durableIndex, heard, log }: GroupState): LogIndex {
  const reached = reachedByQuorum(configuration, (voter) =>
    voter === server ? durableIndex : (heard.durable.get(voter) ?? BEFORE_FIRST),
  );
  return Math.min(reached, log.lastIndex);
}

export const REPLICATION: readonly Plan[] = [
  {
    name: 'count-undurable-append',
    foundBy: 34,
    within: 300,
    shape: { servers: 3, spares: 0, groups: 3, skewed: true },
    what: 'a leader counts its own log before it is on disk (Raft section 5.3)',
    install: () =>
      beforeEverything((state) => {
        if (state.leadership === null) return;
        state.durableIndex = state.log.lastIndex;
        state.leadership.undurableSinceMs = null;
      }),
  },
  {
    name: 'tell-undurable-append',
    foundBy: 16,
    within: 300,
    shape: { servers: 3, spares: 0 },
    what: 'a leader tells its followers that its log is durable before it is (Raft section 5.3)',
    install: () =>
      changeMessages((body) =>
        body.type === 'append' && body.durableIndex > 0
          ? { ...body, durableIndex: body.prevIndex + body.entries.length }
          : body,
      ),
  },
  {
    name: 'acknowledge-before-durable',
    what: 'a follower acknowledges entries that are not on its disk (Raft section 5.3)',
    install: () => sendEarly(({ body }) => body.type === 'append-reply'),
  },
  {
    name: 'follower-commits-undurable',
    foundBy: 43,
    within: 300,
    shape: { servers: 3, spares: 0 },
    what: 'a follower counts its own log before it is on disk (Raft section 5.3)',
    install: () =>
      replace(GroupState, 'countDurable', function (original) {
        const { durableIndex } = this;
        this.durableIndex = this.log.lastIndex;
        original();
        this.durableIndex = durableIndex;
      }),
  },
  {
    name: 'follower-commits-old-term',
    foundBy: 55,
    within: 300,
    shape: { servers: 3, skewed: true },
    what: 'a follower commits entries of older terms by counting (Raft section 5.4.2)',
    install: () =>
      replace(GroupState, 'countDurable', function () {
        if (this.heard.term === this.term) this.setCommitIndex(reachedByQuorumHeard(this));
      }),
  },
  {
    name: 'follower-counts-an-earlier-term',
    foundBy: 55,
    within: 300,
    shape: { servers: 3, skewed: true },
    what: 'a follower counts what others have said of their logs in an earlier term (Raft section 5.4.2)',
    install: () =>
      replace(GroupState, 'countDurable', function () {
        this.setCommitIndex(reachedByQuorumHeard(this));
      }),
  },
  {
    name: 'follower-counts-two-of-five',
    foundBy: 5,
    shape: { servers: 5, spares: 0 },
    what: 'a follower takes its leader and itself for a quorum, whatever the configuration (Raft section 5.4.2)',
    install: () =>
      replace(GroupState, 'countDurable', function () {
        const { heard, leader, term, durableIndex, log } = this;
        if (heard.term !== term) return;
        const index = Math.min(durableIndex, heard.durable.get(leader) ?? BEFORE_FIRST);
        if (index > this.commitIndex && log.termAt(index) === term) this.setCommitIndex(index);
      }),
  },
  {
    name: 'commit-old-term',
    foundBy: 10,
    within: 300,
    shape: { servers: 3, skewed: true },
    what: 'a leader commits entries of older terms by counting (Raft section 5.4.2)',
    install: () =>
      beforeEverything(({ leadership }) => {
        if (leadership !== null) Object.assign(leadership, { noOpIndex: 0 });
      }),
  },
  {
    name: 'commit-past-match',
    what: "a follower takes over the leader's commit index beyond what it knows to be equal (Raft section 5.3)",
    foundBy: 5,
    install: () =>
      replace(Group, 'receive', function (original, message: Message, nowMs: number) {
        const result = original(message, nowMs);
        const { body } = message;
        const state = stateOf(this);
        if (body.type === 'append' && message.term === state.term && state.role === 'follower') {
          state.setCommitIndex(Math.min(body.commitIndex, state.log.lastIndex));
        }
        return result;
      }),
  },
  {
    name: 'truncate-nothing',
    what: 'a conflicting suffix is replaced in memory and stays on disk (Raft section 5.3)',
    foundBy: 2,
    install: () =>
      replace(Group, 'takeWrite', (original) => {
        const pending = original();
        if (pending?.write == null) return pending;
        const { truncateFrom: _, ...write } = pending.write;
        return { ...pending, write };
      }),
  },
  {
    name: 'lose-write-order',
    what: 'a crash loses the write that was acknowledged last and keeps the one behind it (log store contract)',
    install: () => {
      const held = new WeakMap<object, Parameters<SimulatedDisk['land']>[0]>();
      return all(
        replace(SimulatedDisk, 'land', function (original, batch) {
          const before = held.get(this);
          if (before !== undefined) original(before);
          held.set(this, batch);
        }),
        replace(SimulatedDisk, 'load', function (original) {
          held.delete(this);
          return original();
        }),
      );
    },
  },
  {
    name: 'lose-read',
    what: 'what is read back from the log store for a follower that lags is lost (Group.entriesRead)',
    foundBy: 2,
    install: () => replace(Group, 'entriesRead', () => {}),
  },
];
