/**
 * The Postgres engine: the state of one server in one database, moved on a batch at a time, exactly
 * once (T8).
 *
 * The position lies in the same database and moves in the same transaction as the rows, guarded by
 * an epoch. Every engine raises it when it opens, so of two that are open only the last one can
 * write. Commits are asynchronous (synchronous_commit = off): what Postgres forgets in a crash,
 * position and rows alike, is applied again from the merged log.
 */

import { setTimeout as delay } from 'node:timers/promises';
import {
  type AppliedBatch,
  abandon,
  DamagedError,
  type EngineBatch,
  type EnginePosition,
  type EngineSnapshot,
  FencedError,
  type KeptOutcomes,
  type MergedCommand,
  type OnDatabaseCall,
  PositionError,
  ReplacedError,
  type RowsCheck,
  requirePositions,
  SnapshotFormatError,
  type StorageEngine,
  VersionMissingError,
  versionAt,
  versionField,
} from '../../../shared/engine/port.js';
import { validateQuery } from '../../../shared/engine/registry.js';
import type { SettledBatch } from '../../../shared/engine/results.js';
import { framesOf, wrongFormat } from '../../../shared/engine/snapshot-frames.js';
import type { MachineVersion, StateMachineContract } from '../../../shared/engine/state-machine.js';
import type { LogIndex, MergedIndex } from '../../../shared/raft/entry.js';
import { CraftError } from '../../../shared/wire/errors.js';
import { MACHINE_COMMAND } from '../../../shared/wire/machine.js';
import { RESERVED_PREFIX } from '../../../shared/wire/restore.js';
import { readCatalog } from './catalog.js';
import { Connection, ConnectionLostError } from './connection.js';
import {
  applyHandlerBatch,
  type Execute,
  executeWith,
  type HandlerSession,
  type Machine,
  type OnFailure,
} from './handler-batch.js';
import { heldBy } from './held-by.js';
import { isSamePlace, KnownState } from './known-state.js';
import { type KvSession, planKvBatch, rememberVersions, writeKvBatch } from './kv-batch.js';
import { kvAnswer, kvStatement } from './kv-query.js';
import { KvSender } from './kv-sender.js';
import { queryFailure, queryMachine } from './machine-query.js';
import { MachineVersions } from './machine-versions.js';
import { readOutcomes } from './outcomes.js';
import {
  explainPosition,
  type FencedPosition,
  LOCK_POSITION,
  MARK_DIVERGED,
  plainPosition,
  READ_POSITION,
  readPosition,
  requireOwn,
  TAKE_FENCE,
} from './position.js';
import { prepareDatabase } from './prepare.js';
import { Pruner } from './pruner.js';
import { QueryPool } from './query-pool.js';
import { formatOf, type RestoreSession, restoreSnapshot } from './restore.js';
import { ResultStore } from './result-store.js';
import type { Rows, Statement } from './rows.js';
import { RowsChecker } from './rows-check.js';
import { BEGIN_PLAIN, NO_TIMEOUTS, PLAIN_SETTINGS } from './settings.js';
import { PostgresSnapshot } from './snapshot.js';
import { isMissingTable, isReadOnly } from './sqlstate.js';
import { requireTables } from './state-tables.js';
import { type SwitchResult, switchMachine } from './switch.js';

export interface PostgresEngineOptions {
  /**
   * A pooler in transaction mode is fine, with `?prepare=false` where it knows no prepared
   * statements.
   */
  readonly databaseUrl: string;
  readonly server: string;
  /** The name of the cluster: a state of another one is refused. Without it, none is. */
  readonly cluster?: string;
  /** How long results are kept for duplicates, in entry time (milliseconds). */
  readonly resultWindowMs: number;
  /**
   * How many ids of the window are remembered, unless the default; outcomes of further ones cost
   * more (result-store.ts).
   */
  readonly idsMax?: number;
  /** The built-in machine's contract, or a user's machine with handlers: its newest version. */
  readonly machine?: StateMachineContract;
  /** Other versions of it that are loaded (T12). */
  readonly earlier?: readonly StateMachineContract[];
  /** Hears of every command whose handler failed. */
  readonly onFailure?: OnFailure;
}

