/**
 * The applier service: the merged-log stream of its own server in, the state machine and the clients' answers out.
 *
 *     stream.ts ──▶ queue.ts ──▶ engine ──▶ answers.ts
 *     (reads)       (decides)    (one transaction a batch)
 *
 * One batch is in the engine at a time; meanwhile the next one collects. An engine that cannot work is asked again, for ever: no
 * entry is skipped. What it cannot go on from (another applier at work, a log that is not this state's, a divergence between servers)
 * ends the service with the reason.
 */
import type { NatsConnection } from '@nats-io/nats-core';
import type { ApplierConfig } from '../../shared/config/config.js';
import type { Service } from '../../shared/config/service.js';
import {
  type AppliedBatch,
  type EngineBatch,
  type EnginePosition,
  FencedError,
  indexesOf,
  type MergedCommand,
  PositionError,
  SnapshotFormatError,
  type StorageEngine,
} from '../../shared/engine/port.js';
import type { MergedRun } from '../../shared/merge/merge.js';
import type { Index } from '../../shared/raft/entry.js';
import { type Logger, warnOccasionally } from '../../shared/telemetry/log.js';
import { BATCH_SIZES, type Metrics, SECONDS } from '../../shared/telemetry/metrics.js';
import { watchNats } from '../../shared/telemetry/nats-watch.js';
import { spanTimeUs } from '../../shared/telemetry/time.js';
import type { Tracing } from '../../shared/telemetry/tracing.js';
import { Subjects } from '../../shared/wire/subjects.js';
import { answer } from './answers.js';
import { AppliedPositions } from './applied.js';
import { Comparison, type DivergenceError } from './comparison.js';
import { Condition } from './condition.js';
import { watchMembers } from './members.js';
import { Gate, pause } from './pause.js';
import { Queries } from './queries.js';
import type { ApplyQueue, TakenBatch } from './queue.js';
import { ReadBarrier } from './read-barrier.js';
import { applyRestoring, restoringOf } from './restoring.js';
import { SnapshotRequests } from './snapshot-requests.js';
import { Snapshots } from './snapshots.js';
import { MergedLogReader } from './stream.js';
import { Turns } from './turns.js';

/** Between two tries of the engine (milliseconds): doubles from the first to the second. */
const RETRY_MS = 50;
const RETRY_MS_MAX = 2_000;
/** How long the transaction under way may take to end when the service stops (milliseconds). */
const STOP_MS_MAX = 5_000;
/** Hears of every committed batch; times in microseconds since the Unix epoch. */
export type OnApplied = (commands: readonly MergedCommand[], startUs: number, endUs: number) => void;

export class ApplierService implements Service {
  readonly name = 'applier';
  readonly failed: Promise<Error>;
  private fail: (error: Error) => void = () => undefined;
  private readonly stopping = new AbortController();
  private readonly subjects: Subjects;
  private readonly reader: MergedLogReader;
  private readonly comparison: Comparison;
  private readonly condition: Condition;
  /** Opens when the queue has something, and when it has room again. */
  private readonly something = new Gate();
  private readonly room = new Gate();
  private readonly running: Promise<unknown>;
  private readonly warn;
  private readonly batchSizes;
  private readonly batchSeconds;
  private readonly commandsApplied;
  private readonly duplicates;
  private readonly rejections;
  private readonly failures;
  private readonly retries;
  private readonly positions: AppliedPositions;
  private readonly snapshots: Snapshots;
  /** The engine applies a batch, or is restored. */
  private readonly turns = new Turns();
  private appliedIndex: Index;

