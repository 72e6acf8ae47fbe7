/**
 * The Postgres engine: the state of one server in one database, moved on a batch at a time, exactly once (T8).
 *
 * The position lies in the same database and moves in the same transaction as the rows, guarded by an epoch that every
 * engine raises when it opens: of two that are open only the last one can write. Commits are asynchronous
 * (synchronous_commit = off): what Postgres forgets in a crash, position and rows alike, is applied again from the merged log.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { OtherClusterError } from '../../../shared/config/other-cluster.js';
import { asHandler } from '../../../shared/engine/handler-context.js';
import { kvContract } from '../../../shared/engine/kv/contract.js';
import type { MigrationSource } from '../../../shared/engine/migrations.js';
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
  OtherMachineError,
  PositionError,
  positionsAfter,
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
import {
  type MachineVersion,
  rejectOf,
  type StateMachineContract,
  versionOf,
} from '../../../shared/engine/state-machine.js';
import { FIRST_VERSION } from '../../../shared/engine/switch.js';
import type { Index } from '../../../shared/raft/entry.js';
import { CraftError } from '../../../shared/wire/errors.js';
import { MACHINE_COMMAND } from '../../../shared/wire/machine.js';
import { RESERVED_PREFIX } from '../../../shared/wire/restore.js';
import { readCatalog, type Scope } from './catalog.js';
import { Connection, ConnectionLostError, type Rows, type Statement } from './connection.js';
import { requireDeterminism } from './determinism.js';
import { drizzleOf } from './drizzle.js';
import {
  applyHandlerBatch,
  type Execute,
  executeWith,
  type HandlerSession,
  type Machine,
  type OnFailure,
} from './handler-batch.js';
import { type KvSession, planKvBatch, rememberVersions, writeKvBatch } from './kv-batch.js';
import { kvAnswer, kvStatement } from './kv-query.js';
import { ENGINE_MIGRATIONS, MACHINE_MIGRATIONS, migrate, migrationsFolder } from './migrate.js';
import {
  explainPosition,
  type FencedPosition,
  KEEP_OWNERS,
  LOCK_POSITION,
  MARK_DIVERGED,
  plainPosition,
  READ_POSITION,
  readPosition,
  requireOwn,
  SHARE_STATE,
  TAKE_FENCE,
} from './position.js';
import { QueryPool } from './query-pool.js';
import { RecentVersions } from './recent-versions.js';
import { formatOf, type RestoreSession, restoreSnapshot } from './restore.js';
import { allOfResultBatches, LIST_OUTCOMES } from './result-batches.js';
import { ResultStore } from './result-store.js';
import { LIST_OWN_OUTCOMES, readResults } from './results.js';
import { RowsChecker } from './rows-check.js';
import { recordNewSequences } from './sequences.js';
import {
  inSchemas,
  KEEP_SCHEMAS,
  NO_TIMEOUTS,
  NO_TRANSACTION_TIMEOUT,
  PLAIN_FORMS,
  PLAIN_SETTINGS,
  PRESET_SCHEMAS,
} from './settings.js';
import { PostgresSnapshot } from './snapshot.js';
import {
  describeFailure,
  describeRejection,
  isDeterministic,
  isEnvironment,
  isMissingTable,
  isReadOnly,
  mayBeTimeout,
} from './sqlstate.js';
import { ensurePosition, kvTableOf, listTablesOnce, requireTables } from './state-tables.js';
import { type SwitchResult, switchMachine } from './switch.js';
import type { Transaction } from './transaction.js';
import { sourceOf } from './version.js';

/** Outcomes of one batch that are looked through for those that are asked for. */
const OUTCOMES_BYTES_MAX = 4 * 1024 * 1024;