const QUERY_CONNECTIONS = 3;
const NO_COMMANDS: StateMachineContract = { name: '', commands: {}, queries: {} };
/** How long one statement of a migration may take (milliseconds). */
const SWITCH_MS_MAX = 3_600_000;
/** Failed tries after which the session is given up. */
const RENEW_EVERY = 3;
/**
 * Between two looks for a database that is away: doubles from the first to the second
 * (milliseconds).
 */
const LOOK_MS = 25;
const LOOK_MS_MAX = 5_000;

/** Shown in pg_stat_activity. */
function applierName(server: string): string {
  return `craft applier ${server}`;
}

export class PostgresEngine implements StorageEngine {
  private readonly connection: Connection;
  private readonly pool: QueryPool;
  private readonly versions: MachineVersions;
  private readonly known = new KnownState();
  private readonly kvSender = new KvSender();
  private readonly pruner: Pruner;
  private readonly windowUs: number;
  private epoch = 0;
  /** Tries of `apply` that failed since the last one that did not. */
  private failedTries = 0;
  /** The one that is being taken; `taken` is undefined before its transaction has begun. */
  private snapshotUnderWay: { taken: PostgresSnapshot | undefined } | undefined;
  private checkUnderWay: RowsChecker | undefined;
  /** What the database says, and the engine's callers may know. */
  private divergedFor: string | undefined;
  /** The state's schemas, as SQL has them. */
  private path = 'public';
  /** The table kv of the built-in machine, qualified. */
  private kvTable = 'kv';
  /** What was missing when it was opened. */
  private damage: DamagedError | undefined;

  constructor(private readonly options: PostgresEngineOptions) {
    const { databaseUrl: url, server } = options;
    this.versions = new MachineVersions(options.machine, options.earlier);
    this.windowUs = options.resultWindowMs * 1_000;
    this.connection = new Connection({ url, name: applierName(server) });
    this.pool = new QueryPool(url, `craft queries ${server}`, QUERY_CONNECTIONS);
    this.pruner = new Pruner(this.pool);
  }

  get divergence(): string | undefined {
    return this.divergedFor;
  }

  get machine(): MachineVersion {
    return { name: this.versions.name, version: this.known.version };
  }

  /** Not while a batch is being applied. */
  async open(): Promise<EnginePosition> {
    // It may look at a database that is none of this server's any more.
    await this.checkUnderWay?.end();
    // So may what is being removed.
    await this.pruner.end();
    const { databaseUrl, server, cluster = '' } = this.options;
    const prepared = await prepareDatabase({ databaseUrl, server, cluster }, this.versions);
    this.path = prepared.path;
    this.kvTable = prepared.kvTable;
    this.damage = prepared.damage;
    const [rows = []] = await this.connection.together(BEGIN_PLAIN, [TAKE_FENCE, [server]]);
    const found = readPosition(rows);
    this.epoch = found.epoch;
    this.divergedFor = found.divergence;
    this.known.dropAttempt();
    const position = this.known.moveTo(found);
    this.known.forgetContents();
    if (this.damage === undefined) await this.loadResults(position);
    return position;
  }

  /** The services' own commands need no machine. @throws VersionMissingError for any other. */
  private withoutVersion({ commands }: EngineBatch): StateMachineContract {
    const needsNone = commands.every(({ name }) => name.startsWith(RESERVED_PREFIX));
    return needsNone ? NO_COMMANDS : this.versions.contractOf(this.known.version);
  }

  async apply(batch: EngineBatch, onCall?: OnDatabaseCall): Promise<AppliedBatch> {
    this.connection.onCall = onCall;
    try {
      return await this.applyBatch(batch);
    } finally {
      this.connection.onCall = undefined;
    }
  }