  constructor(
    private readonly config: ApplierConfig,
    private readonly connection: NatsConnection,
    private readonly engine: StorageEngine,
    private readonly queue: ApplyQueue,
    position: EnginePosition,
    private readonly logger: Logger,
    private readonly metrics: Metrics,
    private readonly tracing: Tracing,
    private readonly onApplied: OnApplied | undefined,
  ) {
    this.failed = new Promise((resolve) => {
      this.fail = resolve;
    });
    this.subjects = new Subjects(config.cluster);
    this.warn = warnOccasionally(logger);
    this.condition = new Condition({
      connection,
      subjects: this.subjects,
      server: config.server,
      applied: () => this.appliedIndex,
    });
    this.appliedIndex = position.mergedIndex;
    this.positions = new AppliedPositions(indexesOf(position.positions));
    this.batchSizes = metrics.histogram('applied_batch_commands', 'Commands in one transaction', BATCH_SIZES);
    this.batchSeconds = metrics.histogram('apply_seconds', 'Time of one transaction, with its retries', SECONDS);
    this.commandsApplied = metrics.counter('applied_commands_total', 'Commands applied');
    this.duplicates = metrics.counter(
      'duplicate_commands_total',
      'Commands answered with the result of an earlier one',
    );
    this.rejections = metrics.counter('rejected_commands_total', 'Commands that the state machine rejected');
    this.failures = metrics.counter('failed_commands_total', 'Commands whose handler failed');
    this.retries = metrics.counter('apply_retries_total', 'Transactions that were tried again');
    metrics.gauge('applied_index', 'Merged index of the last entry applied', () => this.appliedIndex);
    metrics.gauge('apply_queue_commands', 'Commands that wait for their transaction', () => queue.length);
    this.reader = new MergedLogReader({
      connection,
      stream: this.subjects.logStream(config.server),
      wanted: () => queue.wanted,
      take: (run) => this.take(run),
      // What is in no stream any more is in a snapshot, or the state is behind all there is.
      onMissing: () => this.installNewest(),
      onRestart: () => connection.publish(this.subjects.restartLog(config.server)),
      onStuck: (error) => {
        this.condition.failed(error);
        this.warn('waiting for a snapshot', error);
      },
      warn: this.warn,
      signal: this.stopping.signal,
    });
    this.comparison = new Comparison({
      connection,
      subjects: this.subjects,
      server: config.server,
      servers: config.servers,
      logger,
      warn: this.warn,
      metrics,
      onDivergence: (error) => void this.diverge(error),
    });
    watchMembers({
      connection,
      subjects: this.subjects,
      server: config.server,
      onMembers: (servers) => this.comparison.setServers(servers),
      signal: this.stopping.signal,
    });
    const common = { connection, subjects: this.subjects, server: config.server, groups: config.groups, engine };
    const { replicas, ...limits } = config.snapshots;
    this.snapshots = new Snapshots({
      ...common,
      limits,
      replicas,
      applied: () => this.appliedIndex,
      exclusively: (work) =>
        this.turns.take(async () => {
          const found = await work();
          if (found !== null) this.goBack(found);
        }),
      logger,
      warn: this.warn,
      metrics,
      signal: this.stopping.signal,
    });
    new SnapshotRequests({
      ...common,
      snapshots: this.snapshots,
      onFailure: (error) => {
        if (!this.stopping.signal.aborted) this.warn('a request about snapshots failed', error);
      },
    });
    new Queries({
      connection,
      subjects: this.subjects,
      server: config.server,
      engine,
      barrier: new ReadBarrier(connection, this.subjects.barrier(config.server), config.groups, this.positions),
      onBehind: (found) => this.goBack(found),
      onFailure: (error) => {
        if (!this.stopping.signal.aborted) this.warn('a read failed', error);
      },
    });
    void watchNats(connection, this.warn);
    void this.watchConnection();
    void connection.closed().then((error) => {
      this.end(new Error('the NATS connection is closed for good', { cause: error }));
    });
    this.running = Promise.all([this.reader.run(), this.applyAll()]).catch((error: unknown) => this.end(error));
  }

  async stop(): Promise<void> {
    this.halt();
    // A database that does not answer is not waited for: what it has not committed is applied after the next start.
    await Promise.race([this.running, new Promise((resolve) => setTimeout(resolve, STOP_MS_MAX).unref())]);
    if (!this.connection.isClosed()) await this.connection.drain().catch(() => undefined);
    await this.engine.close();
    await this.tracing.stop();
    await this.metrics.close();
  }

  private halt(): void {
    this.stopping.abort();
    this.something.open();
    this.room.open();
  }

  private end(error: unknown): void {
    if (this.stopping.signal.aborted) return;
    this.halt();
    const reason = error instanceof Error ? error : new Error(String(error));
    this.logger.fatal({ err: reason }, `the applier cannot go on: ${reason.message}`);
    this.fail(reason);
  }

  /** A message of the stream; returns when the queue has room for another one. */
  private async take(run: MergedRun): Promise<boolean> {
    const offered = this.queue.offer(run);
    if (offered === 'hole') return false;
    if (offered === 'taken') this.something.open();
    while (this.queue.isFull && !this.stopping.signal.aborted) await this.room.wait();
    return true;
  }

