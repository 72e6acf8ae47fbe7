/**
 * The applier service: the merged-log stream of its own server in, the state machine and the
 * clients' answers out. Wiring only.
 *
 *     merger of this process, or nats-tail.ts ──▶ executor.ts ──▶ engine ──▶ answers.ts
 *     stream.ts, to start and to catch up     ──┘ (does what core/ decides)
 *
 * What the state cannot go on from (another applier at work, a log that is not this state's) ends
 * the service with the reason.
 */
import { ConnectionError, type NatsConnection } from '@nats-io/nats-core';
import type { ApplierConfig } from '../../shared/config/config.js';
import type { Opened } from '../../shared/config/opened.js';
import type { Service } from '../../shared/config/service.js';
import { describeMachine } from '../../shared/engine/describe.js';
import type { LoadedMachine } from '../../shared/engine/loading.js';
import { type EnginePosition, indexesOf, type MergedCommand, type StorageEngine } from '../../shared/engine/port.js';
import { encodeVerify } from '../../shared/engine/verify.js';
import type { ServiceHealth } from '../../shared/health/health.js';
import type { Links } from '../../shared/link/links.js';
import { NOTHING_MERGED, type ServerId } from '../../shared/raft/entry.js';
import { type Logger, warnOccasionally } from '../../shared/telemetry/log.js';
import type { Metrics } from '../../shared/telemetry/metrics.js';
import { watchNats } from '../../shared/telemetry/nats-watch.js';
import { spanTimeUs } from '../../shared/telemetry/time.js';
import type { Tracing } from '../../shared/telemetry/tracing.js';
import { type Answers, answersOver } from '../../shared/wire/answers.js';
import { closedForGood } from '../../shared/wire/connection.js';
import { parseJson } from '../../shared/wire/json.js';
import type { MachineInput, VersionNotice } from '../../shared/wire/machine.js';
import { listService } from '../../shared/wire/micro.js';
import { REPLY_REFUSED, ReplyGuard } from '../../shared/wire/reply-guard.js';
import { Subjects } from '../../shared/wire/subjects.js';
import { answer } from './answers.js';
import { AppliedPositions } from './applied.js';
import { ApplierHealth } from './applier-health.js';
import type { ApplierCore } from './core/applier.js';
import { type CheckpointMessage, checkpointMessage } from './core/comparison.js';
import type { Effect } from './core/effect.js';
import { batchFailure, Executor, type Outside } from './executor.js';
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
/** Hears of every committed batch; times in microseconds since the Unix epoch. */
export type OnApplied = (commands: readonly MergedCommand[], startUs: number, endUs: number) => void;

type Answer = Extract<Effect, { type: 'answer' }>;