  private async applyBatch(batch: EngineBatch): Promise<AppliedBatch> {
    const before = this.known.position;
    if (before === undefined) throw new Error('the engine is not open');
    const first = batch.commands[0];
    if (first === undefined) return { applied: [], checkpoints: [], resultsChecksum: before.resultsChecksum };
    if (this.damage !== undefined) throw await this.explain(this.damage);
    const repeated = await this.settleUncertain(batch);
    if (repeated !== undefined) return repeated;
    const from = this.known.position ?? before;
    if (first.mergedIndex !== from.mergedIndex + 1) {
      // What was applied may have been forgotten in a crash: the caller knows more than this engine
      // then.
      const found = await this.findPosition();
      if (first.mergedIndex !== found.mergedIndex + 1) {
        const message = `the state is at merged index ${found.mergedIndex}, given ${first.mergedIndex}`;
        throw new PositionError(message, found);
      }
      return this.applyBatch(batch);
    }
    try {
      const results = this.known.results ?? (await this.loadResults(from));
      const settled = await (this.versions.isBuiltIn
        ? this.applyKv(batch, from, results)
        : first.name === MACHINE_COMMAND
          ? this.applySwitch(batch, first, from, results)
          : this.applyHandlers(batch, from, results));
      this.known.confirm();
      this.failedTries = 0;
      results.stored();
      if (this.known.position !== undefined) this.pruner.prune(results, this.known.position, this.epoch);
      return settled;
    } catch (error) {
      this.maybeRenew(error);
      throw await this.explain(error);
    }
  }

  heldBy(): Promise<{ pid: number; what: string } | undefined> {
    return this.pool.use((connection) => heldBy(connection, applierName(this.options.server)));
  }

  async query(
    name: string,
    given: unknown,
    atLeast: readonly LogIndex[] = [],
    onCall?: OnDatabaseCall,
  ): Promise<unknown> {
    const contract = this.versions.find(this.known.version);
    if (contract === undefined) {
      throw new CraftError('UNAVAILABLE', new VersionMissingError(this.versions.name, this.known.version).message);
    }
    const input = validateQuery(contract, name, given);
    const machine = this.versions.isBuiltIn ? undefined : (contract as Machine);
    const require = (rows: Rows) => this.require(readPosition(rows), atLeast);
    try {
      return await this.pool.use(async (connection) => {
        if (machine !== undefined) return queryMachine(connection, machine, name, input, this.path, require);
        // One session runs both, in this order: what the second sees is at least what the first
        // found.
        const statements = [[READ_POSITION, []], kvStatement(this.kvTable, name, input)] as const;
        const [found = [], rows = []] = await this.kvSender.read(connection, ...statements);
        require(found);
        return kvAnswer(name, rows);
      }, onCall);
    } catch (error) {
      const explained = await this.explain(error);
      if (machine === undefined || isAboutState(explained)) throw explained;
      throw queryFailure(explained);
    }
  }

  async locate(atLeast: readonly LogIndex[]): Promise<EnginePosition> {
    try {
      return await this.pool.use(async (connection) => {
        const [found] = await Promise.all([connection.run(READ_POSITION, []), requireTables(connection)]);
        const position = readPosition(found);
        this.require(position, atLeast);
        return plainPosition(position);
      });
    } catch (error) {
      throw await this.explain(error);
    }
  }

  async outcomes(from: MergedIndex, to: MergedIndex): Promise<KeptOutcomes> {
    try {
      return await this.pool.use((connection) => readOutcomes(connection, from, to));
    } catch (error) {
      throw await this.explain(error);
    }
  }

  async markDiverged(reason: string): Promise<void> {
    if (this.known.position === undefined) throw new Error('the engine is not open');
    // What text in Postgres cannot hold.
    const text = Buffer.from(reason.replaceAll('\0', '')).toString();
    try {
      await this.pool.use(async (connection) => {
        const [rows] = await connection.together(BEGIN_PLAIN, [MARK_DIVERGED, [String(this.epoch), text]]);
        if (rows?.[0]?.[1] === true) return;
        const found = readPosition(await connection.run(READ_POSITION, []));
        explainPosition(found, this.epoch, found.mergedIndex);
      });
    } catch (error) {
      throw await this.explain(error);
    }
    this.divergedFor = text;
  }