export interface PostgresEngineOptions {
  /** A pooler in transaction mode is fine, with `?prepare=false` where it knows no prepared statements. */
  readonly databaseUrl: string;
  readonly server: string;
  /** The name of the cluster: a state of another one is refused. Without it, none is. */
  readonly cluster?: string;
  /** How long results are kept for duplicates, in entry time (milliseconds). */
  readonly resultWindowMs: number;
  /** How many ids of the window are remembered, unless the default; outcomes of further ones cost more (result-store.ts). */
  readonly idsMax?: number;
  /** The built-in machine's contract, or a user's machine with handlers: its newest version. */
  readonly machine?: StateMachineContract;
  /** Other versions of it that are loaded (T12). */
  readonly earlier?: readonly StateMachineContract[];
  /** Hears of every command whose handler failed. */
  readonly onFailure?: OnFailure;
}

/** Excludes others that open the same database. */
const BEGIN_MIGRATING = `begin isolation level read committed; ${NO_TIMEOUTS}; lock table craft.${ENGINE_MIGRATIONS} in exclusive mode`;
/** Of what waits for a batch, and of what is read from more than one table at once. */
const BEGIN_PLAIN = `begin isolation level read committed; ${NO_TIMEOUTS}; ${NO_TRANSACTION_TIMEOUT}`;
const QUERY_CONNECTIONS = 3;
const NO_COMMANDS: StateMachineContract = { name: '', commands: {}, queries: {} };
/** Who holds the lock that the session of this name waits for. */
const HELD_BY = `select holder.pid, holder.application_name, holder.usename, holder.state, left(holder.query, 100)
  from pg_stat_activity waiting
  cross join lateral unnest(pg_blocking_pids(waiting.pid)) as blocking(pid)
  join pg_stat_activity holder on holder.pid = blocking.pid
  where waiting.application_name = $1 and waiting.datname = current_database() limit 1`;
/** How long one statement of a migration may take (milliseconds). */
const SWITCH_MS_MAX = 3_600_000;
/** How often after a time-out, before another one is risked. */
const SENDS_WITHOUT_TIMEOUTS = 10_000;
/** Failed tries after which the session is given up. */
const RENEW_EVERY = 3;
/** Between two looks for a database that is away: doubles from the first to the second (milliseconds). */
const LOOK_MS = 25;
const LOOK_MS_MAX = 5_000;

/** What a batch came to and where it led: kept until it is known to be committed. */
interface Attempt {
  readonly after: EnginePosition;
  readonly settled: SettledBatch;
}

/** Shown in pg_stat_activity. */
function applierName(server: string): string {
  return `craft applier ${server}`;
}

export class PostgresEngine implements StorageEngine {
  private readonly connection: Connection;
  private readonly pool: QueryPool;
  /** By their versions. */
  private readonly contracts: ReadonlyMap<number, StateMachineContract>;
  private readonly isBuiltIn: boolean;
  private readonly windowUs: number;
  private epoch = 0;
  private position: EnginePosition | undefined;
  /** Of the state at `position`. Replaced, not emptied: a batch that began before adds to one that nobody looks at any more. */
  private recent = new RecentVersions();
  /** Of the state at `position`, or of one that was behind it in the same log. Undefined when it has to be loaded. */
  private results: ResultStore | undefined;
  /** The last one written whose commit nobody confirmed. */
  private uncertain: Attempt | undefined;
  /** Tries of `apply` that failed since the last one that did not. */
  private failedTries = 0;
  /** The removal of expired results under way. */
  private pruning: Promise<void> = Promise.resolve();
  private isPruning = false;
  /** The one that is being taken; `taken` is undefined before its transaction has begun. */
  private snapshotUnderWay: { taken: PostgresSnapshot | undefined } | undefined;
  private checkUnderWay: RowsChecker | undefined;
  /** What the database says, and the engine's callers may know. */
  private divergedFor: string | undefined;
  private inForce: MachineVersion;
  /** The state's schemas, as SQL has them. */
  private path = 'public';
  /** The table kv of the built-in machine, qualified. */
  private kvTable = 'kv';
  /** How many more times the built-in machine's statements are sent without time-outs. */
  private sendsWithoutTimeouts = 0;
  /** What was missing when it was opened. */
  private damage: DamagedError | undefined;

