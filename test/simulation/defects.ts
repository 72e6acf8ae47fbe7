/**
 * Planted defects: `--break NAME` installs one by replacing methods of the production classes for the time of a run. Nothing in
 * production knows of this file. A simulator that does not find them is too weak (test/simulation/defects.test.ts).
 */

import { ApplierCore } from '../../services/applier/core/applier.js';
import { Comparison } from '../../services/applier/core/comparison.js';
import { ApplyQueue, type TakenBatch } from '../../services/applier/core/queue.js';
import { Reading } from '../../services/applier/core/reading.js';
import { SnapshotPlan } from '../../services/applier/core/snapshots.js';
import { AcknowledgementTracker } from '../../services/replica/core/acknowledgement-tracker.js';
import { Barriers } from '../../services/replica/core/barrier.js';
import { Feed } from '../../services/replica/core/feed.js';
import { Outbox } from '../../services/replica/core/outbox.js';
import { ReplicaCore } from '../../services/replica/core/server.js';
import { ClockGuard } from '../../shared/clock/guard.js';
import { MemoryEngine } from '../../shared/engine/memory.js';
import { type AppliedBatch, ReplacedError } from '../../shared/engine/port.js';
import { Merge } from '../../shared/merge/merge.js';
import { ClosedTimestamps } from '../../shared/raft/closed-timestamps.js';
import type { LogEntry, LogPosition, Timestamp } from '../../shared/raft/entry.js';
import { Group } from '../../shared/raft/group.js';
import type { Message, MessageBody } from '../../shared/raft/message.js';
import { PromiseLimit } from '../../shared/raft/promise-limit.js';
import { GroupState } from '../../shared/raft/state.js';
import type { InstalledState } from '../../shared/wire/install.js';
import { MACHINE_COMMAND } from '../../shared/wire/machine.js';
import { SimulatedApplier } from './applier.js';
import { Machine, SimulatedDatabase } from './database.js';
import { SimulatedDisk } from './disk.js';
import type { SimulationRequest } from './options.js';
import { SimulatedServer } from './server.js';
import { SimulatedStream } from './stream.js';

interface Plan {
  readonly name: string;
  readonly what: string;
  /** Seeds 1 to this one find it; 40 unless stated. */
  readonly within?: number;
  /** One of them that does; the others are tried when it does not any more. */
  readonly foundBy?: number;
  /** Where it is looked for; any cluster unless stated. */
  readonly shape?: Pick<SimulationRequest, 'servers' | 'spares' | 'groups' | 'skewed' | 'snapshotEvery' | 'versions'>;
  /** Puts it in; what is returned takes it out. */
  readonly install: () => () => void;
}

export type Defect = Plan & {
  readonly within: number;
  readonly shape: Pick<SimulationRequest, 'servers' | 'spares' | 'groups' | 'skewed' | 'snapshotEvery' | 'versions'>;
};

// biome-ignore lint/suspicious/noExplicitAny: methods of any shape are replaced here
type Method = (this: any, ...given: any[]) => any;

/** Replaces a method, private ones too; `make` gets the original. */
function replace(of: { prototype: object }, method: string, make: (original: Method) => Method): () => void {
  const descriptor = Object.getOwnPropertyDescriptor(of.prototype, method);
  if (typeof descriptor?.value !== 'function') throw new Error(`no method ${method}`);
  Object.defineProperty(of.prototype, method, { ...descriptor, value: make(descriptor.value) });
  return () => Object.defineProperty(of.prototype, method, descriptor);
}

/** Takes out in the opposite order: the same method may have been replaced twice. */
function all(...undo: (() => void)[]): () => void {
  return () => {
    for (const one of undo.reverse()) one();
  };
}

function stateOf(group: Group): GroupState {
  return Reflect.get(group, 'state') as GroupState;
}

/** Changes the messages of a kind that leave a group, whichever way. */
function changeMessages(change: (body: MessageBody) => MessageBody): () => void {
  const map = (messages: readonly Message[]) => messages.map((message) => ({ ...message, body: change(message.body) }));
  return all(
    replace(
      Group,
      'takeMessages',
      (original) =>
        function () {
          return map(original.call(this));
        },
    ),
    replace(
      Group,
      'takeWrite',
      (original) =>
        function () {
          const pending = original.call(this);
          return pending === null ? null : { ...pending, after: map(pending.after) };
        },
    ),
  );
}

