/**
 * T12: which version is in force after a merged index is the same at every server, and changes at a
 * `craft.machine` that took effect and nowhere else. Its code executes what comes next. A snapshot
 * has the version of its place. Servers whose rows were changed by hand are left out.
 */
import { type Applied, type MergedCommand, versionAt } from '../../../shared/engine/port.js';
import { FIRST_VERSION } from '../../../shared/engine/switch.js';
import { MACHINE_COMMAND } from '../../../shared/wire/machine.js';
import { RESERVED_PREFIX, RESTORE_COMMAND } from '../../../shared/wire/restore.js';
import type { SimulatedServer } from '../server.js';
import type { SimulatedSnapshot } from '../snapshots.js';
import { hold, type Invariant } from './invariant.js';

export class Versions implements Invariant {
  readonly name = 'T12';
  /** after[i]: the version in force after merged index i. */
  private readonly after: number[] = [FIRST_VERSION];

  onApplied(server: SimulatedServer, commands: readonly MergedCommand[], applied: readonly Applied[]): void {
    const { engine, isTainted } = server.database;
    if (isTainted) return;
    const { version } = engine.machine;
    const before = this.after[(commands[0]?.mergedIndex ?? 1) - 1];
    for (const [at, command] of commands.entries()) {
      const { mergedIndex } = command;
      const expected = this.after[mergedIndex] ?? this.expected(command, applied[at]) ?? version;
      const what = () => `${server.name} has version ${version} after merged index ${mergedIndex}, and not ${expected}`;
      hold(version === expected, this.name, what);
      this.after[mergedIndex] = expected;
    }
    const needsCode = ({ name }: MergedCommand, at: number) =>
      !name.startsWith(RESERVED_PREFIX) && applied[at]?.duplicate === false;
    if (before === undefined || !commands.some(needsCode)) return;
    const what = () => `${server.name} executes with version ${engine.executedBy} where ${before} is in force`;
    hold(engine.executedBy === before, this.name, what);
    hold(
      server.loaded.includes(before),
      this.name,
      () => `${server.name} executes version ${before}, which it has not`,
    );
  }

  onInstalled(server: SimulatedServer, { name, position }: SimulatedSnapshot): void {
    const expected = this.after[position.mergedIndex];
    const what = () => `${server.name} installs ${name} with version ${versionAt(position)}, and not ${expected}`;
    hold(expected === undefined || versionAt(position) === expected, this.name, what);
  }

  /** As the log says; undefined where a file does. */
  private expected({ name, payload, mergedIndex }: MergedCommand, applied: Applied | undefined): number | undefined {
    if (name === RESTORE_COMMAND) return undefined;
    if (name !== MACHINE_COMMAND || applied?.outcome.ok !== true) return this.after[mergedIndex - 1];
    return (JSON.parse(new TextDecoder().decode(payload)) as { version: number }).version;
  }
}