  constructor(private readonly options: PostgresEngineOptions) {
    const { databaseUrl: url, server, machine = kvContract, earlier = [] } = options;
    this.contracts = new Map([...earlier, machine].map((one) => [versionOf(one).version, one]));
    this.isBuiltIn = machine === kvContract;
    this.inForce = { name: machine.name, version: FIRST_VERSION };
    this.windowUs = options.resultWindowMs * 1_000;
    this.connection = new Connection({ url, name: applierName(server) });
    this.pool = new QueryPool(url, `craft queries ${server}`, QUERY_CONNECTIONS);
  }

  get divergence(): string | undefined {
    return this.divergedFor;
  }

  get machine(): MachineVersion {
    return this.inForce;
  }

  /** Not while a batch is being applied. */
  async open(): Promise<EnginePosition> {
    // It may look at a database that is none of this server's any more.
    await this.checkUnderWay?.end();
    // So may what is being removed.
    await this.pruning;
    await this.migrate();
    const [rows = []] = await this.connection.together(BEGIN_PLAIN, [TAKE_FENCE, [this.options.server]]);
    const found = readPosition(rows);
    this.epoch = found.epoch;
    this.divergedFor = found.divergence;
    this.uncertain = undefined;
    const position = this.moveTo(found);
    this.results = undefined;
    if (this.damage === undefined) await this.loadResults(position);
    return position;
  }

  /** The services' own commands need no machine. @throws VersionMissingError for any other. */
  private withoutVersion({ commands }: EngineBatch): StateMachineContract {
    const needsNone = commands.every(({ name }) => name.startsWith(RESERVED_PREFIX));
    return needsNone ? NO_COMMANDS : this.contractOf(this.inForce.version);
  }

  /** On a session of its own: a migration may leave settings behind. */
  private async migrate(): Promise<void> {
    const { databaseUrl: url, server } = this.options;
    const connection = new Connection({ url, name: `craft migrations ${server}` });
    const engine = { folder: migrationsFolder() };
    try {
      await migrate(connection, engine, ENGINE_MIGRATIONS);
      await connection.transaction(
        `${BEGIN_MIGRATING}; ${NO_TRANSACTION_TIMEOUT}; ${PLAIN_FORMS}; ${PRESET_SCHEMAS}`,
        async (transaction) => {
          await ensurePosition(transaction, this.scope, [engine]);
          await this.keepOwners(transaction);
        },
      );
      const [, own] = this.sourcesOf(this.inForce.version);
      if (own !== undefined) await migrate(connection, own, MACHINE_MIGRATIONS);
      await connection.transaction(`${BEGIN_MIGRATING}; ${PLAIN_SETTINGS}`, async (transaction) => {
        const [kept] = await transaction.run(KEEP_SCHEMAS, []);
        this.path = String(kept?.[0] ?? this.path);
        await listTablesOnce(transaction, this.scope);
        this.kvTable = await kvTableOf(transaction);
        if (this.scope === 'built-in') return;
        await requireDeterminism(transaction);
        await recordNewSequences(transaction);
      });
      this.damage = await requireTables(connection).then(
        () => undefined,
        (error: unknown) => {
          if (error instanceof DamagedError) return error;
          throw error;
        },
      );
    } finally {
      await connection.close();
    }
  }

  /** @throws OtherClusterError, OtherMachineError; before any migration of the machine has run, and before the fence is taken. */
  private async keepOwners(transaction: Transaction): Promise<void> {
    const { name } = this.inForce;
    const { cluster: given = '' } = this.options;
    const { machine, cluster } = readPosition(await transaction.run(KEEP_OWNERS, [name, given]));
    if (given !== '' && cluster !== undefined && cluster !== given) {
      const wayOut = `give another database, or make it this cluster's: update craft.position set cluster = '${given}'`;
      throw new OtherClusterError('the database', cluster, given, wayOut);
    }
    if (machine?.name !== name) throw new OtherMachineError(machine?.name ?? '', name);
    this.inForce = machine;
  }