  async checkRows(): Promise<RowsCheck> {
    if (this.known.position === undefined) throw new Error('the engine is not open');
    if (this.checkUnderWay !== undefined) throw new Error('the rows of this engine are being checked already');
    const { databaseUrl, server } = this.options;
    const checker = new RowsChecker(databaseUrl, `craft check ${server}`, this.pool, () => {
      if (this.checkUnderWay === checker) this.checkUnderWay = undefined;
    });
    this.checkUnderWay = checker;
    try {
      return await checker.begin(this.versions.scope, (found) => requireOwn(found, this.epoch));
    } catch (error) {
      throw await this.explain(error);
    }
  }

  async snapshot(): Promise<EngineSnapshot> {
    if (this.known.position === undefined) throw new Error('the engine is not open');
    if (this.snapshotUnderWay !== undefined) throw new Error('a snapshot of this engine is being taken already');
    const { databaseUrl, server } = this.options;
    const current: { taken: PostgresSnapshot | undefined } = { taken: undefined };
    this.snapshotUnderWay = current;
    const onFreed = () => {
      if (this.snapshotUnderWay === current) this.snapshotUnderWay = undefined;
    };
    try {
      current.taken = await PostgresSnapshot.take(
        databaseUrl,
        `craft snapshot ${server}`,
        this.pool,
        this.versions.scope,
        (found) => requireOwn(found, this.epoch),
        onFreed,
      );
      return current.taken;
    } catch (error) {
      onFreed();
      throw await this.explain(error);
    }
  }

  async verify(snapshot: EngineSnapshot): Promise<void> {
    try {
      this.requireMachine(snapshot);
      const version = versionAt(snapshot.position);
      const expected = await (version === this.known.version
        ? this.currentFormat()
        : formatOf(this.restoring(version)));
      const { format, position, data } = snapshot;
      if (format !== expected) throw wrongFormat(format, expected);
      for await (const _ of framesOf(format, position, data));
    } finally {
      await abandon(snapshot);
    }
  }

  private currentFormat(): Promise<string> {
    const begin = `begin isolation level repeatable read read only; ${NO_TIMEOUTS}; ${PLAIN_SETTINGS}`;
    return this.pool.use((connection) =>
      connection.transaction(
        begin,
        async (transaction) => (await readCatalog(transaction, this.versions.scope)).format,
      ),
    );
  }

  /** @throws SnapshotFormatError, VersionMissingError */
  private requireMachine({ machine, position }: EngineSnapshot): void {
    const { name } = this.versions;
    if (machine !== undefined && machine !== name) {
      throw new SnapshotFormatError(
        `the snapshot is of the state machine ${JSON.stringify(machine)}, this is ${JSON.stringify(name)}`,
      );
    }
    this.versions.contractOf(versionAt(position));
  }

  private restoring(version: number): RestoreSession {
    const { databaseUrl: url, server } = this.options;
    const { scope } = this.versions;
    return {
      url,
      name: `craft restore ${server}`,
      scope,
      epoch: this.epoch,
      sources: this.versions.sourcesOf(version),
    };
  }

