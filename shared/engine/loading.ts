/**
 * Loads a state machine's module: its newest version is the default export, earlier ones, for what
 * is before a switch, are in `earlier`.
 *
 *     export default bank2;  export const earlier = [bank1];
 *
 * Each version has a fingerprint of its code, so that two builds of one version can be told apart.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ConfigError } from '../config/config.js';
import { VERSION } from '../config/version.js';
import { kvContract } from './kv/contract.js';
import { loadModule } from './load-module.js';
import { type MigrationSource, migrationsOf } from './migrations.js';
import { shapeProblem } from './shape.js';
import { type StateMachineContract, VERSION_MAX, versionOf } from './state-machine.js';

/** One version of a machine, as it is loaded. */
export interface LoadedVersion {
  readonly version: number;
  readonly contract: StateMachineContract;
  /**
   * SHA-256 (hexadecimal, 16 digits) over the file whose default export it is, the files that this
   * one imports by a relative path, and its migrations. A version that no file has as its default
   * export counts with the whole module.
   */
  readonly fingerprint: string;
}

/** All versions of a machine that a server has. */
export interface LoadedMachine {
  readonly name: string;
  /** At least one, in ascending order. */
  readonly versions: readonly [LoadedVersion, ...LoadedVersion[]];
  readonly newest: LoadedVersion;
}

/** Digits of a fingerprint. */
const FINGERPRINT_LENGTH = 16;

/**
 * The machine of the module at `path` (a relative path begins at the working directory), or the
 * built-in key-value machine. Rejects with ConfigError when the module does not load or exports
 * something else.
 */
export async function loadStateMachine(path: string | undefined): Promise<LoadedMachine> {
  if (path === undefined) {
    const only = { version: versionOf(kvContract).version, contract: kvContract, fingerprint: `craft ${VERSION}` };
    return { name: kvContract.name, versions: [only], newest: only };
  }
  const file = resolve(path);
  const module = await loadModule(path).catch((error: Error) => {
    throw wrong(error.message);
  });
  const newest = requireMachine(module.default, `the default export of ${path}`);
  const { earlier = [] } = module;
  if (!Array.isArray(earlier)) throw wrong(`"earlier" of ${path} is no array of state machines`);
  const older = earlier.map((one: unknown, at) => requireMachine(one, `"earlier"[${at}] of ${path}`));
  const contracts: StateMachineContract[] = [...older, newest];
  for (const contract of contracts) check(contract, newest, path);
  const sorted = [...contracts].sort((a, b) => versionOf(a).version - versionOf(b).version);
  for (const [at, contract] of sorted.entries()) {
    const { version } = versionOf(contract);
    const before = sorted[at - 1];
    if (before !== undefined && versionOf(before).version === version) {
      throw wrong(`${path} has version ${version} of ${newest.name} twice`);
    }
  }
  if (sorted[sorted.length - 1] !== newest) {
    throw wrong(`the default export of ${path} is version ${versionOf(newest).version}, which is not the newest one`);
  }
  const prints = await fingerprints(file, contracts);
  const versions = sorted.map((contract) => ({
    version: versionOf(contract).version,
    contract,
    fingerprint: prints.get(contract) ?? '',
  }));
  const [first, ...others] = versions;
  const last = versions[versions.length - 1];
  if (first === undefined || last === undefined) throw wrong(`${path} has no state machine`);
  return { name: newest.name, versions: [first, ...others], newest: last };
}

function requireMachine(value: unknown, what: string): StateMachineContract {
  const problem = shapeProblem(value);
  if (problem !== undefined) throw wrong(`${what} ${problem}`);
  return value as StateMachineContract;
}

function check(contract: StateMachineContract, { name }: StateMachineContract, path: string): void {
  const { version } = versionOf(contract);
  if (!Number.isSafeInteger(version) || version < 1 || version > VERSION_MAX) {
    throw wrong(`the version of ${path} is no integer from 1 to ${VERSION_MAX}: ${version}`);
  }
  if (contract.name !== name) {
    throw wrong(
      `${path} is the machine ${JSON.stringify(name)}, and "earlier" has one of ${JSON.stringify(contract.name)}`,
    );
  }
}

function wrong(what: string): ConfigError {
  return new ConfigError(`wrong configuration: CRAFT_STATE_MACHINE: ${what}`);
}

// Fingerprints.

/**
 * Of each version: of the file that has it as its default export, so that it is the same in a
 * module that has later ones, too.
 */
async function fingerprints(
  file: string,
  contracts: readonly StateMachineContract[],
): Promise<Map<StateMachineContract, string>> {
  const homes = new Map<unknown, string>();
  for (const one of contracts.length === 1 ? [] : moduleFiles(file)) {
    // Imported by the module already: nothing runs twice. Of files that pass it on, the last one is
    // where it is made.
    const module: { default?: unknown } = await import(pathToFileURL(one).href).catch(() => ({}));
    homes.set(module.default, one);
  }
  return new Map(contracts.map((contract) => [contract, fingerprintOf(homes.get(contract) ?? file, contract)]));
}

function fingerprintOf(file: string, contract: StateMachineContract): string {
  const hash = createHash('sha256');
  for (const one of moduleFiles(file)) hash.update(createHash('sha256').update(readFileSync(one)).digest());
  const { migrations, lastMigration } = contract as { migrations?: unknown; lastMigration?: unknown };
  const last = typeof lastMigration === 'string' ? lastMigration : undefined;
  if (typeof migrations === 'string') hash.update(migrationsText({ folder: migrations, last }));
  return hash.digest('hex').slice(0, FINGERPRINT_LENGTH);
}

/** What is wrong with them the applier says when it opens the state. */
function migrationsText(source: MigrationSource): string {
  try {
    return JSON.stringify(migrationsOf(source).map(({ tag, when, hash }) => [tag, when, hash]));
  } catch {
    return 'unreadable';
  }
}

/** Of what runs with the module; what it may import later is not known to. */
const RELATIVE_IMPORT = /(?:from|import)\s*['"](\.{1,2}\/[^'"]+)['"]/g;

/**
 * A module's file and those that it imports by a relative path, in the order in which they are met.
 */
export function moduleFiles(file: string): string[] {
  const found = new Set<string>();
  const visit = (path: string): void => {
    if (found.has(path) || !existsSync(path)) return;
    found.add(path);
    for (const [, specifier = ''] of readFileSync(path, 'utf8').matchAll(RELATIVE_IMPORT)) {
      visit(resolve(dirname(path), specifier));
    }
  };
  visit(file);
  return [...found];
}