  /** Where the migrations are: the engine's, and those of a version of the machine if it is loaded and has some. */
  private sourcesOf(version: number): readonly [MigrationSource, ...MigrationSource[]] {
    const machine = this.isBuiltIn ? undefined : (this.contracts.get(version) as Machine | undefined);
    const own = machine === undefined ? undefined : sourceOf(machine);
    const engine = { folder: migrationsFolder() };
    return own === undefined ? [engine] : [engine, own];
  }

  /** @throws VersionMissingError */
  private contractOf(version: number): StateMachineContract {
    const contract = this.contracts.get(version);
    if (contract === undefined) throw new VersionMissingError(this.inForce.name, version);
    return contract;
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
    const before = this.position;
    if (before === undefined) throw new Error('the engine is not open');
    const first = batch.commands[0];
    if (first === undefined) return { applied: [], checkpoints: [], resultsChecksum: before.resultsChecksum };
    if (this.damage !== undefined) throw await this.explain(this.damage);
    const repeated = await this.settleUncertain(batch);
    if (repeated !== undefined) return repeated;
    const from = this.position ?? before;
    if (first.mergedIndex !== from.mergedIndex + 1) {
      // What was applied may have been forgotten in a crash: the caller knows more than this engine then.
      const found = await this.findPosition();
      if (first.mergedIndex !== found.mergedIndex + 1) {
        const message = `the state is at merged index ${found.mergedIndex}, given ${first.mergedIndex}`;
        throw new PositionError(message, found);
      }
      return this.applyBatch(batch);
    }
    try {
      const results = this.results ?? (await this.loadResults(from));
      const settled = await (this.isBuiltIn
        ? this.applyKv(batch, from, results)
        : first.name === MACHINE_COMMAND
          ? this.applySwitch(batch, first, from, results)
          : this.applyHandlers(batch, from, results));
      if (this.uncertain !== undefined) this.position = this.uncertain.after;
      this.uncertain = undefined;
      this.failedTries = 0;
      results.stored();
      this.maybePrune(results);
      return settled;
    } catch (error) {
      this.maybeRenew(error);
      throw await this.explain(error);
    }
  }

  async heldBy(): Promise<{ pid: number; what: string } | undefined> {
    const rows = await this.pool.use((connection) => connection.run(HELD_BY, [applierName(this.options.server)]));
    const [row] = rows;
    if (row === undefined) return undefined;
    const [pid, application, user, state, query] = row.map((value) => String(value ?? ''));
    const by = application === '' ? '' : ` (${application})`;
    return { pid: Number(pid), what: `process ${pid} of ${user}${by}, ${state}: ${query}` };
  }

  async query(name: string, given: unknown, atLeast: readonly Index[] = [], onCall?: OnDatabaseCall): Promise<unknown> {
    const contract = this.contracts.get(this.inForce.version);
    if (contract === undefined) {
      throw new CraftError('UNAVAILABLE', new VersionMissingError(this.inForce.name, this.inForce.version).message);
    }
    const input = validateQuery(contract, name, given);
    const machine = this.isBuiltIn ? undefined : (contract as Machine);
    const require = (rows: Rows) => this.require(readPosition(rows), atLeast);
    try {
      return await this.pool.use(async (connection) => {
        if (machine !== undefined) return queryMachine(connection, machine, name, input, this.path, require);
        // One session runs both, in this order: what the second sees is at least what the first found.
        const statements = [[READ_POSITION, []], kvStatement(this.kvTable, name, input)] as const;
        const [found = [], rows = []] = await this.sendKv(connection, ...statements).catch((error: unknown) => {
          if (!mayBeTimeout(error)) throw error;
          return this.sendKv(connection, ...statements);
        });
        require(found);
        return kvAnswer(name, rows);
      }, onCall);
    } catch (error) {
      const explained = await this.explain(error);
      if (machine === undefined || isAboutState(explained)) throw explained;
      throw answerOf(explained);
    }
  }

