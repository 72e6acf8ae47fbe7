/**
 * Runs the same commands at two servers that have nothing in common but the log, and compares their
 * rows and results. The other server has another clock, time zone and environment, other random
 * numbers and other borders of batches. It finds the rows of a table in another order. Each of its
 * batches is tried once and rolled back before it counts.
 */
import type { InputOf, MachineTypes, NameOf } from '../../../shared/client/machine.js';
import type { EnginePosition, MergedCommand, StorageEngine } from '../../../shared/engine/port.js';
import type { CommandOutcome, MachineVersion, StateMachineContract } from '../../../shared/engine/state-machine.js';
import { messageOf, NamedError } from '../../../shared/errors.js';
import { RunningChecksum } from '../../../shared/merge/checksum.js';
import { Connection } from '../postgres/connection.js';
import { PostgresEngine } from '../postgres/engine.js';
import type { Machine } from '../postgres/handler-batch.js';
import { CONNECTION_LOST } from '../postgres/sqlstate.js';
import { batchOf, type TestCommandOptions, TestLog } from './log.js';
import { differenceOf, readTables, reverseRows, type TableDifference, type Tables } from './tables.js';
import { CLOCK_AHEAD_MS, inWorld, type World } from './world.js';

/** How many commands the batches of the other server have, again and again. */
const BATCH_SIZES = [1, 2, 3];
/** How long a command's id is remembered (milliseconds): the default of a server. */
const RESULT_WINDOW_MS = 600_000;
/** How much of a result an error shows (characters). */
const SHOWN_MAX = 200;

/** The name of a command, its input, and what else a client may give. */
export type TestCommand<M extends StateMachineContract & MachineTypes> = {
  [Name in NameOf<M['commands']>]: readonly [
    name: Name,
    input: InputOf<M['commands'][Name]>,
    options?: TestCommandOptions,
  ];
}[NameOf<M['commands']>];

/** What `checkDeterminism` runs, and where. */
export interface DeterminismOptions<M extends StateMachineContract & MachineTypes> {
  /**
   * Two Postgres databases with equal tables: two empty ones, say. The machine's migrations run in
   * both. Where an earlier version is in force, they are switched to this one first, as a cluster
   * is. Rows stay.
   */
  readonly databaseUrls: readonly [string, string];
  /**
   * In the order of the log. Ones that are rejected belong to a good test. After each of them all
   * rows are read.
   */
  readonly commands: readonly TestCommand<M>[];
}

/** Two servers would have come to different states. */
export class NondeterminismError extends NamedError {
  readonly code = 'NONDETERMINISM';
  constructor(
    message: string,
    /** Name of the command, as far as it is known. */
    readonly command: string,
  ) {
    super(message);
  }
}

/** The world is one for the whole process. */
let last: Promise<unknown> = Promise.resolve();

/**
 * Resolves when both servers have come to the same rows and results. It does not prove that
 * handlers are deterministic: it finds what these commands meet. While handlers run, `Date`,
 * `Math.random` and `process.env` of this process are others.
 * @throws NondeterminismError with the command and the columns; InvalidArgumentError and
 *   UnknownCommandError for commands that no leader would take. Error when a handler fails, or when
 *   the databases are not equal at the beginning
 */
export function checkDeterminism<M extends StateMachineContract & MachineTypes>(
  machine: M,
  options: DeterminismOptions<M>,
): Promise<void> {
  const checking = last.then(() => check(machine, options));
  last = checking.catch(() => undefined);
  return checking;
}