  private async applyAll(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      const taken = this.queue.take();
      if (taken === null) {
        await this.something.wait();
        continue;
      }
      this.room.open();
      const isStuck = (await this.turns.take(() => this.apply(taken))) === 'stuck';
      if (!isStuck) continue;
      await this.installNewest().catch((error: unknown) => this.warn('no snapshot could be installed', error));
      await pause(RETRY_MS_MAX, signal);
    }
  }

  /** `stuck` when only a snapshot leads further: the file that is to be restored is not there any more, or of no use here. */
  private async apply({ batch, checkpoints, bytes }: TakenBatch): Promise<'applied' | 'moved' | 'stuck'> {
    const { commands } = batch;
    const startUs = spanTimeUs();
    const done = await this.untilApplied(batch);
    if (typeof done === 'string') return done;
    const endUs = spanTimeUs();
    this.condition.recovered();
    this.moveTo(commands);
    this.answer(commands, done);
    this.batchSizes.observe(commands.length);
    this.batchSeconds.observe((endUs - startUs) / 1e6);
    this.commandsApplied.add(commands.length);
    for (const { mergedIndex, checksum } of checkpoints) {
      const own = done.checkpoints.find((checkpoint) => checkpoint.mergedIndex === mergedIndex);
      if (own !== undefined) this.comparison.reached(mergedIndex, checksum, own.resultsChecksum);
    }
    this.snapshots.onApplied(this.appliedIndex, bytes);
    // Who comes after this begins with a snapshot of this cluster, and needs no file.
    if (restoringOf(batch) !== undefined) this.snapshots.takeSoon();
    this.onApplied?.(commands, startUs, endUs);
    if (this.tracing.enabled) this.trace(commands, done, startUs, endUs);
    return 'applied';
  }

  private async installNewest(): Promise<boolean> {
    const isInstalled = await this.snapshots.install([]);
    if (isInstalled) this.condition.recovered();
    return isInstalled;
  }

  /** The database is not where it was thought to be: the log is applied again from there. */
  private goBack(found: EnginePosition): void {
    this.appliedIndex = found.mergedIndex;
    this.snapshots.onMoved(found.mergedIndex);
    this.queue.reset(found);
    this.positions.reset(indexesOf(found.positions));
    this.room.open();
    this.reader.interrupt();
  }

  private moveTo(commands: readonly MergedCommand[]): void {
    for (const { group, index, mergedIndex } of commands) {
      this.positions.applied(group, index);
      this.appliedIndex = mergedIndex;
    }
    this.positions.settle();
  }

  /** Tries until it is committed. `moved` when the service stops, or when the batch is not the next one after all. */
  private async untilApplied(batch: EngineBatch): Promise<AppliedBatch | 'moved' | 'stuck'> {
    const { signal } = this.stopping;
    for (let delayMs = RETRY_MS; !signal.aborted; delayMs = Math.min(delayMs * 2, RETRY_MS_MAX)) {
      try {
        return await this.applyOnce(batch);
      } catch (error) {
        if (error instanceof FencedError) throw error;
        if (error instanceof PositionError) {
          this.warn('the database is at another position', error);
          this.goBack(error.position);
          return 'moved';
        }
        this.warn('a batch could not be applied; trying again', error);
        this.condition.failed(error);
        this.retries.add();
        const isFileUnusable = error instanceof SnapshotFormatError;
        const place = isFileUnusable ? await this.engine.locate([]).catch(() => undefined) : undefined;
        if (place !== undefined) {
          this.goBack(place);
          return 'stuck';
        }
        await pause(delayMs * (0.5 + Math.random() / 2), signal);
      }
    }
    return 'moved';
  }

  private async applyOnce(batch: EngineBatch): Promise<AppliedBatch> {
    const restoring = restoringOf(batch);
    if (restoring === undefined) return this.engine.apply(batch);
    const open = (object: string) => this.snapshots.openFile(object);
    const applied = await applyRestoring(this.engine, open, batch, restoring);
    this.logger.warn({ ...restoring }, 'the state is now that of a file');
    return applied;
  }

  private answer(commands: readonly MergedCommand[], { applied }: AppliedBatch): void {
    for (const { duplicate, outcome } of applied) {
      if (duplicate) this.duplicates.add();
      if (!outcome.ok) (outcome.failed ? this.failures : this.rejections).add();
    }
    try {
      answer(this.connection, this.subjects, this.config.server, commands, applied, (error) =>
        this.warn('an answer could not be sent', error),
      );
    } catch (error) {
      // The clients ask again, with the same ids.
      if (!this.stopping.signal.aborted) this.warn('answers could not be sent', error);
    }
  }

  /** Ends, and leaves no snapshot behind from which the same would be installed again. */
  private async diverge(error: DivergenceError): Promise<void> {
    if (this.stopping.signal.aborted) return;
    this.halt();
    this.logger.fatal({ err: error }, `the applier cannot go on: ${error.message}`);
    await this.snapshots.withdraw().catch((reason: unknown) => {
      this.warn('the snapshots of this server could not be removed: remove them before it is rebuilt', reason);
    });
    this.fail(error);
  }

  /** After a reconnect the stream may be another one, or shorter: look the place up again. */
  private async watchConnection(): Promise<void> {
    for await (const status of this.connection.status()) {
      if (status.type === 'reconnect') this.reader.interrupt();
    }
  }

  private trace(commands: readonly MergedCommand[], { applied }: AppliedBatch, startUs: number, endUs: number): void {
    for (let at = 0; at < commands.length; at++) {
      const command = commands[at];
      const result = applied[at];
      if (command === undefined || result === undefined || command.traceparent === '') continue;
      const { name, group, index, term, timestamp, mergedIndex } = command;
      this.tracing.recordSpan('craft.apply', command.traceparent, startUs, endUs, {
        command: name,
        group,
        index,
        term,
        timestamp,
        mergedIndex,
        ...(result.outcome.ok ? {} : { error: result.outcome.failed ? 'INTERNAL' : 'REJECTED' }),
      });
    }
  }
}
