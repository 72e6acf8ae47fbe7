/**
 * The versions of a state machine that are loaded (T12): what each of them takes, and where its
 * migrations are.
 */

import { migrationsFolder } from '../../../shared/engine/engine-migrations.js';
import { kvContract } from '../../../shared/engine/kv/contract.js';
import type { MigrationSource } from '../../../shared/engine/migrations.js';
import { VersionMissingError } from '../../../shared/engine/port.js';
import { type StateMachineContract, versionOf } from '../../../shared/engine/state-machine.js';
import type { Scope } from './catalog.js';
import type { Machine } from './handler-batch.js';
import { sourceOf } from './version.js';

export class MachineVersions {
  readonly name: string;
  /**
   * The machine with the table kv, whose commands are SQL statements; a user's machine has
   * handlers.
   */
  readonly isBuiltIn: boolean;
  private readonly contracts: ReadonlyMap<number, StateMachineContract>;

  /**
   * `newest` is the built-in machine's contract, or a user's machine with handlers; `earlier` are
   * other versions of it.
   */
  constructor(newest: StateMachineContract = kvContract, earlier: readonly StateMachineContract[] = []) {
    this.name = newest.name;
    this.isBuiltIn = newest === kvContract;
    this.contracts = new Map([...earlier, newest].map((one) => [versionOf(one).version, one]));
  }

  /** @throws VersionMissingError when this version is not loaded. */
  contractOf(version: number): StateMachineContract {
    const contract = this.contracts.get(version);
    if (contract === undefined) throw new VersionMissingError(this.name, version);
    return contract;
  }

  /** Undefined when this version is not loaded. */
  find(version: number): StateMachineContract | undefined {
    return this.contracts.get(version);
  }

  /** Of a user's machine. */
  get machines(): ReadonlyMap<number, Machine> {
    return this.contracts as ReadonlyMap<number, Machine>;
  }

  /** Where its tables are. */
  get scope(): Scope {
    return this.isBuiltIn ? 'built-in' : 'search-path';
  }

  /**
   * Where the migrations are: the engine's, and those of a version of the machine if it is loaded
   * and has some.
   */
  sourcesOf(version: number): readonly [MigrationSource, ...MigrationSource[]] {
    const machine = this.isBuiltIn ? undefined : this.machines.get(version);
    const own = machine === undefined ? undefined : sourceOf(machine);
    const engine = { folder: migrationsFolder() };
    return own === undefined ? [engine] : [engine, own];
  }
}