  /** Not while a batch is being applied. */
  async restore(snapshot: EngineSnapshot, as?: (before: EnginePosition) => EnginePosition): Promise<EnginePosition> {
    if (this.known.position === undefined) throw new Error('the engine is not open');
    // What counts as expired here may count in the state to come.
    await this.pruner.end();
    // It would hold up the beginning, and look at what goes.
    await this.checkUnderWay?.end();
    // Whatever becomes of it: a commit may have happened that nobody has confirmed.
    this.known.forgetContents();
    const version = versionAt(snapshot.position);
    let restored = as === undefined ? snapshot.position : undefined;
    const counted = (before: EnginePosition) => {
      restored ??= { ...(as?.(before) ?? snapshot.position), ...versionField(version) };
      return restored;
    };
    try {
      this.requireMachine(snapshot);
      await restoreSnapshot(this.restoring(version), snapshot, counted);
    } catch (error) {
      const isDone = error instanceof ConnectionLostError && restored !== undefined && (await this.isAt(restored));
      if (!isDone) throw await this.explain(error);
    } finally {
      await abandon(snapshot);
    }
    this.known.dropAttempt();
    this.divergedFor = undefined;
    this.damage = undefined;
    return this.known.moveTo(restored ?? snapshot.position);
  }

  /**
   * Whether the commit that nobody answered has happened: its lock is waited for. A database that
   * stays away counts as no; if the state has moved all the same, the next batch finds that out.
   */
  private async isAt(expected: EnginePosition): Promise<boolean> {
    for (let delayMs = LOOK_MS; delayMs < LOOK_MS_MAX; delayMs *= 2) {
      try {
        const found = readPosition(
          await this.connection.transaction(BEGIN_PLAIN, (transaction) => transaction.run(LOCK_POSITION, [])),
        );
        return found.epoch === this.epoch && isSamePlace(found, expected);
      } catch (error) {
        if (!(error instanceof ConnectionLostError)) return false;
        await delay(delayMs);
      }
    }
    return false;
  }

  /** A database that has gone back is applied to from where it is now. */
  private require(found: FencedPosition, atLeast: readonly LogIndex[]): void {
    requireOwn(found, this.epoch);
    try {
      requirePositions(found, atLeast);
    } catch (error) {
      this.known.moveTo(found);
      throw error;
    }
  }

  async close(): Promise<void> {
    this.known.close();
    await Promise.all([this.snapshotUnderWay?.taken?.free(), this.checkUnderWay?.end()]);
    await Promise.all([this.connection.close(), this.pool.close()]);
  }

  private async applyHandlers(batch: EngineBatch, before: EnginePosition, results: ResultStore): Promise<SettledBatch> {
    const machine = (this.versions.find(this.known.version) ?? this.withoutVersion(batch)) as Machine;
    const run = executeWith(machine, this.options.onFailure ?? (() => undefined));
    const session = this.handlerSession(this.connection, before, results);
    return applyHandlerBatch(batch, {
      ...session,
      run,
      onSettled: (settled) => this.known.attempt(batch, settled).after,
    });
  }

  /** On a session of its own: a migration may leave settings behind, and may take long. */
  private async applySwitch(
    batch: EngineBatch,
    command: MergedCommand,
    before: EnginePosition,
    results: ResultStore,
  ): Promise<SettledBatch> {
    const { databaseUrl: url, server } = this.options;
    const connection = new Connection({ url, name: `craft switch ${server}`, stuckMsMax: SWITCH_MS_MAX });
    let result: SwitchResult | undefined;
    const run: Execute = async (transaction, [fresh]) => {
      if (fresh === undefined) return [];
      result = await switchMachine(transaction, fresh, this.machine, this.versions.machines);
      return [result.outcome];
    };
    const withVersion = (settled: SettledBatch): SettledBatch =>
      result?.version === undefined ? settled : { ...settled, version: result.version };
    const onSettled = (settled: SettledBatch) => this.known.attempt(batch, withVersion(settled)).after;
    try {
      const session = this.handlerSession(connection, before, results);
      const settled = withVersion(await applyHandlerBatch(batch, { ...session, run, onSettled }));
      if (settled.version === undefined && result?.error !== undefined) this.options.onFailure?.(command, result.error);
      return settled;
    } finally {
      await connection.close();
    }
  }

  private handlerSession(
    connection: Connection,
    before: EnginePosition,
    results: ResultStore,
  ): Omit<HandlerSession, 'run' | 'onSettled'> {
    const { epoch, windowUs, path } = this;
    return { connection, epoch, before, windowUs, path, results };
  }

