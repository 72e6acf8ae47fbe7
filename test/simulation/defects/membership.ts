/** Changes of members. */
import { Group } from '../../../shared/raft/group.js';
import { GroupState } from '../../../shared/raft/state.js';
import { SimulatedDisk } from '../disk.js';
import { stateOf } from './group.js';
import { type Plan, replace, replaceGetter } from './plan.js';

export const MEMBERSHIP: readonly Plan[] = [
  {
    name: 'two-changes-at-once',
    what: 'a leader changes members again before the change before is committed (T11)',
    foundBy: 4,
    install: () =>
      replace(Group, 'configure', function (original, ...given) {
        const state = stateOf(this);
        const { commitIndex } = state;
        state.commitIndex = state.log.lastIndex;
        try {
          return original(...given);
        } finally {
          state.commitIndex = commitIndex;
        }
      }),
  },
  {
    name: 'forget-members-on-restart',
    within: 100,
    what: 'after a restart a server has the members that its cluster began with (T11)',
    foundBy: 5,
    install: () =>
      replace(SimulatedDisk, 'load', (original) => {
        const loaded = original() as ReturnType<SimulatedDisk['load']>;
        const groups = [...loaded.groups].map(([id, group]) => [id, { ...group, configurations: [] }] as const);
        return { ...loaded, groups: new Map(groups) };
      }),
  },
  {
    name: 'keep-members-of-truncated-entry',
    within: 100,
    what: 'the members of a configuration entry stay in force when a conflict has truncated it (T11)',
    foundBy: 90,
    install: () =>
      replace(GroupState, 'truncate', function (original, from) {
        const { configurations } = this;
        original(from);
        this.configurations = configurations;
      }),
  },
  {
    name: 'quorum-of-wrong-configuration',
    within: 300,
    what: 'a change of members is in force only once it is committed (T11)',
    foundBy: 2,
    install: () =>
      replaceGetter(GroupState, 'configuration', function () {
        const { configurations, commitIndex } = this as GroupState;
        return configurations.filter(({ index }) => index <= commitIndex).pop() ?? configurations[0];
      }),
  },
];