export class ApplierService implements Service {
  readonly name = 'applier';
  private readonly life: number;
  readonly failed: Promise<Error>;
  private fail: (error: Error) => void = () => undefined;
  private readonly stopping = new AbortController();
  private readonly subjects: Subjects;
  private readonly executor: Executor;
  private readonly applierHealth: ApplierHealth;
  /** Undefined while tracing is off. */
  private readonly spans: ApplierTracing | undefined;
  private readonly positions: AppliedPositions;
  private readonly answers: Answers;
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
    private readonly engine: StorageEngine,
    loaded: LoadedMachine,
    core: ApplierCore,
    position: EnginePosition,
    private readonly logger: Logger,
    private readonly metrics: Metrics,
    tracing: Tracing,
    /** What the start has opened: all of the above among it. */
    private readonly opened: Opened,
    private readonly onApplied: OnApplied | undefined,
    /** What it shares with the other services of its process. */
    private readonly links: Links,
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
    this.answers = answersOver(connection);
    const refusal = () => core.refusal;
    const subject = subjects.logSubject(server);
    const heard = new NatsTail(connection, subject, this.warn);
    this.natsTail = links.mergedLog === undefined ? heard : undefined;
    const tail = links.mergedLog ?? heard;
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
      dueEntries: config.snapshots.entries,
      onBucket: (trouble) => health.report('snapshots', trouble),
      onTaking: (other, isTaking) => this.executor.dispatch((one) => one.heardTaking(other, isTaking)),
      logger,
      warn: this.warn,
      metrics,
    });
    const { snapshots } = this;
    const spans = tracing.enabled ? new ApplierTracing(tracing, server, spanTimeUs) : undefined;
    this.spans = spans;
    this.executor = new Executor(
      core,
      {
        engine,
        reader,
        tail,
        snapshots,
      },
      {
        tell: (effect) => this.tell(effect),
        startUs: spanTimeUs,
        onArrived: (found) => {
          counts.onArrived(found);
          spans?.arrived(found);
        },
        ...(spans === undefined ? {} : { onApply: (batch) => spans.begins(batch) }),
        onInstallFailed: () => counts.onInstallFailed(),
        onApplied: (effect, startUs) => this.committed(effect, startUs),
        onVerified: (at, tables) => this.applierHealth.onVerified(at, tables),
        onInstalled: (snapshot, { mergedIndex }) => {
          counts.installs.add();
          logger.info({ snapshot, mergedIndex }, 'a snapshot is installed');
        },
        onRestored: ({ restoring }) => logger.warn({ ...restoring }, 'the state is now that of a file'),
        warn: this.warn,
        onTurn: () => health.turned('the core of the applier'),
        onFatal: (error) => this.end(error),
      },
    );
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
    const telling = setInterval(() => this.tellVersion(), TELL_MS);
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

  async stop(): Promise<void> {
    this.stopping.abort();
    // A database that does not answer is not waited for: what it has not committed is applied after
    // the next start.
    await this.opened.finish('the last transaction', TRANSACTION_MS_MAX, () => this.executor.stop());
    await this.opened.close().finally(() => this.health.end(this.life));
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

  /** Tells clients, servers and operators what the core wants them to know. */
  private tell(effect: Parameters<Outside['tell']>[0]): void {
    const { subjects, config, logger } = this;
    switch (effect.type) {
      case 'moved':
        this.positions.reset(indexesOf(effect.position.positions));
        this.counts.onMoved();
        return;
      case 'answer':
        this.answer(effect);
        return;
      case 'tell':
        this.publish(subjects.checkpoint(), JSON.stringify(effect.message));
        return;
      case 'ask-verify':
        this.publish(subjects.verify(), encodeVerify(effect.save ? { snapshotBy: config.server } : {}));
        return;
      case 'ask-snapshot':
        this.publish(subjects.admin('snapshot'), '');
        return;
      case 'restart-log':
        this.publish(subjects.restartLog(config.server), '');
        return;
      case 'refusal':
        this.applierHealth.refused(effect.reason);
        return;
      case 'trouble':
        this.applierHealth.failed(effect.error);
        if (effect.batch === null) {
          this.warn('the state cannot go on', effect.error);
          return;
        }
        this.counts.retries.add();
        this.spans?.failed(effect.error);
        this.warn('a batch failed; trying again', batchFailure(effect.batch, effect.error));
        return;
      case 'recovered':
        this.applierHealth.recovered();
        // Under a steady load the applier does not look at the stream, so no look reports that it
        // can be read again.
        this.health.report('stream', undefined);
        return;
      case 'waiting':
        this.applierHealth.waits(effect.reason);
        if (effect.reason === undefined) logger.info('the version that the state waited for is loaded: it goes on');
        else logger.error(effect.reason);
        return;
      case 'version':
        this.tellVersion();
        logger.info({ version: effect.version }, 'this version of the state machine is in force');
        return;
      case 'ask-machine': {
        const input: MachineInput = { name: this.engine.machine.name, version: effect.version, initial: true };
        this.publish(subjects.machine(), JSON.stringify(input));
        return;
      }
      case 'differs':
        this.counts.onDifference(effect.isOwn);
        if (effect.isOwn) logger.fatal(`nothing is read from this state any more: ${effect.message}`);
        else logger.error(effect.message);
    }
  }

  /** To the replica of this server, which lets in what this version takes. */
  private tellVersion(): void {
    const { version, appliedIndex: mergedIndex } = this.executor.core;
    const notice: VersionNotice = { version, mergedIndex };
    this.publish(this.subjects.version(this.config.server), JSON.stringify(notice));
  }

  private publish(subject: string, data: string | Uint8Array): void {
    try {
      this.connection.publish(subject, data);
    } catch (error) {
      // On its way out: there is no server to tell.
      if (!(error instanceof ConnectionError)) this.warn('a message could not be published', error);
    }
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

  private committed({ commands }: Answer, startUs: number): void {
    this.spans?.committed();
    const endUs = spanTimeUs();
    for (const { group, index } of commands) this.positions.applied(group, index);
    this.positions.settle();
    this.links.applied?.advanced();
    this.counts.onApplied(commands, (endUs - startUs) / 1e6);
    this.onApplied?.(commands, startUs, endUs);
  }

  private answer({ commands, done, isTrusted }: Answer): void {
    const { applied } = done;
    try {
      answer(this.answers, this.subjects, this.config.server, commands, applied, isTrusted, (error) =>
        this.warn('an answer could not be sent', error),
      );
    } catch (error) {
      // The clients ask again, with the same ids.
      if (!this.stopping.signal.aborted) this.warn('answers could not be sent', error);
    }
    this.counts.onAnswered(commands, applied);
    this.spans?.answered(commands, done, isTrusted);
  }

  /** After a reconnect the stream may be another one, or shorter: look the place up again. */
  private async watchConnection(): Promise<void> {
    for await (const status of this.connection.status()) {
      if (status.type === 'reconnect') this.executor.dispatch((core) => core.reconnected());
    }
  }
}
