/**
 * The replica service: all groups of one server. This file only connects the parts.
 *
 *     receipt.ts, commands.ts  ──▶ runner.ts ──▶ executor.ts ──▶ log store
 *     envelopes.ts (peers)     ──▶ (turns of       └───────────▶ effects.ts: envelopes, answers,
 *     feed-server.ts (merger)  ──▶  core/)                       subscriptions, spans, metrics
 *     requests.ts (the rest)   ──▶
 */

import type { NatsConnection } from '@nats-io/nats-core';
import type { ReplicaConfig } from '../../shared/config/config.js';
import type { Opened } from '../../shared/config/opened.js';
import type { Service } from '../../shared/config/service.js';
import { VERSION } from '../../shared/config/version.js';
import type { Admission } from '../../shared/engine/admission.js';
import type { ServiceHealth } from '../../shared/health/health.js';
import type { Links } from '../../shared/link/links.js';
import type { LogStore } from '../../shared/log-store/port.js';
import type { GroupId } from '../../shared/raft/entry.js';
import { type Logger, warnOccasionally } from '../../shared/telemetry/log.js';
import type { Metrics } from '../../shared/telemetry/metrics.js';
import { watchNats } from '../../shared/telemetry/nats-watch.js';
import type { Tracing } from '../../shared/telemetry/tracing.js';
import { closedForGood, onCarriedBytes } from '../../shared/wire/connection.js';
import { listService } from '../../shared/wire/micro.js';
import { PROTOCOL } from '../../shared/wire/protocol.js';
import { REPLY_REFUSED, ReplyGuard } from '../../shared/wire/reply-guard.js';
import { LEADERS_QUEUE, Subjects } from '../../shared/wire/subjects.js';
import { type ClientCommand, Ingress } from './commands.js';
import type { CommandRefusal } from './core/effect.js';
import type { ReplicaCore } from './core/server.js';
import { withWayOut } from './damage.js';
import { Effects } from './effects.js';
import { Envelopes } from './envelopes.js';
import { FeedServer } from './feed-server.js';
import { Intake } from './intake.js';
import { Locating } from './locating.js';
import { ReplicaMetrics } from './metrics.js';
import { Receipt } from './receipt.js';
import { ReplicaHealth } from './replica-health.js';
import { ReplicaRequests } from './requests.js';
import { type Clocks, type Dispatch, Runner } from './runner.js';
import { type ServerStatus, serverStatus } from './status.js';
import { LeaderSubscriptions } from './subscriptions.js';
import { ReplicaTracing } from './tracing.js';
import { Transport } from './transport.js';

/** How long a stop waits for commands that have arrived to be stamped (milliseconds). */
const INTAKE_MS_MAX = 3_000;
/** How long a stop waits for its leaderships to be taken over (milliseconds). */
const HAND_OVER_MS_MAX = 3_000;
/** How long a stop waits for the write in flight (milliseconds). */
const WRITE_MS_MAX = 5_000;

export class ReplicaService implements Service {
  readonly name = 'replica';
  private readonly life: number;
  readonly failed: Promise<Error>;
  private fail: (error: Error) => void = () => undefined;
  private readonly subjects: Subjects;
  private readonly dispatch: Dispatch<ClientCommand> = (event) => this.runner.dispatch(event);
  private readonly runner: Runner<ClientCommand>;
  private readonly leading: LeaderSubscriptions;
  private readonly envelopes: Envelopes;
  private readonly feed: FeedServer;
  private readonly requests: ReplicaRequests;
  private readonly locating: Locating;
  private endHolding: (() => void) | undefined;
  private readonly warn;
  private readonly counts: ReplicaMetrics;
  private readonly replies: ReplyGuard;
  private readonly intake: Intake;
  private readonly replicaHealth: ReplicaHealth;
  /** What one message of NATS carries (bytes of entries, or of a command). */
  private carriedBytes = Number.POSITIVE_INFINITY;
  private isStopping = false;
  private hasFailed = false;

  constructor(
    private readonly config: ReplicaConfig,
    private readonly connection: NatsConnection,
    store: LogStore,
    private readonly core: ReplicaCore<ClientCommand>,
    admission: Admission,
    private readonly logger: Logger,
    private readonly metrics: Metrics,
    tracing: Tracing,
    private readonly clocks: Clocks,
    /** What the start has opened: all of the above among it. */
    private readonly opened: Opened,
    /** To a merger and an applier in this process. */
    private readonly links: Pick<Links, 'feed' | 'applied'>,
    private readonly health: ServiceHealth<'replica'>,
  ) {
    this.life = health.life;
    this.failed = new Promise((resolve) => {
      this.fail = resolve;
    });
    const { server, groups, payloadBytesMax } = config;
    const { dispatch } = this;
    const subjects = new Subjects(config.cluster);
    this.subjects = subjects;
    const warn = warnOccasionally(logger);
    this.warn = warn;
    const intake = new Intake({
      nowMs: () => performance.now(),
      defer: (action, afterMs) => void (afterMs > 0 ? setTimeout(action, Math.ceil(afterMs)) : setImmediate(action)),
    });
    this.intake = intake;
    const counts = new ReplicaMetrics({ metrics, core, intake, physical: () => clocks.physical() });
    this.counts = counts;
    const replies = new ReplyGuard(subjects, config.natsInboxPrefix, (reply) => {
      counts.repliesRefused.add();
      warn(REPLY_REFUSED, reply);
    });
    this.replies = replies;
    const transport = new Transport({ connection, replies, malformed: counts.malformed, warn });
    const ingress = new Ingress(
      {
        server,
        replies,
        machine: admission,
        payloadBytesMax: () => Math.min(payloadBytesMax, this.carriedBytes),
        refusal: (group, acknowledgement) => core.refusal(group, acknowledgement),
        offer: (group, commands) => this.offer(group, commands),
        onRefused: (code) => counts.onRefused(code),
        onFailure: (what, error) => warn(what, error),
      },
      connection,
      tracing,
    );
    const isTraced = tracing.enabled;
    const receipt = new Receipt({ ingress, intake, replies, transport, counts, isTraced });
    this.leading = new LeaderSubscriptions(connection, subjects, server, receipt);
    this.envelopes = new Envelopes({ connection, transport, subjects, server, dispatch });
    this.feed = new FeedServer({ transport, subjects, server, groups, direct: links.feed, dispatch });
    const { peers } = this.envelopes;
    this.replicaHealth = new ReplicaHealth({ server, core, peers, payloadBytesMax, health, logger, warn });
    const status = () => this.status();
    this.requests = new ReplicaRequests({
      transport,
      subjects,
      server,
      core,
      dispatch,
      admission,
      status,
      logger,
      warn,
    });
    const subject = subjects.locate(server);
    this.locating = new Locating({ connection, subject, dispatch, logger, warn, health });
    const { leading, envelopes, feed, requests, locating } = this;
    const effects = new Effects({
      ...{ core, transport, envelopes, ingress, leading, feed, requests, locating, counts, isTraced, logger, warn },
      spans: new ReplicaTracing(tracing, subjects.rpc(server), core.groups),
      health: this.replicaHealth,
      onFatal: (error) => this.onFatal(error),
    });
    this.runner = new Runner<ClientCommand>(core, store, effects, clocks);
  }