  async locate(atLeast: readonly Index[]): Promise<EnginePosition> {
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

  async outcomes(from: Index, to: Index): Promise<KeptOutcomes> {
    try {
      return await this.pool.use(async (connection) => {
        // In this order: what is found is at least what the position has.
        const position = readPosition(await connection.run(READ_POSITION, []));
        const limit = String(to - from + 2);
        const range = [String(from), String(to)];
        const inBatches = await connection.run(LIST_OUTCOMES, [...range, limit, String(OUTCOMES_BYTES_MAX)]);
        const inOwnRows = await connection.run(LIST_OWN_OUTCOMES, range);
        const all = [...allOfResultBatches(inBatches), ...readResults(inOwnRows).values()];
        const outcomes = all.filter(({ mergedIndex }) => mergedIndex >= from && mergedIndex <= to);
        return { appliedIndex: position.mergedIndex, outcomes };
      });
    } catch (error) {
      throw await this.explain(error);
    }
  }

  async markDiverged(reason: string): Promise<void> {
    if (this.position === undefined) throw new Error('the engine is not open');
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
    if (this.position === undefined) throw new Error('the engine is not open');
    if (this.checkUnderWay !== undefined) throw new Error('the rows of this engine are being checked already');
    const { databaseUrl, server } = this.options;
    const checker = new RowsChecker(databaseUrl, `craft check ${server}`, this.pool, () => {
      if (this.checkUnderWay === checker) this.checkUnderWay = undefined;
    });
    this.checkUnderWay = checker;
    try {
      return await checker.begin(this.scope, (found) => requireOwn(found, this.epoch));
    } catch (error) {
      throw await this.explain(error);
    }
  }

  async snapshot(): Promise<EngineSnapshot> {
    if (this.position === undefined) throw new Error('the engine is not open');
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
        this.scope,
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
      const expected = await (version === this.inForce.version
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
      connection.transaction(begin, async (transaction) => (await readCatalog(transaction, this.scope)).format),
    );
  }

  /** @throws SnapshotFormatError, VersionMissingError */
  private requireMachine({ machine, position }: EngineSnapshot): void {
    const { name } = this.inForce;
    if (machine !== undefined && machine !== name) {
      throw new SnapshotFormatError(
        `the snapshot is of the state machine ${JSON.stringify(machine)}, this is ${JSON.stringify(name)}`,
      );
    }
    this.contractOf(versionAt(position));
  }

  private restoring(version: number): RestoreSession {
    const { databaseUrl: url, server } = this.options;
    const { scope, epoch } = this;
    return { url, name: `craft restore ${server}`, scope, epoch, sources: this.sourcesOf(version) };
  }

  /** Not while a batch is being applied. */
  async restore(snapshot: EngineSnapshot, as?: (before: EnginePosition) => EnginePosition): Promise<EnginePosition> {
    if (this.position === undefined) throw new Error('the engine is not open');
    // What counts as expired here may count in the state to come.
    await this.pruning;
    // It would hold up the beginning, and look at what goes.
    await this.checkUnderWay?.end();
    // Whatever becomes of it: a commit may have happened that nobody has confirmed.
    this.recent = new RecentVersions();
    this.results = undefined;
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
    this.uncertain = undefined;
    this.divergedFor = undefined;
    this.damage = undefined;
    return this.moveTo(restored ?? snapshot.position);
  }

  /**
   * Whether the commit that nobody answered has happened: its lock is waited for. A database that stays away counts as no; if the
   * state has moved all the same, the next batch finds that out.
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

  private get scope(): Scope {
    return this.isBuiltIn ? 'built-in' : 'search-path';
  }

  /** A database that has gone back is applied to from where it is now. */
  private require(found: FencedPosition, atLeast: readonly Index[]): void {
    requireOwn(found, this.epoch);
    try {
      requirePositions(found, atLeast);
    } catch (error) {
      this.moveTo(found);
      throw error;
    }
  }

  async close(): Promise<void> {
    this.position = undefined;
    await Promise.all([this.snapshotUnderWay?.taken?.free(), this.checkUnderWay?.end()]);
    await Promise.all([this.connection.close(), this.pool.close()]);
  }

  private async applyHandlers(batch: EngineBatch, before: EnginePosition, results: ResultStore): Promise<SettledBatch> {
    const machine = (this.contracts.get(this.inForce.version) ?? this.withoutVersion(batch)) as Machine;
    const run = executeWith(machine, this.options.onFailure ?? (() => undefined));
    const session = this.handlerSession(this.connection, before, results);
    return applyHandlerBatch(batch, { ...session, run, onSettled: (settled) => this.attempt(batch, settled).after });
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
      result = await switchMachine(transaction, fresh, this.inForce, this.contracts as ReadonlyMap<number, Machine>);
      return [result.outcome];
    };
    const withVersion = (settled: SettledBatch): SettledBatch =>
      result?.version === undefined ? settled : { ...settled, version: result.version };
    const onSettled = (settled: SettledBatch) => this.attempt(batch, withVersion(settled)).after;
    try {
      const session = this.handlerSession(connection, before, results);
      const settled = withVersion(await applyHandlerBatch(batch, { ...session, run, onSettled }));
      if (settled.version !== undefined) this.inForce = { ...this.inForce, version: settled.version };
      else if (result?.error !== undefined) this.options.onFailure?.(command, result.error);
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
      recent: this.recent,
      results,
      send: (...statements) => this.sendKv(this.connection, ...statements),
    };
    const plan = await planKvBatch(batch, before, this.windowUs, session);
    const { after, settled } = this.attempt(batch, plan.settled);
    if (!(await writeKvBatch(plan, this.epoch, before, after, session))) {
      const found = await this.readPosition();
      this.uncertain = undefined;
      // The try before this one was still under way in the server when it seemed to have failed, and has committed since.
      const isDone = found.epoch === this.epoch && isSamePlace(found, after);
      if (!isDone) explainPosition(found, this.epoch, before.mergedIndex);
      this.moveTo(found);
      return settled;
    }
    rememberVersions(plan, session.recent);
    return settled;
  }

