/**
 * The Postgres engine: the state of one server in one database, moved on a batch at a time, exactly
 * once (T8).
 *
 * The position lies in the same database and moves in the same transaction as the rows, guarded by
 * an epoch. Every engine raises it when it opens, so of two that are open only the last one can
 * write. Commits are asynchronous (synchronous_commit = off): what Postgres forgets in a crash,
 * position and rows alike, is applied again from the merged log.
 *
 *     apply            ──▶ batch-writer.ts ──▶ batch-runner.ts  on one connection
 *     query, locate    ──▶ reads.ts                             on a few others
 *     snapshot, check  ──▶ looks.ts                             each on one of its own
 *     restore          ──▶ installer.ts                         on one of its own
 */

import type {
  AppliedBatch,
  EngineBatch,
  EnginePosition,
  EngineSnapshot,
  KeptOutcomes,
  OnDatabaseCall,
  RowsCheck,
  StorageEngine,
} from '../../../shared/engine/port.js';
import type { MachineVersion, StateMachineContract } from '../../../shared/engine/state-machine.js';
import type { LogIndex, MergedIndex } from '../../../shared/raft/entry.js';
import { BatchRunner } from './batch-runner.js';
import { BatchWriter } from './batch-writer.js';
import { Connection } from './connection.js';
import type { OnFailure } from './handler-batch.js';
import { heldBy } from './held-by.js';
import { Installer } from './installer.js';
import { KvSender } from './kv-sender.js';
import { Looks } from './looks.js';
import { MachineVersions } from './machine-versions.js';
import { OwnState } from './own-state.js';
import { readPosition, TAKE_FENCE } from './position.js';
import { prepareDatabase } from './prepare.js';
import { Pruner } from './pruner.js';
import { QueryPool } from './query-pool.js';
import { Reads } from './reads.js';
import { BEGIN_PLAIN } from './settings.js';

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

/** Shown in pg_stat_activity. */
function applierName(server: string): string {
  return `craft applier ${server}`;
}

export class PostgresEngine implements StorageEngine {
  private readonly connection: Connection;
  private readonly pool: QueryPool;
  private readonly versions: MachineVersions;
  private readonly state: OwnState;
  private readonly pruner: Pruner;
  private readonly writer: BatchWriter;
  private readonly reads: Reads;
  private readonly looks: Looks;
  private readonly installer: Installer;

  constructor(private readonly options: PostgresEngineOptions) {
    const { databaseUrl, server, idsMax, onFailure } = options;
    const windowUs = options.resultWindowMs * 1_000;
    this.versions = new MachineVersions(options.machine, options.earlier);
    this.connection = new Connection({ url: databaseUrl, name: applierName(server) });
    this.pool = new QueryPool(databaseUrl, `craft queries ${server}`, QUERY_CONNECTIONS);
    this.state = new OwnState(this.pool);
    this.pruner = new Pruner(this.pool);
    const { versions, connection, pool, state, pruner } = this;
    const kvSender = new KvSender();
    const parts = { state, versions, connection, databaseUrl, server };
    const runner = new BatchRunner({ ...parts, kvSender, windowUs, onFailure });
    this.writer = new BatchWriter({ state, connection, runner, pruner, windowUs, idsMax });
    this.reads = new Reads(state, versions, pool, kvSender);
    this.looks = new Looks(state, versions.scope, pool, { databaseUrl, server });
    this.installer = new Installer({ ...parts, pool });
  }

  get divergence(): string | undefined {
    return this.state.divergence;
  }

  get machine(): MachineVersion {
    return { name: this.versions.name, version: this.state.known.version };
  }

  /** Not while a batch is being applied. */
  async open(): Promise<EnginePosition> {
    // It may look at a database that is none of this server's any more.
    await this.looks.endCheck();
    // So may what is being removed.
    await this.pruner.end();
    const { databaseUrl, server, cluster = '' } = this.options;
    const prepared = await prepareDatabase({ databaseUrl, server, cluster }, this.versions);
    const [rows = []] = await this.connection.together(BEGIN_PLAIN, [TAKE_FENCE, [server]]);
    const position = this.state.opened(prepared, readPosition(rows));
    if (prepared.damage === undefined) await this.writer.loadResults(position);
    return position;
  }

  apply(batch: EngineBatch, onCall?: OnDatabaseCall): Promise<AppliedBatch> {
    return this.writer.write(batch, onCall);
  }

  query(name: string, input: unknown, atLeast: readonly LogIndex[] = [], onCall?: OnDatabaseCall): Promise<unknown> {
    return this.reads.query(name, input, atLeast, onCall);
  }

  locate(atLeast: readonly LogIndex[]): Promise<EnginePosition> {
    return this.reads.locate(atLeast);
  }

  outcomes(from: MergedIndex, to: MergedIndex): Promise<KeptOutcomes> {
    return this.reads.outcomes(from, to);
  }

  markDiverged(reason: string): Promise<void> {
    return this.state.markDiverged(reason);
  }

  heldBy(): Promise<{ pid: number; what: string } | undefined> {
    return this.pool.use((connection) => heldBy(connection, applierName(this.options.server)));
  }

  checkRows(): Promise<RowsCheck> {
    return this.looks.checkRows();
  }

  snapshot(): Promise<EngineSnapshot> {
    return this.looks.snapshot();
  }

  verify(snapshot: EngineSnapshot): Promise<void> {
    return this.installer.verify(snapshot);
  }

  /** Not while a batch is being applied. */
  async restore(snapshot: EngineSnapshot, as?: (before: EnginePosition) => EnginePosition): Promise<EnginePosition> {
    this.state.requireOpen();
    // What counts as expired here may count in the state to come.
    await this.pruner.end();
    // It would hold up the beginning, and look at what goes.
    await this.looks.endCheck();
    return this.installer.install(snapshot, as);
  }

  async close(): Promise<void> {
    this.state.known.close();
    await this.looks.close();
    await Promise.all([this.connection.close(), this.pool.close()]);
  }
}
