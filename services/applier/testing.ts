/**
 * A state machine on a database, without NATS and without a cluster. Commands pass the same checks
 * and the same engine as at a server: migrations, schemas, savepoints, results by id, rejections.
 *
 * @module craft/testing
 */

import { errorOf } from '../../shared/client/errors.js';
import type { InputOf, MachineTypes, NameOf, ResultOf } from '../../shared/client/machine.js';
import type { EnginePosition, MergedCommand } from '../../shared/engine/port.js';
import type { CommandOutcome, StateMachineContract } from '../../shared/engine/state-machine.js';
import { RunningChecksum } from '../../shared/merge/checksum.js';
import { InvariantError } from '../../shared/raft/assert.js';
import { PostgresEngine } from './postgres/engine.js';
import { batchOf, type TestCommandOptions, TestLog } from './testing/log.js';

export {
  checkDeterminism,
  type DeterminismOptions,
  NondeterminismError,
  type TestCommand,
} from './testing/determinism.js';
export type { TestCommandOptions } from './testing/log.js';

/** How long a command's id is remembered (milliseconds): the default of a server. */
const RESULT_WINDOW_MS = 600_000;

/** Where a machine is tested. */
export interface TestOptions {
  /**
   * A Postgres database for this test alone. The machine's migrations run in it; what earlier tests
   * left there is kept. Where an earlier version is in force, it is switched to this one first, as
   * a cluster is.
   */
  readonly databaseUrl: string;
}

/**
 * Opens `machine` on a database. Rejects when that cannot be reached, when a migration fails, or
 * when its tables are not deterministic; with RangeError when a later version of the machine is in
 * force there.
 */
export async function openMachine<M extends StateMachineContract & MachineTypes>(
  machine: M,
  { databaseUrl }: TestOptions,
): Promise<TestMachine<M>> {
  const failures: { error?: unknown } = {};
  const engine = new PostgresEngine({
    databaseUrl,
    server: 'test',
    resultWindowMs: RESULT_WINDOW_MS,
    machine,
    onFailure: (_, error) => {
      failures.error = error;
    },
  });
  try {
    const opened = new TestMachine(machine, engine, await engine.open(), failures);
    await opened.begin();
    return opened;
  } catch (error) {
    await engine.close();
    throw error;
  }
}

/** A state machine on a database of its own. `openMachine` gives one. */
export class TestMachine<M extends StateMachineContract & MachineTypes> {
  private readonly checksum: RunningChecksum;
  private readonly log: TestLog;
  /** Commands run one after the other, as in the log. */
  private last: Promise<unknown> = Promise.resolve();

  /** @internal Use `openMachine`. */
  constructor(
    private readonly machine: M,
    private readonly engine: PostgresEngine,
    position: EnginePosition,
    /** What the newest handler that failed has thrown. */
    private readonly failures: { error?: unknown },
  ) {
    this.checksum = new RunningChecksum(position.checksum);
    this.log = new TestLog(position);
  }

  /** @internal Puts the machine's version in force. `openMachine` does it. */
  async begin(): Promise<void> {
    const command = this.log.switchTo(this.machine, this.engine.machine);
    if (command === undefined) return;
    const outcome = await this.apply(command);
    if (!outcome.ok) throw new Error(outcome.message, { cause: this.failures.error });
  }

  /**
   * Runs a command and gives its result as a client gets it. Throws as the client does:
   * RejectedError, InvalidArgumentError, UnknownCommandError; InternalError with the handler's
   * error as its `cause`.
   */
  async command<Name extends NameOf<M['commands']>>(
    name: Name,
    input: InputOf<M['commands'][Name]>,
    options: TestCommandOptions = {},
  ): Promise<ResultOf<M['commands'][Name]>> {
    const running = this.last.then(() => this.run(name, input, options));
    this.last = running.catch(() => undefined);
    return running as Promise<ResultOf<M['commands'][Name]>>;
  }

  /**
   * Reads what the commands until now have made. Throws InvalidArgumentError or
   * UnknownCommandError.
   */
  async query<Name extends NameOf<M['queries']>>(
    name: Name,
    input: InputOf<M['queries'][Name]>,
  ): Promise<ResultOf<M['queries'][Name]>> {
    await this.last;
    const result = await asClient(() => this.engine.query(name, throughJson(input)));
    return throughJson(result ?? null) as ResultOf<M['queries'][Name]>;
  }

  /** Ends the connections. The rows stay. */
  async close(): Promise<void> {
    await this.last;
    await this.engine.close();
  }

  private async run(name: string, input: unknown, options: TestCommandOptions): Promise<unknown> {
    const { id = '' } = options;
    const command = await asClient(async () => this.log.append(this.machine, name, input, options));
    const outcome = await this.apply(command);
    if (outcome.ok) return JSON.parse(outcome.json);
    if (outcome.failed !== true) throw errorOf('REJECTED', outcome.message, id);
    throw Object.assign(errorOf('INTERNAL', outcome.message, id), { cause: this.failures.error });
  }

  private async apply(command: MergedCommand): Promise<CommandOutcome> {
    const { applied } = await this.engine.apply(batchOf([command], this.checksum));
    const outcome = applied[0]?.outcome;
    if (outcome === undefined) throw new InvariantError('the engine gave no outcome');
    return outcome;
  }
}

/** Refusals of the services' own code as the classes that a client has. */
async function asClient<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { code, message } = error as { code?: unknown; message?: unknown };
    if (code !== 'INVALID_ARGUMENT' && code !== 'UNKNOWN_COMMAND') throw error;
    throw Object.assign(errorOf(code, String(message), ''), { cause: error });
  }
}

function throughJson(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