  /**
   * Statements of the built-in machine, each of which is right by itself and depends on nothing that is preset but time-outs. They are done
   * without those only for a while after something that may have been one: the messages cost more than the statements.
   */
  private async sendKv(connection: Connection, ...statements: readonly Statement[]): Promise<Rows[]> {
    const isWithout = this.sendsWithoutTimeouts > 0;
    if (isWithout) this.sendsWithoutTimeouts -= 1;
    try {
      return await (isWithout ? connection.together(BEGIN_PLAIN, ...statements) : connection.all(...statements));
    } catch (error) {
      if (mayBeTimeout(error)) this.sendsWithoutTimeouts = SENDS_WITHOUT_TIMEOUTS;
      throw error;
    }
  }

  /** From now on, until the commit is confirmed, the batch may have happened. */
  private attempt({ commands, checksum }: EngineBatch, settled: SettledBatch): Attempt {
    const last = commands[commands.length - 1];
    if (last === undefined) throw new Error('an empty batch');
    const { mergedIndex, timestamp } = last;
    const positions = positionsAfter(this.position?.positions ?? [], commands);
    const { resultsChecksum, version = this.inForce.version } = settled;
    const after = { mergedIndex, checksum, timestamp, resultsChecksum, positions, ...versionField(version) };
    this.uncertain = { after, settled };
    return this.uncertain;
  }

  /** The answer of the batch when the try before, whose outcome is unknown, turns out to have been committed. */
  private async settleUncertain({ commands, checksum }: EngineBatch): Promise<AppliedBatch | undefined> {
    const attempt = this.uncertain;
    if (attempt === undefined) return undefined;
    const found = await this.findPosition();
    this.uncertain = undefined;
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
    return this.moveTo(found);
  }