/** Runs `before` on the state ahead of everything that may decide something in it. */
function beforeEverything(before: (state: GroupState) => void): () => void {
  const wrap = (original: Method): Method =>
    function (...given) {
      before(stateOf(this));
      return original.apply(this, given);
    };
  return all(...['tick', 'receive', 'propose', 'closeUpTo', 'written'].map((method) => replace(Group, method, wrap)));
}

/** Messages that must wait for the disk leave at once, where `isMeant`. */
function sendEarly(isMeant: (message: Message) => boolean): () => void {
  return replace(
    Group,
    'takeMessages',
    (original) =>
      function () {
        const { outboxDurable } = stateOf(this);
        const early = outboxDurable.filter(isMeant);
        const late = outboxDurable.filter((message) => !isMeant(message));
        outboxDurable.splice(0, outboxDurable.length, ...late);
        return [...original.call(this), ...early];
      },
  );
}

const PLANS: readonly Plan[] = [
  {
    name: 'forget-promise-in-vote',
    foundBy: 158,
    within: 300,
    shape: { skewed: true },
    what: 'a vote does not carry what the voter has promised (T2)',
    install: () => changeMessages((body) => (body.type === 'vote-reply' ? { ...body, promised: 0 } : body)),
  },
  {
    name: 'forget-promise-limit-on-restart',
    foundBy: 121,
    within: 300,
    shape: { skewed: true },
    what: 'after a restart a server knows of no promise (T2)',
    install: () =>
      all(
        replace(
          SimulatedDisk,
          'load',
          (original) =>
            function () {
              return { ...original.call(this), promiseLimit: 0 };
            },
        ),
        replace(
          SimulatedDisk,
          'land',
          (original) =>
            function (batch) {
              const { promiseLimit } = batch;
              const kept =
                promiseLimit === undefined ? {} : { promiseLimit: Math.max(promiseLimit, this.promiseLimit) };
              return original.call(this, { ...batch, ...kept });
            },
        ),
      ),
  },
  {
    name: 'close-without-quorum',
    foundBy: 1,
    within: 300,
    shape: { skewed: true },
    what: 'a claim counts as soon as it is made (T3)',
    install: () =>
      replace(
        ClosedTimestamps,
        'countQuorum',
        (original) =>
          function (voters) {
            return original.call(this, voters, 1);
          },
      ),
  },
  {
    name: 'count-own-promise-before-durable',
    what: 'a claim counts at a server before its own promise is durable (T3)',
    install: () =>
      replace(
        PromiseLimit,
        'covers',
        () =>
          function (timestamp: Timestamp) {
            return timestamp <= this.wanted;
          },
      ),
  },
  {
    name: 'close-before-commit',
    what: "a claim counts before the claim's index is committed here (T3)",
    foundBy: 4,
    install: () =>
      replace(
        ClosedTimestamps,
        'advance',
        (original) =>
          function () {
            return original.call(this, Number.POSITIVE_INFINITY);
          },
      ),
  },
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
    foundBy: 8,
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
    name: 'follower-commits-undurable',
    foundBy: 43,
    within: 300,
    shape: { servers: 3, spares: 0 },
    what: 'a follower counts its own log before it is on disk (Raft section 5.3)',
    install: () =>
      replace(
        GroupState,
        'commitWithLeader',
        (original) =>
          function () {
            const { durableIndex } = this;
            this.durableIndex = this.log.lastIndex;
            original.call(this);
            this.durableIndex = durableIndex;
          },
      ),
  },
  {
    name: 'follower-commits-old-term',
    foundBy: 55,
    within: 300,
    shape: { servers: 3, skewed: true },
    what: 'a follower commits entries of older terms by counting (Raft section 5.4.2)',
    install: () =>
      replace(
        GroupState,
        'commitWithLeader',
        () =>
          function () {
            const { heard, term, durableIndex } = this;
            if (heard === null || heard.term !== term) return;
            this.setCommitIndex(Math.min(heard.durableIndex, heard.matchIndex, durableIndex));
          },
      ),
  },
  {
    name: 'follower-commits-by-leader-of-before',
    foundBy: 55,
    within: 300,
    shape: { servers: 3, skewed: true },
    what: 'a follower counts what the leader of an earlier term has said of its log (Raft section 5.4.2)',
    install: () =>
      replace(
        GroupState,
        'commitWithLeader',
        () =>
          function () {
            const { heard, durableIndex } = this;
            if (heard === null) return;
            this.setCommitIndex(Math.min(heard.durableIndex, heard.matchIndex, durableIndex));
          },
      ),
  },
  {
    name: 'commit-old-term',
    foundBy: 4,
    within: 300,
    shape: { servers: 3, skewed: true },
    what: 'a leader commits entries of older terms by counting (Raft section 5.4.2)',
    install: () =>
      beforeEverything(({ leadership }) => {
        if (leadership !== null) Object.assign(leadership, { noOpIndex: 0 });
      }),
  },
  {
    name: 'vote-twice-after-crash',
    what: 'after a restart a server has forgotten its vote (Raft section 5.2)',
    foundBy: 2,
    install: () =>
      replace(
        SimulatedDisk,
        'load',
        (original) =>
          function () {
            const loaded = original.call(this) as ReturnType<SimulatedDisk['load']>;
            const groups = [...loaded.groups].map(
              ([id, group]) => [id, { ...group, hardState: { ...group.hardState, votedFor: null } }] as const,
            );
            return { ...loaded, groups: new Map(groups) };
          },
      ),
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
      replace(
        Group,
        'receive',
        (original) =>
          function (message: Message, nowMs: number) {
            const { body } = message;
            const blind = body.type === 'vote' ? { ...body, lastTerm: Number.MAX_SAFE_INTEGER } : body;
            return original.call(this, { ...message, body: blind }, nowMs);
          },
      ),
  },
  {
    name: 'timestamp-below-floor',
    foundBy: 158,
    within: 300,
    shape: { skewed: true },
    what: 'a new leader stamps above its log only, not above the promises of its voters (T2)',
    install: () =>
      all(
        beforeEverything(({ candidacy, log }) => {
          if (candidacy !== null) candidacy.floor = log.lastTimestamp;
        }),
        replace(
          Group,
          'receive',
          (original) =>
            function (message: Message, nowMs: number) {
              const { body } = message;
              const blind = body.type === 'vote-reply' ? { ...body, promised: 0 } : body;
              return original.call(this, { ...message, body: blind }, nowMs);
            },
        ),
      ),
  },
  {
    name: 'tie-in-arrival-order',
    foundBy: 9,
    what: 'of equal timestamps the one that arrived first is merged first (T4)',
    install: () => {
      const lastOffered = new WeakMap<object, number>();
      return all(
        replace(
          Merge,
          'offer',
          (original) =>
            function (group: number, entries: readonly LogEntry[], watermark: Timestamp) {
              if (entries.length > 0) lastOffered.set(this, group);
              return original.call(this, group, entries, watermark);
            },
        ),
        replace(
          Merge,
          'smallestHead',
          (original) =>
            function () {
              const best: number | null = original.call(this);
              const last = lastOffered.get(this);
              if (best === null || last === undefined) return best;
              const head = (group: number) => this.queues[group].entries[this.queues[group].head]?.timestamp;
              return head(last) === head(best) ? last : best;
            },
        ),
      );
    },
  },
  {
    name: 'merge-past-watermark',
    what: 'the merge does not wait for the group with the lowest watermark (T4)',
    foundBy: 2,
    install: () =>
      replace(
        Merge,
        'lowestWatermark',
        () =>
          function () {
            const sorted = this.watermarks().sort((a: number, b: number) => a - b);
            return sorted[1] ?? sorted[0];
          },
      ),
  },
  {
    name: 'deduplicate-per-leader',
    what: 'the same id at another server is another command (T8)',
    install: () =>
      replace(
        MemoryEngine,
        'applyNow',
        (original) =>
          function (batch) {
            const commands = batch.commands.map((command: { id: string; server: string }) => ({
              ...command,
              id: command.id === '' ? '' : `${command.server}/${command.id}`,
            }));
            return original.call(this, { ...batch, commands });
          },
      ),
  },
  {
    name: 'ordered-before-watermark',
    foundBy: 35,
    within: 300,
    shape: { skewed: true },
    what: '`ordered` is said as soon as an entry is committed (T7)',
    install: () =>
      replace(
        AcknowledgementTracker,
        'ordered',
        (original) =>
          function () {
            return original.call(this, Number.POSITIVE_INFINITY);
          },
      ),
  },
  {
    name: 'ignore-craft-after',
    foundBy: 62,
    within: 300,
    shape: { skewed: true },
    what: 'the leader does not observe Craft-After (T7)',
    install: () =>
      replace(
        ReplicaCore,
        'offer',
        (original) =>
          function (group, command) {
            return original.call(this, group, command, 0);
          },
      ),
  },
  {
    name: 'resume-merger-one-too-far',
    what: 'a merger goes on one entry too far in one group (T4)',
    install: () =>
      replace(
        SimulatedStream,
        'position',
        (original) =>
          function () {
            const position = original.call(this) as ReturnType<SimulatedStream['position']>;
            if (position.mergedIndex === 0) return position;
            return {
              ...position,
              positions: position.positions.map((index, group) => (group === 0 ? index + 1 : index)),
            };
          },
      ),
  },
  {
    name: 'acknowledge-before-durable',
    what: 'a follower acknowledges entries that are not on its disk (Raft section 5.3)',
    install: () => sendEarly(({ body }) => body.type === 'append-reply'),
  },
  {
    name: 'truncate-nothing',
    what: 'a conflicting suffix is replaced in memory and stays on disk (Raft section 5.3)',
    foundBy: 2,
    install: () =>
      replace(
        Group,
        'takeWrite',
        (original) =>
          function () {
            const pending = original.call(this);
            if (pending?.write == null) return pending;
            const { truncateFrom: _, ...write } = pending.write;
            return { ...pending, write };
          },
      ),
  },
  {
    name: 'lose-write-order',
    what: 'a crash loses the write that was acknowledged last and keeps the one behind it (log store contract)',
    install: () => {
      const held = new WeakMap<object, Parameters<SimulatedDisk['land']>[0]>();
      return all(
        replace(
          SimulatedDisk,
          'land',
          (original) =>
            function (batch) {
              const before = held.get(this);
              if (before !== undefined) original.call(this, before);
              held.set(this, batch);
            },
        ),
        replace(
          SimulatedDisk,
          'load',
          (original) =>
            function () {
              held.delete(this);
              return original.call(this);
            },
        ),
      );
    },
  },
  {
    name: 'skip-noop',
    what: 'a leader begins its term without a no-op (T2, Raft section 5.4.2)',
    foundBy: 2,
    install: () => {
      const wrap = (original: Method): Method =>
        function (...given) {
          const state = stateOf(this);
          const wasLeader = state.role === 'leader';
          const result = original.apply(this, given);
          const { leadership } = state;
          if (wasLeader || leadership === null || leadership.noOpIndex !== state.log.lastIndex) return result;
          state.log.truncateFrom(leadership.noOpIndex);
          state.unsavedFrom = Math.min(state.unsavedFrom, leadership.noOpIndex);
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
    name: 'commit-past-match',
    what: "a follower takes over the leader's commit index beyond what it knows to be equal (Raft section 5.3)",
    foundBy: 5,
    install: () =>
      replace(
        Group,
        'receive',
        (original) =>
          function (message: Message, nowMs: number) {
            const result = original.call(this, message, nowMs);
            const { body } = message;
            const state = stateOf(this);
            if (body.type === 'append' && message.term === state.term && state.role === 'follower') {
              state.setCommitIndex(Math.min(body.commitIndex, state.log.lastIndex));
            }
            return result;
          },
      ),
  },
  {
    name: 'watermark-of-the-rest',
    what: 'a feed that sends a part of the entries gives the watermark of all (T3, T4)',
    foundBy: 2,
    install: () =>
      replace(
        Feed,
        'answer',
        (original) =>
          function (poll) {
            const answer = original.call(this, poll);
            return answer.map((part: { group: number }) => ({ ...part, watermark: this.groups[part.group].watermark }));
          },
      ),
  },
  {
    name: 'read-without-quorum',
    what: 'a read barrier asks nobody but its own server (T6)',
    foundBy: 4,
    install: () =>
      replace(
        Barriers,
        'begin',
        (original) =>
          function (...given) {
            const begun = original.apply(this, given);
            for (const barrier of this.byId.values()) barrier.hasQuorum = true;
            return begun;
          },
      ),
  },
  {
    name: 'number-barriers-from-one',
    what: 'a restarted server numbers its read barriers as it did before, and counts answers to those (T6)',
    foundBy: 2,
    install: () => {
      const numbered = new WeakSet();
      return replace(
        Barriers,
        'begin',
        (original) =>
          function (...given) {
            if (!numbered.has(this)) this.nextId = 1;
            numbered.add(this);
            return original.apply(this, given);
          },
      );
    },
  },
  {
    name: 'read-before-watermark',
    what: 'a read barrier does not wait until the watermarks have passed its timestamp (T6)',
    foundBy: 4,
    install: () =>
      replace(
        Barriers,
        'passed',
        (original) =>
          function () {
            return original.call(this, Number.POSITIVE_INFINITY);
          },
      ),
  },
  {
    name: 'refuse-what-is-appended',
    what: 'now and then a leader refuses commands that it has appended (T9)',
    install: () => {
      let count = 0;
      return replace(
        Group,
        'propose',
        (original) =>
          function (...given) {
            const result = original.apply(this, given);
            count += 1;
            return count % 50 === 0 ? 'overloaded' : result;
          },
      );
    },
  },
  {
    name: 'refuse-what-may-survive',
    what: 'a leader that was replaced refuses what it had not committed, though the next one may (T9)',
    foundBy: 2,
    install: () =>
      replace(
        Group,
        'outcomeOf',
        (original) =>
          function (...given) {
            const outcome = original.apply(this, given);
            return outcome === 'open' ? 'replaced' : outcome;
          },
      ),
  },
  {
    name: 'unbounded-clock',
    foundBy: 8,
    within: 100,
    what: 'a clock far off is followed (clock guard)',
    install: () =>
      all(
        replace(ClockGuard, 'bound', () => () => Number.MAX_SAFE_INTEGER),
        replace(ClockGuard, 'mayLead', () => () => true),
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
  {
    name: 'lose-read',
    what: 'what is read back from the log store for a follower that lags is lost (Group.entriesRead)',
    foundBy: 2,
    install: () => replace(Group, 'entriesRead', () => () => {}),
  },
  {
    name: 'install-over-longer-log',
    foundBy: 121,
    within: 200,
    shape: { servers: 3, spares: 0, groups: 1, snapshotEvery: 3, skewed: true },
    what: 'a snapshot is installed over a longer log without a look at what that has at its last index (T10)',
    install: () =>
      replace(
        GroupState,
        'install',
        (original) =>
          function (base: LogPosition) {
            if (base.index <= this.commitIndex || base.index > this.log.lastIndex) return original.call(this, base);
            this.setCommitIndex(base.index);
            return true;
          },
      ),
  },
  {
    name: 'forget-timestamp-of-base',
    what: "a log that was compacted does not know the timestamp at its base, which T1 and a leader's floor rest on (T10)",
    install: () =>
      replace(
        GroupState,
        'compact',
        (original) =>
          function (base: LogPosition) {
            return original.call(this, { ...base, timestamp: 0 });
          },
      ),
  },
  {
    name: 'compact-behind-the-snapshot',
    what: 'a log is compacted one entry further than the snapshot reaches (T10)',
    install: () =>
      replace(
        ReplicaCore,
        'compact',
        (original) =>
          function (positions: readonly LogPosition[]) {
            const further = positions.map(({ index, term, timestamp }) => ({ index: index + 1, term, timestamp }));
            return original.call(this, further);
          },
      ),
  },
  {
    name: 'install-forgets-results',
    within: 100,
    what: 'an installed snapshot has the rows and not the results by id (T8, T10)',
    foundBy: 4,
    install: () =>
      replace(
        SimulatedDatabase,
        'restore',
        (original) =>
          function (state) {
            original.call(this, state);
            (Reflect.get(this.engine, 'results') as Map<string, unknown>).clear();
          },
      ),
  },
  {
    name: 'anchor-before-the-state',
    within: 100,
    what: 'the merger goes on one entry before the place that the state machine named (T4, T10)',
    foundBy: 4,
    install: () =>
      replace(
        SimulatedApplier,
        'locate',
        (original) =>
          function (atLeast, answer: (state: InstalledState | null) => void) {
            return original.call(this, atLeast, (state: InstalledState | null) =>
              answer(state === null ? null : { ...state, mergedIndex: state.mergedIndex + 1 }),
            );
          },
      ),
  },
  {
    name: 'snapshots-count-at-once',
    foundBy: 31,
    within: 100,
    what: 'a snapshot counts before a majority of servers has said that it has the same rows (T10)',
    install: () =>
      replace(
        SnapshotPlan,
        'saved',
        (original) =>
          function (mark: number, name: string) {
            const { saving } = this;
            if (saving !== undefined) saving.isAgreed = true;
            return original.call(this, mark, name);
          },
      ),
  },
  {
    name: 'outcomes-confirm-rows',
    foundBy: 11,
    within: 100,
    what: 'a snapshot counts once the outcomes up to it are equal, whatever the rows (T4, T10)',
    install: () =>
      replace(
        Comparison,
        'judge',
        (original) =>
          function (round) {
            const { others } = round;
            const blind = new Map();
            for (const [server, value] of others)
              blind.set(server, { ...value, rows_checksum: round.own?.rows_checksum });
            return original.call(this, { ...round, others: blind });
          },
      ),
  },
  {
    name: 'first-difference-decides',
    foundBy: 28,
    what: 'a server that differs from one other takes itself for the one that is wrong (T4)',
    install: () =>
      replace(
        Comparison,
        'judge',
        (original) =>
          function (round) {
            const other = [...round.others.values()].find(
              (value) => round.own !== undefined && value.results_checksum !== round.own.results_checksum,
            );
            if (other === undefined) return original.call(this, round);
            return this.events.differs('one other server says so');
          },
      ),
  },
  {
    name: 'compare-no-rows',
    what: 'rows are not compared, only outcomes (T4)',
    install: () => replace(Comparison, 'verified', () => () => {}),
  },
  {
    name: 'forget-verdict-on-restart',
    foundBy: 15,
    within: 100,
    what: 'a server that differs forgets it when it is started again (T4)',
    install: () =>
      replace(
        SimulatedDatabase,
        'open',
        (original) =>
          function () {
            this.engine.divergence = undefined;
            return original.call(this);
          },
      ),
  },
  {
    name: 'serve-with-a-verdict',
    foundBy: 28,
    within: 100,
    what: 'a server that differs goes on answering reads and commands (T4)',
    install: () => {
      const descriptor = Object.getOwnPropertyDescriptor(ApplierCore.prototype, 'refusal') ?? {};
      Object.defineProperty(ApplierCore.prototype, 'refusal', { ...descriptor, get: () => undefined });
      return () => Object.defineProperty(ApplierCore.prototype, 'refusal', descriptor);
    },
  },
  {
    name: 'rebuild-of-nothing',
    foundBy: 11,
    within: 100,
    what: 'a rebuild clears the verdict, and leaves the rows as they are (T4)',
    install: () =>
      replace(
        SimulatedDatabase,
        'restore',
        (original) =>
          function (state) {
            if (this.engine.divergence === undefined) return original.call(this, state);
            this.engine.divergence = undefined;
          },
      ),
  },
  {
    name: 'take-what-lies-beyond-a-hole',
    foundBy: 32,
    within: 100,
    what: 'a message that begins beyond a hole in the stream is applied (T8)',
    install: () =>
      replace(
        ApplyQueue,
        'offer',
        (original) =>
          function (run) {
            if (run.firstMergedIndex > this.wanted && run.entries.length > 0) this.lastIndex = run.firstMergedIndex - 1;
            return original.call(this, run);
          },
      ),
  },
  {
    name: 'never-look',
    what: 'a reader that gets nothing does not look whether the stream has more',
    foundBy: 4,
    install: () =>
      replace(
        Reading,
        'look',
        () =>
          function () {
            this.news();
          },
      ),
  },
  {
    name: 'keep-the-queue-when-the-state-moves',
    what: 'what was queued before the database went back is applied after it (T8)',
    foundBy: 7,
    install: () => replace(ApplyQueue, 'reset', () => () => {}),
  },
  {
    name: 'take-a-replaced-database-for-one-that-is-away',
    what: 'a database that was emptied is not opened again',
    foundBy: 4,
    install: () =>
      replace(
        ApplierCore,
        'isFinal',
        (original) =>
          function (error) {
            return error instanceof ReplacedError ? false : original.call(this, error);
          },
      ),
  },
  {
    name: 'two-at-the-engine',
    what: 'a batch is given to the engine while it is busy with something else',
    foundBy: 7,
    install: () =>
      replace(
        ApplierCore,
        'next',
        (original) =>
          function () {
            if (this.underWay?.type === 'install' || this.underWay?.type === 'open') this.underWay = null;
            return original.call(this);
          },
      ),
  },
  {
    name: 'install-what-is-not-confirmed',
    foundBy: 41,
    within: 100,
    shape: { servers: 3, snapshotEvery: 3 },
    what: 'the newest snapshot is installed, whether it counts or not (T10)',
    install: () =>
      replace(
        SnapshotPlan,
        'listed',
        (original) =>
          function (all) {
            return original.call(
              this,
              all.map((one: object) => ({ ...one, confirmed: true })),
            );
          },
      ),
  },
  {
    name: 'mark-in-the-middle-of-a-batch',
    foundBy: 133,
    within: 100,
    what: 'a batch goes on beyond a `craft.verify`: each server compares and saves the rows of another place (T4)',
    install: () =>
      replace(
        ApplyQueue,
        'take',
        (original) =>
          function () {
            const taken: TakenBatch | null = original.call(this);
            if (taken?.mark === undefined) return taken;
            const more: TakenBatch | null = original.call(this);
            if (more === null) return taken;
            const commands = [...taken.batch.commands, ...more.batch.commands];
            const { checksum } = more.batch;
            return { ...more, batch: { commands, checksum }, mark: taken.mark };
          },
      ),
  },
  {
    name: 'restore-in-passing',
    what: 'the command that restores a file is applied with others: no state becomes that of the file (T10)',
    within: 100,
    foundBy: 4,
    install: () =>
      replace(
        SimulatedDatabase,
        'commitRestored',
        () =>
          function (batch) {
            return this.engine.applyNow(batch);
          },
      ),
  },
  {
    name: 'forget-who-asks-for-the-state',
    what: 'the merger is told a place that does not reach what it asks for (T10)',
    within: 100,
    foundBy: 4,
    install: () =>
      replace(
        ApplierCore,
        'located',
        (original) =>
          function (request, position) {
            this.locating.set(request, []);
            return original.call(this, request, position);
          },
      ),
  },
  {
    name: 'two-changes-at-once',
    what: 'a leader changes members again before the change before is committed (T11)',
    foundBy: 4,
    install: () =>
      replace(
        Group,
        'configure',
        (original) =>
          function (...given) {
            const state = stateOf(this);
            const { commitIndex } = state;
            state.commitIndex = state.log.lastIndex;
            try {
              return original.apply(this, given);
            } finally {
              state.commitIndex = commitIndex;
            }
          },
      ),
  },
  {
    name: 'forget-members-on-restart',
    within: 100,
    what: 'after a restart a server has the members that its cluster began with (T11)',
    foundBy: 5,
    install: () =>
      replace(
        SimulatedDisk,
        'load',
        (original) =>
          function () {
            const loaded = original.call(this) as ReturnType<SimulatedDisk['load']>;
            const groups = [...loaded.groups].map(([id, group]) => [id, { ...group, configurations: [] }] as const);
            return { ...loaded, groups: new Map(groups) };
          },
      ),
  },
  {
    name: 'keep-members-of-truncated-entry',
    within: 100,
    what: 'the members of a configuration entry stay in force when a conflict has truncated it (T11)',
    foundBy: 90,
    install: () =>
      replace(
        GroupState,
        'truncate',
        (original) =>
          function (from) {
            const { configurations } = this;
            original.call(this, from);
            this.configurations = configurations;
          },
      ),
  },
  {
    name: 'quorum-of-wrong-configuration',
    within: 300,
    what: 'a change of members is in force only once it is committed (T11)',
    foundBy: 2,
    install: () => {
      const descriptor = Object.getOwnPropertyDescriptor(GroupState.prototype, 'configuration') ?? {};
      Object.defineProperty(GroupState.prototype, 'configuration', {
        ...descriptor,
        get(this: GroupState) {
          const { configurations, commitIndex } = this;
          return configurations.filter(({ index }) => index <= commitIndex).pop() ?? configurations[0];
        },
      });
      return () => Object.defineProperty(GroupState.prototype, 'configuration', descriptor);
    },
  },
  {
    name: 'patient-for-ever',
    what: 'commits, claims and heartbeats never leave alone',
    install: () => replace(Outbox, 'isDue', () => () => false),
  },
  {
    name: 'forget-patient-replies',
    foundBy: 23,
    what: 'replies that wait for something else to the same server are lost when that leaves',
    install: () =>
      replace(
        Outbox,
        'take',
        (original) =>
          function (nowMs) {
            for (const { messages, patient } of this.byPeer.values()) if (messages.length > 0) patient.length = 0;
            return original.call(this, nowMs);
          },
      ),
  },
  {
    name: 'close-never',
    what: 'no group closes on demand (T5)',
    install: () => replace(Group, 'closeUpTo', () => () => {}),
  },
  {
    name: 'switch-one-entry-late',
    foundBy: 3,
    shape: { versions: true },
    what: 'the command after a switch is still executed by the version before (T12)',
    install: () =>
      replace(
        MemoryEngine,
        'applyNow',
        (original) =>
          function (batch) {
            const late = Reflect.get(this, 'late') as number | undefined;
            const before = this.machine.version as number;
            const { version, ...done } = original.call(this, batch) as AppliedBatch;
            const isSwitch = version !== undefined && late === undefined;
            Reflect.set(this, 'late', isSwitch ? version : undefined);
            const after = isSwitch ? before : (late ?? version ?? before);
            this.position = { ...this.position, version: after };
            return after === before ? done : { ...done, version: after };
          },
      ),
  },
  {
    name: 'old-code-after-switch',
    foundBy: 3,
    shape: { versions: true },
    what: 'the code that a state was opened with goes on after a switch (T12)',
    install: () =>
      replace(
        Machine,
        'code',
        (original) =>
          function () {
            const code = (Reflect.get(this, 'remembered') as number | undefined) ?? original.call(this);
            Reflect.set(this, 'remembered', code);
            return code;
          },
      ),
  },
  {
    name: 'snapshot-without-its-version',
    foundBy: 4,
    shape: { versions: true, snapshotEvery: 10 },
    what: 'a state that is made from a snapshot goes on with the first version (T12)',
    install: () =>
      replace(
        MemoryEngine,
        'takeOverAs',
        (original) =>
          function (...given) {
            original.apply(this, given);
            this.position = { ...this.position, version: undefined };
            return this.position;
          },
      ),
  },
  {
    name: 'migrate-outside-the-entry',
    foundBy: 1,
    shape: { versions: true },
    what: 'a server migrates its rows when it gets a version, and not at the place of the switch (T12)',
    install: () =>
      all(
        replace(
          Machine,
          'migrate',
          (original) =>
            function (version) {
              return this.rows.has(`migrated to ${version}`)
                ? { ok: true, json: JSON.stringify({ name: 'kv', version }) }
                : original.call(this, version);
            },
        ),
        replace(
          SimulatedServer,
          'load',
          (original) =>
            function (versions) {
              for (const version of versions) {
                if (version > this.database.engine.machine.version) this.database.engine.migrate(version);
              }
              return original.call(this, versions);
            },
        ),
      ),
  },
  {
    name: 'go-on-without-the-version',
    foundBy: 2,
    shape: { versions: true },
    what: 'an applier executes what needs a version that it has not (T12)',
    install: () => replace(ApplierCore, 'hasVersion', () => () => true),
  },
  {
    name: 'switch-within-a-batch',
    foundBy: 9,
    shape: { versions: true },
    what: 'a switch shares a batch with other commands (T12)',
    install: () =>
      replace(
        ApplyQueue,
        'take',
        (original) =>
          function (...given) {
            const first = original.apply(this, given) as TakenBatch | null;
            const isBeforeSwitch = this.next?.name === MACHINE_COMMAND && first !== null && first.mark === undefined;
            if (!isBeforeSwitch || first.batch.commands.some(({ name }) => name.startsWith('craft.'))) return first;
            const second = original.apply(this, given) as TakenBatch;
            const commands = [...first.batch.commands, ...second.batch.commands];
            const checkpoints = [...first.checkpoints, ...second.checkpoints];
            const bytes = first.bytes + second.bytes;
            return { ...second, batch: { ...second.batch, commands }, checkpoints, bytes };
          },
      ),
  },
];

/** Those of what is older than versions are looked for without them, where they have been found. */
export const DEFECTS: readonly Defect[] = PLANS.map((plan) => ({
  within: 40,
  ...plan,
  shape: { versions: false, ...plan.shape },
}));

/** Throws with the list of what there is when there is no such defect. */
export function findDefect(name: string): Defect {
  const defect = DEFECTS.find((known) => known.name === name);
  if (defect === undefined)
    throw new Error(`no defect ${name}; there are: ${DEFECTS.map((known) => known.name).join(', ')}`);
  return defect;
}

/** Runs `action` with the defect in place, if one is named. */
export function withDefect<T>(name: string | undefined, action: () => T): T {
  if (name === undefined) return action();
  const undo = findDefect(name).install();
  try {
    return action();
  } finally {
    undo();
  }
}
