/** Snapshots and restored files: what counts, what is installed, where logs begin. */
import { SnapshotInstalling } from '../../../services/applier/core/snapshots/installing.js';
import { SnapshotPlan } from '../../../services/applier/core/snapshots/plan.js';
import { SnapshotTaking } from '../../../services/applier/core/snapshots/taking.js';
import { ReplicaCore } from '../../../services/replica/core/server.js';
import type { LogPosition } from '../../../shared/raft/entry.js';
import { GroupState } from '../../../shared/raft/state.js';
import type { LocatedState } from '../../../shared/wire/locate.js';
import { SimulatedApplier } from '../applier.js';
import { SimulatedDatabase } from '../database.js';
import { type Plan, replace } from './plan.js';

export const SNAPSHOTS: readonly Plan[] = [
  {
    name: 'install-over-longer-log',
    shape: { servers: 3, spares: 0, groups: 2, stranded: true, faults: [] },
    what: 'a snapshot is installed over a longer log without a look at what that has at its last index (T10)',
    install: () =>
      replace(GroupState, 'install', function (original, base: LogPosition) {
        if (base.index <= this.commitIndex || base.index > this.log.lastIndex) return original(base);
        this.setCommitIndex(base.index);
        return true;
      }),
  },
  {
    name: 'forget-timestamp-of-base',
    what: "a log that was compacted does not know the timestamp at its base, which T1 and a leader's floor rest on (T10)",
    install: () => replace(GroupState, 'compact', (original, base: LogPosition) => original({ ...base, timestamp: 0 })),
  },
  {
    name: 'compact-behind-the-snapshot',
    what: 'a log is compacted one entry further than the snapshot reaches (T10)',
    install: () =>
      replace(ReplicaCore, 'compact', (original, positions: readonly LogPosition[]) => {
        const further = positions.map(({ index, term, timestamp }) => ({ index: index + 1, term, timestamp }));
        return original(further);
      }),
  },
  {
    name: 'install-forgets-results',
    within: 100,
    what: 'an installed snapshot has the rows and not the results by id (T8, T10)',
    foundBy: 4,
    install: () =>
      replace(SimulatedDatabase, 'restore', function (original, state) {
        original(state);
        (Reflect.get(this.engine, 'results') as Map<string, unknown>).clear();
      }),
  },
  {
    name: 'anchor-before-the-state',
    within: 100,
    what: 'the merger goes on one entry before the place that the state machine named (T4, T10)',
    foundBy: 4,
    install: () =>
      replace(SimulatedApplier, 'locate', (original, atLeast, answer: (state: LocatedState | null) => void) =>
        original(atLeast, (state: LocatedState | null) =>
          answer(state === null ? null : { ...state, mergedIndex: state.mergedIndex + 1 }),
        ),
      ),
  },
  {
    name: 'snapshots-count-at-once',
    foundBy: 57,
    within: 100,
    what: 'a snapshot counts before a majority of servers has said that it has the same rows (T10)',
    install: () =>
      replace(SnapshotTaking, 'saved', function (original, mark: number, name: string) {
        const { saving } = this;
        if (saving !== undefined) saving.isAgreed = true;
        return original(mark, name);
      }),
  },
  {
    name: 'install-what-is-not-confirmed',
    foundBy: 337,
    within: 400,
    shape: { servers: 3, snapshotEvery: 3 },
    what: 'the newest snapshot is installed, whether it counts or not (T10)',
    install: () =>
      replace(SnapshotPlan, 'listed', (original, all) =>
        original(all.map((one: object) => ({ ...one, confirmed: true }))),
      ),
  },
  {
    name: 'restore-in-passing',
    what: 'the command that restores a file is applied with others: no state becomes that of the file (T10)',
    within: 100,
    foundBy: 4,
    install: () =>
      replace(SimulatedDatabase, 'commitRestored', function (_original, batch) {
        return this.engine.applyNow(batch);
      }),
  },
  {
    name: 'forget-who-asks-for-the-state',
    what: 'the merger is told a place that does not reach what it asks for (T10)',
    within: 100,
    foundBy: 4,
    install: () =>
      replace(SnapshotInstalling, 'located', function (original, request, position) {
        this.locating.set(request, []);
        return original(request, position);
      }),
  },
];
