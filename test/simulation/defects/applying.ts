/** The applier and its engine: each command once, in order, one batch at a time. */
import { ApplierCore } from '../../../services/applier/core/applier.js';
import { ApplyQueue } from '../../../services/applier/core/queue.js';
import { Reading } from '../../../services/applier/core/reading.js';
import { ReplacedError } from '../../../shared/engine/port.js';
import { MemoryEngine } from '../../memory/engine.js';
import { type Plan, replace } from './plan.js';

export const APPLYING: readonly Plan[] = [
  {
    name: 'deduplicate-per-leader',
    what: 'the same id at another server is another command (T8)',
    install: () =>
      replace(MemoryEngine, 'applyNow', (original, batch) => {
        const commands = batch.commands.map((command: { id: string; server: string }) => ({
          ...command,
          id: command.id === '' ? '' : `${command.server}/${command.id}`,
        }));
        return original({ ...batch, commands });
      }),
  },
  {
    name: 'take-what-lies-beyond-a-hole',
    foundBy: 4,
    within: 100,
    what: 'a message that begins beyond a hole in the stream is applied (T8)',
    install: () =>
      replace(ApplyQueue, 'offer', function (original, run) {
        if (run.firstMergedIndex > this.wanted && run.entries.length > 0) this.lastIndex = run.firstMergedIndex - 1;
        return original(run);
      }),
  },
  {
    name: 'never-look',
    what: 'a reader that gets nothing does not look whether the stream has more',
    foundBy: 4,
    install: () =>
      replace(Reading, 'look', function () {
        this.news();
      }),
  },
  {
    name: 'keep-the-queue-when-the-state-moves',
    what: 'what was queued before the database went back is applied after it (T8)',
    foundBy: 7,
    install: () => replace(ApplyQueue, 'reset', () => {}),
  },
  {
    name: 'take-a-replaced-database-for-one-that-is-away',
    what: 'a database that was emptied is not opened again',
    foundBy: 4,
    install: () =>
      replace(ApplierCore, 'isFinal', (original, error) => (error instanceof ReplacedError ? false : original(error))),
  },
  {
    name: 'two-at-the-engine',
    what: 'a batch is given to the engine while it is busy with something else',
    foundBy: 7,
    install: () =>
      replace(ApplierCore, 'next', function (original) {
        const { work } = this;
        if (work.effect?.type === 'install' || work.effect?.type === 'open') work.effect = null;
        return original();
      }),
  },
];
