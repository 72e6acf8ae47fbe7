/** Versions of the state machine. */
import { ApplyQueue, type TakenBatch } from '../../../services/applier/core/queue.js';
import { VersionGate } from '../../../services/applier/core/version-gate.js';
import type { AppliedBatch } from '../../../shared/engine/port.js';
import { MACHINE_COMMAND } from '../../../shared/wire/machine.js';
import { MemoryEngine } from '../../memory/engine.js';
import { Machine } from '../database.js';
import { SimulatedServer } from '../server.js';
import { all, type Plan, replace } from './plan.js';

export const VERSIONS: readonly Plan[] = [
  {
    name: 'switch-one-entry-late',
    foundBy: 3,
    shape: { versions: true },
    what: 'the command after a switch is still executed by the version before (T12)',
    install: () =>
      replace(MemoryEngine, 'applyNow', function (original, batch) {
        const late = Reflect.get(this, 'late') as number | undefined;
        const before = this.machine.version as number;
        const { version, ...done } = original(batch) as AppliedBatch;
        const isSwitch = version !== undefined && late === undefined;
        Reflect.set(this, 'late', isSwitch ? version : undefined);
        const after = isSwitch ? before : (late ?? version ?? before);
        this.position = { ...this.position, version: after };
        return after === before ? done : { ...done, version: after };
      }),
  },
  {
    name: 'old-code-after-switch',
    foundBy: 3,
    shape: { versions: true },
    what: 'the code that a state was opened with goes on after a switch (T12)',
    install: () =>
      replace(Machine, 'code', function (original) {
        const code = (Reflect.get(this, 'remembered') as number | undefined) ?? original();
        Reflect.set(this, 'remembered', code);
        return code;
      }),
  },
  {
    name: 'snapshot-without-its-version',
    foundBy: 4,
    shape: { versions: true, snapshotEvery: 10 },
    what: 'a state that is made from a snapshot goes on with the first version (T12)',
    install: () =>
      replace(MemoryEngine, 'takeOverAs', function (original, ...given) {
        original(...given);
        this.position = { ...this.position, version: undefined };
        return this.position;
      }),
  },
  {
    name: 'migrate-outside-the-entry',
    foundBy: 1,
    shape: { versions: true },
    what: 'a server migrates its rows when it gets a version, and not at the place of the switch (T12)',
    install: () =>
      all(
        replace(Machine, 'migrate', function (original, version) {
          return this.rows.has(`migrated to ${version}`)
            ? { ok: true, json: JSON.stringify({ name: 'kv', version }) }
            : original(version);
        }),
        replace(SimulatedServer, 'load', function (original, versions) {
          for (const version of versions) {
            if (version > this.database.engine.machine.version) this.database.engine.migrate(version);
          }
          return original(versions);
        }),
      ),
  },
  {
    name: 'go-on-without-the-version',
    foundBy: 2,
    shape: { versions: true },
    what: 'an applier executes what needs a version that it has not (T12)',
    install: () => replace(VersionGate, 'has', () => true),
  },
  {
    name: 'switch-within-a-batch',
    foundBy: 9,
    shape: { versions: true },
    what: 'a switch shares a batch with other commands (T12)',
    install: () =>
      replace(ApplyQueue, 'take', function (original, ...given) {
        const first = original(...given) as TakenBatch | null;
        const isBeforeSwitch = this.next?.name === MACHINE_COMMAND && first !== null && first.mark === undefined;
        if (!isBeforeSwitch || first.batch.commands.some(({ name }) => name.startsWith('craft.'))) return first;
        const second = original(...given) as TakenBatch;
        const commands = [...first.batch.commands, ...second.batch.commands];
        const checkpoints = [...first.checkpoints, ...second.checkpoints];
        const bytes = first.bytes + second.bytes;
        return { ...second, batch: { ...second.batch, commands }, checkpoints, bytes };
      }),
  },
];