async function check<M extends StateMachineContract & MachineTypes>(
  machine: M,
  { databaseUrls, commands }: DeterminismOptions<M>,
): Promise<void> {
  if (commands.length === 0) throw new RangeError('no commands: nothing would be checked');
  const [one, other] = [
    new Server(machine, databaseUrls[0], 'this server'),
    new Server(machine, databaseUrls[1], 'the other server'),
  ];
  try {
    const log = new TestLog(await one.open());
    await other.open();
    const begun = differenceOf(await one.tables(), await other.tables());
    if (begun !== undefined) {
      throw new Error(`the two databases have different rows in ${begun.table.name} before the first command`);
    }
    const switching = log.switchTo(machine, one.version);
    if (switching !== undefined) await compare(one, other, [switching]);
    const entries = commands.map(([name, input, options = {}]) => log.append(machine, name, input, options));
    for (const [from, to] of batches(entries.length)) await compare(one, other, entries.slice(from, to));
  } finally {
    await Promise.all([one.close(), other.close()]);
  }
}

function* batches(count: number): Generator<[from: number, to: number]> {
  for (let from = 0, turn = 0; from < count; turn++) {
    const to = Math.min(count, from + (BATCH_SIZES[turn % BATCH_SIZES.length] ?? 1));
    yield [from, to];
    from = to;
  }
}

/** Runs the commands one by one at the first server and together at the other one. */
async function compare(one: Server, other: Server, commands: readonly MergedCommand[]): Promise<void> {
  const before = await one.tables();
  await other.disorder(before);
  const states: Tables[] = [];
  const outcomes: CommandOutcome[] = [];
  for (const command of commands) {
    outcomes.push(...(await one.apply([command])));
    states.push(await one.tables());
  }
  const others = await other.apply(commands);
  for (const [at, { name }] of commands.entries()) {
    const [first, second] = [shown(outcomes[at]), shown(others[at])];
    if (first === second) continue;
    throw new NondeterminismError(`${name} gave different results: ${first} and ${second}; ${hintOf([])}`, name);
  }
  const found = differenceOf(states.at(-1) ?? before, await other.tables());
  if (found === undefined) return;
  const names = writersOf(found, commands, [before, ...states]);
  throw new NondeterminismError(`${names} wrote different rows: ${described(found)}; ${hintOf(kindsOf(found))}`, names);
}

/**
 * Who made the first of the differing rows; all that may have done so, when that row is there at
 * the other server only.
 */
function writersOf({ first }: TableDifference, commands: readonly MergedCommand[], states: readonly Tables[]): string {
  const rowsOf = (at: number) => new Set([...(states[at]?.values() ?? [])].flatMap(({ rows }) => rows));
  for (const [at, { name }] of commands.entries()) {
    const [before, after] = [rowsOf(at), rowsOf(at + 1)];
    if (first.some((row) => after.has(row) && !before.has(row))) return name;
  }
  return [...new Set(commands.map(({ name }) => name))].join(' or ');
}

function described({ table, columns, first, second }: TableDifference): string {
  if (columns.length > 0) return columns.map((column) => `${table.name}.${column}`).join(', ');
  return `${first.length} in ${table.name} of one server, ${second.length} of the other`;
}

type Kind = 'time' | 'random';

/** What the values that differ look like. */
function kindsOf({ table, columns, first, second }: TableDifference): Kind[] {
  return columns.flatMap((column): Kind[] => {
    const type = table.types[column] ?? '';
    if (/^(timestamp|date|time)/.test(type)) return ['time'];
    if (type === 'uuid') return ['random'];
    const [one, other] = [first, second].map((rows) => Number(JSON.parse(rows[0] ?? '{}')[column]));
    const apart = Math.abs((other ?? Number.NaN) - (one ?? Number.NaN));
    // Seconds, milliseconds or microseconds.
    const isClock = [1e-3, 1, 1e3].some((unit) => Math.abs(apart / (CLOCK_AHEAD_MS * unit) - 1) < 0.001);
    return isClock ? ['time'] : [];
  });
}

function hintOf(kinds: readonly Kind[]): string {
  if (kinds.includes('time')) return 'use context.timestamp';
  if (kinds.includes('random')) return 'use context.random or an id in the input';
  return (
    'a handler may depend on its input, its context, and rows in a stated order (order by). ' +
    'It must not depend on clocks, random numbers, the environment or what it has kept in memory'
  );
}