  /** Whatever is on when this throws ends when `opened` is closed. */
  start(): void {
    const { connection, health, metrics, config, logger } = this;
    this.opened.own('the replica', () => this.halt(), { msMax: WRITE_MS_MAX });
    this.endHolding = this.links.applied?.onAdvanced(() => this.onApplied());
    this.runner.start();
    this.locating.start();
    this.requests.start();
    this.replicaHealth.start();
    this.envelopes.start();
    this.feed.start();
    logger.info({ nats: connection.getServer(), groups: config.groups }, 'replica started');
    this.list();
    void watchNats(connection, this.warn, health, metrics);
    onCarriedBytes(connection, (bytes) => this.carry(bytes));
    void closedForGood(connection).then((error) => {
      if (!this.isStopping) this.onFatal(error);
    });
  }

  stop(): Promise<void> {
    return this.opened.stop(async () => {
      this.isStopping = true;
      this.replicaHealth.stop();
      // No new commands, then leadership goes while the groups still run, so that clients hardly
      // notice (dissertation 3.10).
      await this.opened.finish('the last commands', INTAKE_MS_MAX, async () => {
        await this.leading.drain();
        await this.intake.empty();
      });
      await this.handOver();
      await this.opened.close().finally(() => this.health.end(this.life));
    });
  }

  /** Ends what it does by itself. */
  private async halt(): Promise<void> {
    // A start that fails half-way ends here, too: nothing that closes now is a failure.
    this.isStopping = true;
    this.replicaHealth.stop();
    this.feed.stop();
    this.endHolding?.();
    await this.runner.stop();
  }

  /** A message of NATS carries so many bytes now. */
  private carry(bytes: number): void {
    this.carriedBytes = bytes;
    this.dispatch((core) => core.carry(bytes));
    this.replicaHealth.onCarriedBytes(bytes);
  }

  /** Answers are on their way: commands that waited for that are stamped. */
  private onApplied(): void {
    if (this.core.isHolding) this.dispatch(() => undefined);
  }

  /** One event of the core, however many commands: they are stamped in one turn, in their order. */
  private offer(group: GroupId, commands: readonly ClientCommand[]): readonly (CommandRefusal | null)[] {
    let refusals: readonly (CommandRefusal | null)[] | undefined;
    this.dispatch((core) => {
      refusals = commands.map((command) => core.offer(group, command, command.after));
    });
    return refusals ?? commands.map(() => 'not-leader');
  }

  private status(): ServerStatus {
    const { server, cluster } = this.config;
    const protocol = { ...PROTOCOL, refused: this.envelopes.peers.refused };
    const { version: node } = process;
    const { logStore } = this.replicaHealth;
    const malformed = this.counts.malformed.value;
    const about = { server, cluster, version: VERSION, node, protocol, logStore, malformed };
    return serverStatus(this.core, about, this.clocks.physical());
  }

  /**
   * For `nats micro`: commands that came alone and in batches; those that were refused for load, or
   * since another server leads.
   */
  private list(): void {
    const { connection, subjects, config } = this;
    const { server, cluster } = config;
    const command = {
      ...{ name: 'command', subject: subjects.commands(), queueGroup: LEADERS_QUEUE },
      statistics: () => ({ requests: this.counts.commands.value, errors: this.counts.refusedForLoad }),
    };
    const description = 'Takes commands while it leads a group, and writes the logs of all groups';
    const service = { name: 'craft-replica', description, server, cluster, endpoints: [command] };
    listService(connection, service, this.replies);
  }

  private async handOver(): Promise<void> {
    if (this.hasFailed) return;
    const deadline = performance.now() + HAND_OVER_MS_MAX;
    const isInCharge = () => this.core.hasUnresolved || this.core.groups.some((group) => group.role === 'leader');
    while (isInCharge() && performance.now() < deadline) {
      this.dispatch((core) => core.handOver());
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  private onFatal(given: Error): void {
    this.hasFailed = true;
    this.feed.stop();
    this.fail(withWayOut(given, this.config));
  }
}