  private async readPosition(): Promise<FencedPosition> {
    return readPosition(await this.connection.run(READ_POSITION, []));
  }

  /** The state has been found there: also after a try that has failed, whatever became of it. */
  private moveTo(found: EnginePosition): EnginePosition {
    this.recent = new RecentVersions();
    // A state that this engine's batches did not lead to may have results that `results` does not know.
    if (isSamePlace(found, this.uncertain?.after)) this.results?.stored();
    else if (!isSamePlace(found, this.position)) this.results = undefined;
    this.position = plainPosition(found);
    this.inForce = { ...this.inForce, version: versionAt(found) };
    return this.position;
  }

  /** Those of the state at `position`; kept only if the state is there when they are read. */
  private async loadResults(position: EnginePosition): Promise<ResultStore> {
    const send = (...statements: readonly Statement[]) => this.connection.together(BEGIN_PLAIN, ...statements);
    const results = await ResultStore.load(send, position.timestamp, this.windowUs, this.options.idsMax);
    if (this.position === position) this.results = results;
    return results;
  }

  /** A session that may only read, or fails again and again, is of no use: another one may meet other settings, or another server. */
  private maybeRenew(error: unknown): void {
    this.failedTries += 1;
    if (!isReadOnly(error) && this.failedTries % RENEW_EVERY !== 0) return;
    this.connection.renew();
  }

  /** What an error means: a table that is not there may be gone with the whole database, or by itself. */
  private async explain(error: unknown): Promise<unknown> {
    if (error instanceof PositionError) this.moveTo(error.position);
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

  /** Removes expired results in pieces, beside the batches: at least as fast as new ones come. */
  private maybePrune(results: ResultStore): void {
    if (this.isPruning || this.position === undefined) return;
    const { timestamp, mergedIndex } = this.position;
    const due = results.pruning(timestamp, { epoch: this.epoch, mergedIndex });
    if (due === undefined) return;
    this.isPruning = true;
    this.pruning = this.pool
      .use((connection) => connection.together(BEGIN_PLAIN, due.statement))
      .then(([rows]) => due.removed(Number(rows?.[0]?.[1])))
      // It is due again with the next batch.
      .catch(() => undefined)
      .finally(() => {
        this.isPruning = false;
      });
  }
}

function isSamePlace(found: EnginePosition, expected: EnginePosition | undefined): boolean {
  return (
    found.mergedIndex === expected?.mergedIndex &&
    found.checksum === expected.checksum &&
    found.resultsChecksum === expected.resultsChecksum
  );
}

const BEGIN_QUERY = `begin isolation level repeatable read read only; ${NO_TIMEOUTS}; ${SHARE_STATE}; ${NO_TRANSACTION_TIMEOUT}; ${PLAIN_FORMS}`;

/** One state of the tables for all statements of a query, and no way to change them. */
async function queryMachine(
  connection: Connection,
  machine: Machine,
  name: string,
  input: unknown,
  path: string,
  require: (position: Rows) => void,
): Promise<unknown> {
  return connection.transaction(`${BEGIN_QUERY}; ${inSchemas(path)}`, async (transaction) => {
    require(await transaction.run(READ_POSITION, []));
    return asHandler(name, () => machine.queries[name]?.handle(drizzleOf(transaction), input));
  });
}

/** What a query of a user's machine came to that has failed. */
function answerOf(error: unknown): unknown {
  // A query that tries to write has a defect: its transaction may only read.
  if (isEnvironment(error) && !isReadOnly(error)) return error;
  const reject = rejectOf(error);
  if (reject !== undefined) return new CraftError('REJECTED', reject.message, { cause: error });
  // What the data refuses is the input's fault, and no fault of the database.
  if (isDeterministic(error)) return new CraftError('INVALID_ARGUMENT', describeRejection(error), { cause: error });
  return new CraftError('INTERNAL', describeFailure('query', error), { cause: error });
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
