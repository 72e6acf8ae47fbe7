/** The comparison of servers, and what a server with a verdict does. */
import { Comparison } from '../../../services/applier/core/comparison.js';
import { ApplyQueue, type TakenBatch } from '../../../services/applier/core/queue.js';
import { Trust } from '../../../services/applier/core/trust.js';
import { SimulatedDatabase } from '../database.js';
import { type Plan, replace, replaceGetter } from './plan.js';

export const COMPARING: readonly Plan[] = [
  {
    name: 'outcomes-confirm-rows',
    foundBy: 11,
    within: 100,
    what: 'a snapshot counts once the outcomes up to it are equal, whatever the rows (T4, T10)',
    install: () =>
      replace(Comparison, 'judge', (original, round) => {
        const { others } = round;
        const blind = new Map();
        for (const [server, value] of others) blind.set(server, { ...value, rows_checksum: round.own?.rows_checksum });
        return original({ ...round, others: blind });
      }),
  },
  {
    name: 'first-difference-decides',
    foundBy: 28,
    what: 'a server that differs from one other takes itself for the one that is wrong (T4)',
    install: () =>
      replace(Comparison, 'judge', function (original, round) {
        const other = [...round.others.values()].find(
          (value) => round.own !== undefined && value.results_checksum !== round.own.results_checksum,
        );
        if (other === undefined) return original(round);
        return this.events.differs('one other server says so');
      }),
  },
  {
    name: 'compare-no-rows',
    what: 'rows are not compared, only outcomes (T4)',
    install: () => replace(Comparison, 'verified', () => {}),
  },
  {
    name: 'forget-verdict-on-restart',
    foundBy: 15,
    within: 100,
    what: 'a server that differs forgets it when it is started again (T4)',
    install: () =>
      replace(SimulatedDatabase, 'open', function (original) {
        this.engine.divergence = undefined;
        return original();
      }),
  },
  {
    name: 'serve-with-a-verdict',
    foundBy: 28,
    within: 100,
    what: 'a server that differs goes on answering reads and commands (T4)',
    install: () => replaceGetter(Trust, 'refusal', () => undefined),
  },
  {
    name: 'rebuild-of-nothing',
    foundBy: 11,
    within: 100,
    what: 'a rebuild clears the verdict, and leaves the rows as they are (T4)',
    install: () =>
      replace(SimulatedDatabase, 'restore', function (original, state) {
        if (this.engine.divergence === undefined) return original(state);
        this.engine.divergence = undefined;
      }),
  },
  {
    name: 'mark-in-the-middle-of-a-batch',
    foundBy: 133,
    within: 150,
    what: 'a batch goes on beyond a `craft.verify`: each server compares and saves the rows of another place (T4)',
    install: () =>
      replace(ApplyQueue, 'take', (original) => {
        const taken: TakenBatch | null = original();
        if (taken?.mark === undefined) return taken;
        const more: TakenBatch | null = original();
        if (more === null) return taken;
        const commands = [...taken.batch.commands, ...more.batch.commands];
        const { checksum } = more.batch;
        return { ...more, batch: { commands, checksum }, mark: taken.mark };
      }),
  },
];