function shown(outcome: CommandOutcome | undefined): string {
  if (outcome === undefined) return 'nothing';
  const text = outcome.ok ? outcome.json : `rejected: ${outcome.message}`;
  return text.length <= SHOWN_MAX ? text : `${text.slice(0, SHOWN_MAX)}…`;
}

/** Rolls a batch back, as a lost connection does. */
class RolledBack extends Error {
  readonly code = CONNECTION_LOST;
}

class Server {
  private readonly engine: StorageEngine;
  private readonly connection: Connection;
  private checksum = new RunningChecksum();
  /**
   * The batch under way does not count: it is rolled back after the command with this merged index.
   */
  private rollsBackAt: number | undefined;
  private failure: { readonly command: string; readonly error: unknown } | undefined;

  constructor(
    machine: StateMachineContract,
    databaseUrl: string,
    private readonly world: World,
  ) {
    this.connection = new Connection({ url: databaseUrl, name: `craft determinism ${world}` });
    this.engine = new PostgresEngine({
      databaseUrl,
      server: world,
      resultWindowMs: RESULT_WINDOW_MS,
      machine: this.elsewhere(machine as Machine),
      onFailure: ({ name }, error) => {
        this.failure = { command: name, error };
      },
    });
  }

  async open(): Promise<EnginePosition> {
    const position = await this.engine.open();
    this.checksum = new RunningChecksum(position.checksum);
    return position;
  }

  /** In force in its database. */
  get version(): MachineVersion {
    return this.engine.machine;
  }

  tables(): Promise<Tables> {
    return readTables(this.connection);
  }

  /** Has scans find rows in another order than that of `others`. */
  async disorder(others: Tables): Promise<void> {
    for (const [name, table] of await this.tables()) {
      const isSame = JSON.stringify(table.rows) === JSON.stringify(others.get(name)?.rows);
      if (isSame && table.rows.length > 1) await reverseRows(this.connection, table);
    }
  }

  async apply(commands: readonly MergedCommand[]): Promise<CommandOutcome[]> {
    const batch = batchOf(commands, this.checksum);
    this.failure = undefined;
    if (this.world === 'the other server') this.rollsBackAt = commands.at(-1)?.mergedIndex;
    const tried = await this.engine.apply(batch).catch(rolledBack);
    this.rollsBackAt = undefined;
    const { applied } = tried ?? (await this.engine.apply(batch));
    if (this.failure !== undefined) {
      const { command, error: cause } = this.failure as { command: string; error: unknown };
      throw new Error(`${command} failed: ${messageOf(cause)}`, { cause });
    }
    return applied.map(({ outcome }) => outcome);
  }

  async close(): Promise<void> {
    await Promise.all([this.engine.close(), this.connection.close()]);
  }

  /** The machine, whose handlers run in this server's world. */
  private elsewhere(machine: Machine): Machine {
    const { applyBatch } = machine;
    const commands = Object.entries(machine.commands).map(([name, command]) => {
      const handle: typeof command.handle = (tx, input, context) =>
        this.handle(context.index, () => command.handle(tx, input, context));
      return [name, { ...command, handle }] as const;
    });
    return {
      ...machine,
      commands: Object.fromEntries(commands),
      ...(applyBatch !== undefined && {
        applyBatch: (tx, batch) => this.handle(batch.at(-1)?.context.index, () => applyBatch(tx, batch)),
      }),
    } satisfies Machine;
  }

  /** @param index merged index of the last command that `work` executes */
  private async handle<T>(index: number | undefined, work: () => Promise<T>): Promise<T> {
    if (index === undefined || this.rollsBackAt !== index) return inWorld(this.world, work);
    await inWorld(this.world, work).catch(() => undefined);
    throw new RolledBack();
  }
}

function rolledBack(error: unknown): undefined {
  if (!(error instanceof RolledBack)) throw error;
}
