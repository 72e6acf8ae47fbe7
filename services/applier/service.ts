/**
 * The applier service: the merged-log stream of its own server in, the state machine and the
 * clients' answers out. Wiring only.
 *
 *     merger of this process, or nats-tail.ts ──▶ executor.ts ──▶ engine-worker.ts
 *     stream.ts, to start and to catch up     ──┘ (does what  └──▶ effects.ts: answers, spans,
 *                                                 core/ decides)    metrics
 *
 * What the state cannot go on from (another applier at work, a log that is not this state's) ends
 * the service with the reason.
 */
import type { NatsConnection } from '@nats-io/nats-core';
import type { ApplierConfig } from '../../shared/config/config.js';
import type { Opened } from '../../shared/config/opened.js';
import type { Service } from '../../shared/config/service.js';
import { describeMachine } from '../../shared/engine/describe.js';
import type { LoadedMachine } from '../../shared/engine/loading.js';
import { type EnginePosition, indexesOf, type StorageEngine } from '../../shared/engine/port.js';
import type { ServiceHealth } from '../../shared/health/health.js';
import type { Links } from '../../shared/link/links.js';
import { NOTHING_MERGED, type ServerId } from '../../shared/raft/entry.js';
import { type Logger, warnOccasionally } from '../../shared/telemetry/log.js';
import type { Metrics } from '../../shared/telemetry/metrics.js';
import { watchNats } from '../../shared/telemetry/nats-watch.js';
import { spanTimeUs } from '../../shared/telemetry/time.js';
import type { Tracing } from '../../shared/telemetry/tracing.js';
import { closedForGood } from '../../shared/wire/connection.js';
import { parseJson } from '../../shared/wire/json.js';
import { listService } from '../../shared/wire/micro.js';
import { REPLY_REFUSED, ReplyGuard } from '../../shared/wire/reply-guard.js';
import { Subjects } from '../../shared/wire/subjects.js';
import { AppliedPositions } from './applied.js';
import { ApplierHealth } from './applier-health.js';
import type { ApplierCore } from './core/applier.js';
import { type CheckpointMessage, checkpointMessage } from './core/comparison.js';
import { Effects, type OnApplied } from './effects.js';
import { Executor } from './executor.js';
import { LookAgain } from './look-again.js';
import { watchVoters } from './members.js';
import { ApplierMetrics } from './metrics.js';
import { NatsTail } from './nats-tail.js';
import { Queries } from './queries.js';
import { barriersOf, ReadBarrier } from './read-barrier.js';
import { SnapshotRequests } from './snapshot-requests.js';
import { Snapshots } from './snapshots.js';
import { MergedLogReader } from './stream.js';
import { ApplierTracing } from './tracing.js';

/** How long the transaction under way may take to end when the service stops (milliseconds). */
const TRANSACTION_MS_MAX = 5_000;
/** A replica that was started again hears of the version in force within this (milliseconds). */
const TELL_MS = 5_000;
/** Until a stream that could not be read is looked at again (milliseconds). */
const LOOK_AGAIN_MS = 2_000;

export class ApplierService implements Service {
  readonly name = 'applier';
  private readonly life: number;
  readonly failed: Promise<Error>;
  private fail: (error: Error) => void = () => undefined;
  private readonly stopping = new AbortController();
  private readonly subjects: Subjects;
  private readonly executor: Executor;
  private readonly effects: Effects;
  private readonly applierHealth: ApplierHealth;
  private readonly positions: AppliedPositions;
  private readonly warn;
  private readonly counts: ApplierMetrics;
  private readonly replies: ReplyGuard;
  private readonly snapshots: Snapshots;
  private readonly requests: SnapshotRequests;
  private readonly queries: Queries;
  /** Undefined: the merger of this process passes the end of the log. */
  private readonly natsTail: NatsTail | undefined;