  private async applyKv(batch: EngineBatch, before: EnginePosition, results: ResultStore): Promise<SettledBatch> {
    const session: KvSession = {
      table: this.kvTable,
      recent: this.known.recent,
      results,
      send: (...statements) => this.kvSender.send(this.connection, ...statements),
    };
    const plan = await planKvBatch(batch, before, this.windowUs, session);
    const { after, settled } = this.known.attempt(batch, plan.settled);
    if (!(await writeKvBatch(plan, this.epoch, before, after, session))) {
      const found = await this.readPosition();
      this.known.dropAttempt();
      // The try before this one was still under way in the server when it seemed to have failed,
      // and has committed since.
      const isDone = found.epoch === this.epoch && isSamePlace(found, after);
      if (!isDone) explainPosition(found, this.epoch, before.mergedIndex);
      this.known.moveTo(found);
      return settled;
    }
    rememberVersions(plan, session.recent);
    return settled;
  }

  /**
   * The answer of the batch when the try before, whose outcome is unknown, turns out to have been
   * committed.
   */
  private async settleUncertain({ commands, checksum }: EngineBatch): Promise<AppliedBatch | undefined> {
    const attempt = this.known.uncertain;
    if (attempt === undefined) return undefined;
    const found = await this.findPosition();
    this.known.dropAttempt();
    const last = commands[commands.length - 1];
    const isSame = attempt.after.mergedIndex === last?.mergedIndex && attempt.after.checksum === checksum;
    const isThere = found.mergedIndex === attempt.after.mergedIndex && found.checksum === attempt.after.checksum;
    return isSame && isThere ? attempt.settled : undefined;
  }

  /** The stored position, which is this engine's from now on. @throws FencedError, ReplacedError */
  private async findPosition(): Promise<EnginePosition> {
    const found = await this.readPosition().catch(async (error: unknown) => {
      throw await this.explain(error);
    });
    if (found.epoch !== this.epoch) explainPosition(found, this.epoch, found.mergedIndex);
    return this.known.moveTo(found);
  }

  private async readPosition(): Promise<FencedPosition> {
    return readPosition(await this.connection.run(READ_POSITION, []));
  }

  /** Those of the state at `position`; kept only if the state is there when they are read. */
  private async loadResults(position: EnginePosition): Promise<ResultStore> {
    const send = (...statements: readonly Statement[]) => this.connection.together(BEGIN_PLAIN, ...statements);
    const results = await ResultStore.load(send, position.timestamp, this.windowUs, this.options.idsMax);
    this.known.loaded(results, position);
    return results;
  }

  /**
   * A session that may only read, or fails again and again, is of no use: another one may meet
   * other settings, or another server.
   */
  private maybeRenew(error: unknown): void {
    this.failedTries += 1;
    if (!isReadOnly(error) && this.failedTries % RENEW_EVERY !== 0) return;
    this.connection.renew();
  }

  /**
   * What an error means: a table that is not there may be gone with the whole database, or by
   * itself.
   */
  private async explain(error: unknown): Promise<unknown> {
    if (error instanceof PositionError) this.known.moveTo(error.position);
    if (!(error instanceof DamagedError) && (isAboutState(error) || !isMissingTable(error))) return error;
    try {
      await this.pool.use(async (connection) => {
        const found = readPosition(await connection.run(READ_POSITION, []));
        requireOwn(found, this.epoch);
        await requireTables(connection);
      });
      return error;
    } catch (reason) {
      if (isMissingTable(reason)) {
        return new ReplacedError("the engine's tables are gone: the database was emptied or replaced");
      }
      return isAboutState(reason) ? reason : error;
    }
  }
}

/** Whether an error says what the state is, and not what became of a try. */
function isAboutState(error: unknown): boolean {
  return (
    error instanceof FencedError ||
    error instanceof ReplacedError ||
    error instanceof DamagedError ||
    error instanceof PositionError
  );
}