  constructor(
    private readonly config: ApplierConfig,
    private readonly connection: NatsConnection,
    engine: StorageEngine,
    loaded: LoadedMachine,
    core: ApplierCore,
    position: EnginePosition,
    logger: Logger,
    private readonly metrics: Metrics,
    tracing: Tracing,
    /** What the start has opened: all of the above among it. */
    private readonly opened: Opened,
    onApplied: OnApplied | undefined,
    /** What it shares with the other services of its process. */
    links: Links,
    private readonly health: ServiceHealth<'applier'>,
  ) {
    this.life = health.life;
    this.failed = new Promise((resolve) => {
      this.fail = resolve;
    });
    const { server } = config;
    const subjects = new Subjects(config.cluster);
    this.subjects = subjects;
    this.warn = warnOccasionally(logger);
    this.positions = new AppliedPositions(indexesOf(position.positions), (isAwaited) => {
      // Not within the batch that has ended a read's waiting.
      queueMicrotask(() => this.executor.dispatch((one) => one.setAwaited(isAwaited)));
    });
    if (links.applied !== undefined) links.applied.indexes = this.positions.indexes;
    const refusal = () => core.refusal;
    const subject = subjects.logSubject(server);
    const tail = links.mergedLog ?? new NatsTail(connection, subject, this.warn);
    this.natsTail = tail instanceof NatsTail ? tail : undefined;
    const reader = new MergedLogReader({
      connection,
      stream: subjects.logStream(server),
      subject,
      warn: this.warn,
      onReadable: (trouble) => {
        health.report('stream', trouble);
        lookAgain.told(trouble);
      },
    });
    const lookAgain = new LookAgain(() => reader.reaches(0), LOOK_AGAIN_MS, this.stopping.signal);
    const end = () => Math.max(tail.end ?? NOTHING_MERGED, reader.end ?? NOTHING_MERGED);
    const counts = new ApplierMetrics({
      metrics,
      server,
      loaded,
      core,
      end,
      queues: () => [this.queries.level],
      // In another process than the replica's, perhaps: both read the machine's clock.
      physical: () => Date.now() * 1_000,
    });
    this.counts = counts;
    this.replies = new ReplyGuard(subjects, config.natsInboxPrefix, (reply) => {
      counts.repliesRefused.add();
      this.warn(REPLY_REFUSED, reply);
    });
    const { replies } = this;
    this.applierHealth = new ApplierHealth({
      connection,
      subjects,
      replies,
      server,
      loaded,
      engine,
      core,
      health,
      underWay: () => this.executor.underWay,
      end,
    });
    this.snapshots = new Snapshots({
      connection,
      subjects,
      server,
      replicas: config.snapshots.replicas,
      dueEntries: () => core.snapshotDueEntries,
      onBucket: (trouble) => health.report('snapshots', trouble),
      onTaking: (other, isTaking) => this.executor.dispatch((one) => one.heardTaking(other, isTaking)),
      logger,
      warn: this.warn,
      metrics,
    });
    const { snapshots } = this;
    this.effects = new Effects({
      connection,
      subjects,
      server,
      machine: engine.machine.name,
      core,
      positions: this.positions,
      counts,
      spans: tracing.enabled ? new ApplierTracing(tracing, server, spanTimeUs) : undefined,
      applierHealth: this.applierHealth,
      health,
      applied: links.applied,
      onCommitted: onApplied,
      logger,
      warn: this.warn,
      signal: this.stopping.signal,
      onFatal: (error) => this.end(error),
    });
    this.executor = new Executor(core, { engine, reader, tail, snapshots }, this.effects);
    const { executor } = this;
    const onFailure = (what: string) => (error: unknown) => {
      if (!this.stopping.signal.aborted) this.warn(what, error);
    };
    this.requests = new SnapshotRequests({
      connection,
      subjects,
      replies,
      server,
      groups: config.groups,
      engine,
      snapshots,
      executor,
      onFailure: onFailure('a request about snapshots failed'),
    });
    this.queries = new Queries({
      connection,
      subjects,
      replies,
      server,
      engine,
      barrier: new ReadBarrier(barriersOf(connection, subjects.barrier(server), config.groups), this.positions),
      metrics,
      describe: () => {
        const inForce = loaded.versions.find(({ version }) => version === core.version);
        return inForce && describeMachine(inForce.contract);
      },
      refusal,
      waiting: () => core.waiting,
      tracing,
      onBehind: (found) => executor.dispatch((one) => one.foundAt(found)),
      onFailure: (error) => {
        executor.dispatch((one) => one.readFailed(error));
        onFailure('a read failed')(error);
      },
    });
  }

  /** Whatever is on when this throws ends when `opened` is closed. */
  start(): void {
    const { connection, subjects, config, executor, health, metrics } = this;
    const { server, cluster } = config;
    const { signal } = this.stopping;
    this.opened.own('the applier', () => this.halt());
    const telling = setInterval(() => this.effects.tellVersion(), TELL_MS);
    telling.unref();
    signal.addEventListener('abort', () => clearInterval(telling));
    this.natsTail?.start();
    this.applierHealth.start();
    this.snapshots.start();
    connection.subscribe(subjects.checkpoint(), {
      callback: (error, message) => {
        if (error === null) this.hear(message.data);
        else this.warn('checkpoints cannot be received', error);
      },
    });
    const onVoters = (voters: readonly ServerId[]) => executor.dispatch((one) => one.setVoters(voters));
    watchVoters({ connection, subjects, server, onVoters, signal });
    this.requests.start();
    this.queries.start();
    const description = 'Executes the merged log in the database of its server, and answers reads';
    const { endpoints } = this.queries;
    listService(connection, { name: 'craft-applier', description, server, cluster, endpoints }, this.replies);
    void watchNats(connection, this.warn, health, metrics);
    void this.watchConnection();
    void closedForGood(connection).then((error) => this.end(error));
    executor.dispatch(() => undefined);
  }

  stop(): Promise<void> {
    return this.opened.stop(async () => {
      this.stopping.abort();
      // A database that does not answer is not waited for: what it has not committed is applied
      // after the next start.
      await this.opened.finish('the last transaction', TRANSACTION_MS_MAX, () => this.executor.stop());
      await this.opened.close().finally(() => this.health.end(this.life));
    });
  }

  /** Ends what it does by itself, but the transaction under way: the database closes with it. */
  private halt(): void {
    this.stopping.abort();
    void this.executor.stop();
  }

  private end(error: Error): void {
    if (this.stopping.signal.aborted) return;
    this.stopping.abort();
    void this.executor.stop();
    this.fail(error);
  }

  private hear(data: Uint8Array): void {
    let message: CheckpointMessage;
    try {
      message = parseJson(data, checkpointMessage);
    } catch {
      this.counts.malformed.add();
      return;
    }
    this.executor.dispatch((core) => core.heard(message));
  }

  /** After a reconnect the stream may be another one, or shorter: look the place up again. */
  private async watchConnection(): Promise<void> {
    for await (const status of this.connection.status()) {
      if (status.type === 'reconnect') this.executor.dispatch((core) => core.reconnected());
    }
  }
}
