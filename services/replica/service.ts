/**
 * The replica service: all groups of one server. This file only connects the parts: the log store,
 * the core with its runner, and the NATS subjects for Raft messages, commands, the merger's feed
 * and administration.
 */

import type { Msg, NatsConnection } from '@nats-io/nats-core';
import type { ReplicaConfig } from '../../shared/config/config.js';
import type { Opened } from '../../shared/config/opened.js';
import type { Service } from '../../shared/config/service.js';
import { VERSION } from '../../shared/config/version.js';
import type { Admission } from '../../shared/engine/admission.js';
import { Lasting, type ServiceHealth, TROUBLE_MS, type Trouble } from '../../shared/health/health.js';
import type { Links } from '../../shared/link/links.js';
import type { LogStore, WriteBatch } from '../../shared/log-store/port.js';
import type { GroupId, LogIndex } from '../../shared/raft/entry.js';
import { type Logger, warnOccasionally } from '../../shared/telemetry/log.js';
import type { Metrics } from '../../shared/telemetry/metrics.js';
import { watchNats } from '../../shared/telemetry/nats-watch.js';
import { spanTimeUs } from '../../shared/telemetry/time.js';
import type { Tracing } from '../../shared/telemetry/tracing.js';
import { encodeBarrierReply } from '../../shared/wire/barrier.js';
import { closedForGood, onCarriedBytes } from '../../shared/wire/connection.js';
import { decodeEnvelope, type Envelope, encodeEnvelope } from '../../shared/wire/envelope.js';
import {
  decodeFeedRequest,
  encodeFeedReply,
  type FeedReply,
  type FeedRequestFields,
  MERGER_HEADER,
  mergerHeader,
  protocolHeader,
} from '../../shared/wire/feed.js';
import { parseJson } from '../../shared/wire/json.js';
import { versionNotice } from '../../shared/wire/machine.js';
import { listService } from '../../shared/wire/micro.js';
import { PROTOCOL, ProtocolError, readable } from '../../shared/wire/protocol.js';
import { REPLY_REFUSED, ReplyGuard } from '../../shared/wire/reply-guard.js';
import { LEADERS_QUEUE, Subjects } from '../../shared/wire/subjects.js';
import { WireError } from '../../shared/wire/wire-error.js';
import { type ClientCommand, Ingress } from './commands.js';
import { BARRIERS_MAX } from './core/barrier.js';
import type { CommandRefusal, Placed } from './core/effect.js';
import type { FeedRequest } from './core/feed.js';
import type { ReplicaCore } from './core/server.js';
import { withWayOut } from './damage.js';
import type { Outside } from './executor.js';
import { Intake } from './intake.js';
import { Mergers } from './mergers.js';
import { ReplicaMetrics } from './metrics.js';
import { Peers } from './peers.js';
import { PendingRequests } from './pending-requests.js';
import { Probes } from './probes.js';
import { ReplicaRequests } from './requests.js';
import { type Clocks, Runner } from './runner.js';
import { type LogStoreStatus, serverStatus } from './status.js';
import { LeaderSubscriptions } from './subscriptions.js';
import { ReplicaTracing } from './tracing.js';

/** How long a stop waits for commands that have arrived to be stamped (milliseconds). */
const INTAKE_MS_MAX = 3_000;
/** How long a stop waits for its leaderships to be taken over (milliseconds). */
const HAND_OVER_MS_MAX = 3_000;
/** How long a stop waits for the write in flight (milliseconds). */
const WRITE_MS_MAX = 5_000;
/** Between two looks at the own clock (milliseconds). */
const CLOCK_LOOK_MS = 1_000;
/** Polls of mergers: more than one is only there while one merger replaces another. */
const FEEDS_MAX = 8;
const NO_DATA = new Uint8Array(0);

export class ReplicaService implements Service {
  readonly name = 'replica';
  private readonly life: number;
  readonly failed: Promise<Error>;
  private fail: (error: Error) => void = () => undefined;
  private readonly subjects: Subjects;
  private readonly runner: Runner<ClientCommand>;
  private readonly ingress: Ingress;
  private readonly leading: LeaderSubscriptions;
  private readonly feed: PendingRequests<FeedRequest, FeedReply>;
  private readonly barriers: PendingRequests<undefined, readonly LogIndex[]>;
  private endFeed: () => void = () => undefined;
  private endHolding: () => void = () => undefined;
  private readonly mergers = new Mergers();
  private readonly peers = new Peers();
  private readonly probes: Probes;
  private readonly requests: ReplicaRequests;
  private readonly spans: ReplicaTracing;
  private readonly warn;
  private readonly counts: ReplicaMetrics;
  private readonly replies: ReplyGuard;
  /** What one message of NATS carries (bytes of entries, or of a command). */
  private carriedBytes = Number.POSITIVE_INFINITY;
  private readonly intake: Intake;
  private clockWatch: NodeJS.Timeout | undefined;
  private isClockWrong = false;
  private isStopping = false;
  private hasFailed = false;

  constructor(
    private readonly config: ReplicaConfig,
    private readonly connection: NatsConnection,
    store: LogStore,
    private readonly core: ReplicaCore<ClientCommand>,
    private readonly admission: Admission,
    private readonly logger: Logger,
    private readonly metrics: Metrics,
    private readonly tracing: Tracing,
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
    this.subjects = new Subjects(config.cluster);
    this.warn = warnOccasionally(logger);
    this.intake = new Intake({
      nowMs: () => performance.now(),
      defer: (action, afterMs) => void (afterMs > 0 ? setTimeout(action, Math.ceil(afterMs)) : setImmediate(action)),
    });
    this.counts = new ReplicaMetrics({ metrics, core, intake: this.intake, physical: () => clocks.physical() });
    this.replies = new ReplyGuard(this.subjects, config.natsInboxPrefix, (reply) => {
      this.counts.repliesRefused.add();
      this.warn(REPLY_REFUSED, reply);
    });
    this.spans = new ReplicaTracing(tracing, this.subjects.rpc(config.server), core.groups);
    this.runner = new Runner<ClientCommand>(core, store, this.outside(), clocks);
    const { server, payloadBytesMax } = config;
    this.ingress = new Ingress(
      {
        server,
        replies: this.replies,
        machine: admission,
        payloadBytesMax: () => Math.min(payloadBytesMax, this.carriedBytes),
        refusal: (group, acknowledgement) => core.refusal(group, acknowledgement),
        offer: (group, commands) => this.offer(group, commands),
        onRefused: (code) => this.counts.onRefused(code),
        onFailure: (what, error) => this.warn(what, error),
      },
      connection,
      tracing,
    );
    this.leading = new LeaderSubscriptions(connection, this.subjects, server, {
      take: (message, name, group) => {
        this.counts.commands.add();
        const receivedUs = tracing.enabled ? spanTimeUs() : 0;
        const shed = () => this.ingress.shed(message);
        this.takeIn('command', message, () => this.ingress.take(message, name, group, receivedUs), shed);
      },
      takeBatch: (message, group) => {
        const receivedUs = tracing.enabled ? spanTimeUs() : 0;
        const shed = () => this.ingress.shedBatch(message);
        const take = () => this.counts.commands.add(this.ingress.takeBatch(message, group, receivedUs));
        this.takeIn('batch', message, take, shed);
      },
      takeRestore: (message, group) => {
        if (this.replies.allowsService(message.reply))
          this.guard('restore', () => this.ingress.takeRestore(message, group));
      },
      takeVerify: (message, group) => {
        if (this.replies.allowsClient(message.reply))
          this.guard('verify', () => this.ingress.takeVerify(message, group));
      },
      takeMachine: (message, group) => {
        if (this.replies.allowsClient(message.reply))
          this.guard('machine', () => this.ingress.takeMachine(message, group));
      },
    });
    this.feed = new PendingRequests(
      FEEDS_MAX,
      (id, request: FeedRequest) => this.runner.dispatch((core) => core.poll(id, request)),
      (id) => this.runner.dispatch((core) => core.forgetPoll(id)),
    );
    this.barriers = new PendingRequests(
      BARRIERS_MAX,
      (id) => this.runner.dispatch((core) => core.barrier(id)),
      (id) => this.runner.dispatch((core) => core.forgetBarrier(id)),
    );
    this.probes = new Probes(connection, (peer) => this.runner.dispatch((core) => core.unreachable(peer)));
    this.requests = new ReplicaRequests({
      connection,
      subjects: this.subjects,
      server,
      groups: config.groups,
      runner: this.runner,
      listen: (subject, take, asker) => this.listen(subject, take, asker),
      logger,
      warn: this.warn,
      health,
    });
  }

  /** Whatever is on when this throws ends when `opened` is closed. */
  start(): void {
    const { connection, health, metrics } = this;
    this.opened.own('the replica', () => this.halt(), { msMax: WRITE_MS_MAX });
    this.endHolding = this.links.applied?.onAdvanced(() => this.onApplied()) ?? this.endHolding;
    this.runner.start();
    this.probes.start();
    this.requests.start();
    this.watch();
    this.subscribe();
    this.list();
    void watchNats(connection, this.warn, health, metrics);
    onCarriedBytes(connection, (bytes) => this.carry(bytes));
    this.clockWatch = setInterval(() => this.lookAtClock(), CLOCK_LOOK_MS);
    this.clockWatch.unref();
    void closedForGood(connection).then((error) => {
      if (!this.isStopping) this.onFatal(error);
    });
  }

  async stop(): Promise<void> {
    if (this.isStopping) return;
    this.isStopping = true;
    clearInterval(this.clockWatch);
    // No new commands, then leadership goes while the groups still run, so that clients hardly
    // notice (dissertation 3.10).
    await this.opened.finish('the last commands', INTAKE_MS_MAX, async () => {
      await this.leading.drain();
      await this.intake.empty();
    });
    await this.handOver();
    await this.opened.close().finally(() => this.health.end(this.life));
  }

  /** Ends what it does by itself. */
  private async halt(): Promise<void> {
    // A start that fails half-way ends here, too: nothing that closes now is a failure.
    this.isStopping = true;
    clearInterval(this.clockWatch);
    this.endFeed();
    this.endHolding();
    await this.runner.stop();
  }

  /** A message of NATS carries so many bytes now. */
  private carry(bytes: number): void {
    this.carriedBytes = bytes;
    this.runner.dispatch((core) => core.carry(bytes));
    const { payloadBytesMax } = this.config;
    const isEnough = bytes >= payloadBytesMax;
    const why = `max_payload of the NATS server leaves ${bytes} bytes for a command, and CRAFT_PAYLOAD_BYTES_MAX is ${payloadBytesMax}. Larger commands are refused, and larger entries of the log are not replicated`;
    this.health.report('max-payload', isEnough ? undefined : { why });
    if (isEnough) return;
    this.warn(
      `max_payload of the NATS server is too small for CRAFT_PAYLOAD_BYTES_MAX. Commands of more than ${bytes} bytes are refused, and larger entries of the log are not replicated`,
      { payloadBytesMax },
    );
  }

  /** Answers are on their way: commands that waited for that are stamped. */
  private onApplied(): void {
    if (this.core.isHolding) this.runner.dispatch(() => undefined);
  }

  private takeIn(what: string, message: Msg, take: () => void, shed: () => void): void {
    if (!this.replies.allowsClient(message.reply)) return;
    this.intake.take({
      bytes: message.data.length,
      run: () => this.guard(what, take),
      shed: () => {
        this.counts.shed.add();
        this.guard(what, shed);
      },
    });
  }

  /** One event of the core, however many commands: they are stamped in one turn, in their order. */
  private offer(group: GroupId, commands: readonly ClientCommand[]): readonly (CommandRefusal | null)[] {
    let refusals: readonly (CommandRefusal | null)[] | undefined;
    this.runner.dispatch((core) => {
      refusals = commands.map((command) => core.offer(group, command, command.after));
    });
    return refusals ?? commands.map(() => 'not-leader');
  }

  private subscribe(): void {
    const { connection, subjects, config } = this;
    this.listen(subjects.rpc(config.server), (message) => {
      const envelope = this.read(message.data);
      this.runner.dispatch((core) => {
        if (!core.receive(envelope)) this.drop('an envelope with other groups than this cluster has', envelope.from);
      });
    });
    this.listen(subjects.feed(config.server), (message) => {
      const request = this.readFeedRequest(message);
      const newer = this.mergers.newerThan(message.headers?.get(MERGER_HEADER) ?? '');
      if (newer !== undefined) message.respond(NO_DATA, { headers: mergerHeader(newer) });
      else if (message.reply) this.feed.add(request, (reply) => message.respond(encodeFeedReply(reply)));
    });
    this.endFeed =
      this.links.feed?.serve((merger, request, answer) => {
        const newer = this.mergers.newerThan(merger);
        if (newer === undefined) this.feed.add(request, answer);
        else answer({ newer });
      }) ?? this.endFeed;
    this.listen(subjects.barrier(config.server), (message) => {
      if (message.reply) this.barriers.add(undefined, (positions) => message.respond(encodeBarrierReply(positions)));
    });
    this.listen(subjects.version(config.server), (message) => {
      this.admission.onInForce(parseJson(message.data, versionNotice));
    });
    for (const subject of [subjects.admin('status'), subjects.admin('status', config.server)]) {
      this.listen(
        subject,
        (message) => {
          const { server, cluster } = config;
          const { malformed } = this.counts;
          const logStore = this.logStoreStatus();
          const protocol = { ...PROTOCOL, refused: this.peers.refused };
          const { version: node } = process;
          const about = { server, cluster, version: VERSION, node, protocol, logStore, malformed: malformed.value };
          message.respond(JSON.stringify(serverStatus(this.core, about, this.clocks.physical())));
        },
        'client',
      );
    }
    this.logger.info({ nats: connection.getServer(), groups: config.groups }, 'replica started');
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

  private read(data: Uint8Array): Envelope {
    try {
      const envelope = decodeEnvelope(data, this.config.server);
      this.peers.understand(envelope.from);
      return envelope;
    } catch (error) {
      if (error instanceof ProtocolError) this.peers.refuse(error.from, error.protocol);
      throw error;
    }
  }

  /** A merger of another build is told why it gets nothing. */
  private readFeedRequest(message: Msg): FeedRequestFields {
    try {
      return decodeFeedRequest(message.data, this.config.groups);
    } catch (error) {
      if (error instanceof ProtocolError && message.reply) message.respond(NO_DATA, { headers: protocolHeader() });
      throw error;
    }
  }

  /**
   * Whatever arrives on a subject that any client may publish to. Nothing of it may throw out of
   * the callback.
   */
  private listen(subject: string, take: (message: Msg) => void, asker: 'service' | 'client' = 'service'): void {
    const { replies } = this;
    const allows = (reply: string | undefined) =>
      asker === 'service' ? replies.allowsService(reply) : replies.allowsClient(reply);
    this.connection.subscribe(subject, {
      callback: (error, message) => {
        if (error === null && allows(message.reply)) this.guard(subject, () => take(message));
      },
    });
  }

  private guard(what: string, action: () => void): void {
    try {
      action();
    } catch (error) {
      if (error instanceof WireError) this.drop(`malformed message on ${what}`, error.message);
      else this.warn(`failed on ${what}`, error);
    }
  }

  /**
   * A message that cannot be sent is a lost message: the protocol sends it again, and the log says
   * so.
   */
  private publish(subject: string, data: Uint8Array, reply?: string): void {
    this.guard(subject, () => this.connection.publish(subject, data, reply === undefined ? undefined : { reply }));
  }

  private drop(kind: string, detail: string): void {
    this.counts.malformed.add();
    this.warn(kind, detail);
  }

  /** What becomes of the core's effects, and of the log store. */
  private outside(): Outside<ClientCommand> {
    return {
      send: ({ to, envelope, isProbe }) => {
        const reply = isProbe ? this.probes.replyFor(to) : undefined;
        this.publish(this.subjects.rpc(to), encodeEnvelope(envelope), reply);
      },
      committed: ({ group, placed }) => {
        this.spans.onCommitted(group, placed);
        if (placed.command.acknowledgement === 'committed') this.acknowledge(group, placed);
      },
      ordered: ({ group, placed }) => {
        this.spans.onOrdered(group, placed);
        this.acknowledge(group, placed);
      },
      refused: ({ commands, reason }) => {
        for (const command of commands) this.onRefused(command, reason);
      },
      leading: ({ group, term }) => {
        this.logger.info({ group, term }, 'leading');
        this.counts.onLeading(group);
        if (!this.isStopping) this.leading.start(group);
      },
      lost: ({ group, term }) => {
        this.logger.info({ group, term }, 'no longer leading');
        this.counts.onLost(group);
        void this.leading.stop(group);
      },
      failed: (effect) => {
        this.ingress.answerLost(effect);
        for (const placed of effect.waiting) this.spans.onFailed(effect.group, placed, effect.outcome);
      },
      feed: (effect) => this.guard('feed', () => this.feed.answer(effect.request, effect)),
      barrier: ({ request, positions }) => this.barriers.answer(request, positions),
      snapshotNeeded: ({ atLeast }) => void this.requests.install(atLeast),
      impossible: ({ from, group, what }) => {
        this.counts.onImpossible();
        this.drop(`a message that no correct server can have sent to group ${group}`, `${from}: ${what}`);
      },
      clockRefused: ({ what, group, timestamp }) => {
        this.warn('a clock is too far off', { what, group, timestamp, offsetUs: this.core.clock.offsetUs() });
      },
      onWrite: ({ batch }) => this.onWrite(batch),
      onStoreError: (error) => this.onStoreError(error),
      onStoreRecovered: () => this.onStoreRecovered(),
      onTurn: () => {
        this.health.turned('the core of the groups');
        this.counts.onTurn();
        if (this.tracing.enabled) this.spans.onTurn();
      },
      onFatal: (error) => this.onFatal(error),
    };
  }

  /** A follower that nobody asks to lead would not notice, and nobody else would say so. */
  private lookAtClock(): void {
    const { clock } = this.core;
    if (clock.mayLead() !== this.isClockWrong) return;
    this.isClockWrong = !this.isClockWrong;
    const offsetUs = Math.round(clock.offsetUs());
    if (this.isClockWrong)
      this.logger.error({ offsetUs }, 'the clock of this server is too far off: it leads nothing until that is right');
    else this.logger.info({ offsetUs }, 'the clock of this server is right again: it may lead');
  }

  /** T7: the replica's part of the answers. */
  private acknowledge(group: GroupId, placed: Placed<ClientCommand>): void {
    this.ingress.acknowledge(group, placed);
    this.counts.onAnswered(placed.timestamp);
  }

  private onWrite(batch: WriteBatch): () => void {
    const onDurable = this.spans.onWrite(batch);
    const observe = this.counts.onWrite(batch);
    return () => {
      observe();
      onDurable?.();
    };
  }

  private onStoreError(error: Error): void {
    this.counts.onStoreError();
    this.warn('log store failed; this server leads nothing and acknowledges nothing until it recovers', error);
    this.health.report('log-store', error);
  }

  private logStoreStatus(): LogStoreStatus {
    const { ok, since, why = '' } = this.health.condition('log-store');
    return ok ? { ok } : { ok, since: new Date(since).toISOString(), error: why };
  }

  private onStoreRecovered(): void {
    this.logger.info('the log store takes writes again');
    this.health.report('log-store', undefined);
  }

  private onRefused(command: ClientCommand, reason: CommandRefusal): void {
    const { code } = this.ingress.refuse(command, reason);
    this.spans.onRefused(command, code);
  }

  private async handOver(): Promise<void> {
    if (this.hasFailed) return;
    const deadline = performance.now() + HAND_OVER_MS_MAX;
    const isInCharge = () => this.core.hasUnresolved || this.core.groups.some((group) => group.role === 'leader');
    while (isInCharge() && performance.now() < deadline) {
      this.runner.dispatch((core) => core.handOver());
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** What may hang, and what comes and goes. */
  private watch(): void {
    const { health, core, config } = this;
    const { server } = config;
    health.watchPosition(() => core.groups.reduce((sum, group) => sum + group.commitIndex, 0));
    health.watch('clock', () => {
      if (core.clock.mayLead()) return undefined;
      const ms = core.clock.offsetUs() / 1_000;
      return { why: `the clock of ${server} is ${ms.toFixed(1)} ms off, too far to lead` };
    });
    const leaderless = new Lasting<number>(TROUBLE_MS);
    health.watch('leader', (): Trouble | undefined => {
      const isMember = ({ configuration: { voters, learners } }: (typeof core.groups)[number]) =>
        voters.includes(server) || learners.includes(server);
      const { lasting, forMs } = leaderless.see(
        core.groups.flatMap((group, id) => (group.leader === null && isMember(group) ? [id] : [])),
      );
      if (lasting.length === 0) return undefined;
      const groups = lasting.length === 1 ? `group ${lasting[0]} has` : `groups ${lasting.join(', ')} have`;
      return { why: `${groups} no leader that ${server} knows of: no quorum of voters is heard`, forMs };
    });
    health.watch('protocol', () => {
      const [peer] = this.peers.refused;
      if (peer === undefined) return undefined;
      const reads = readable(PROTOCOL);
      return { why: `it reads protocol ${reads}, and ${peer.server} writes ${peer.protocol}` };
    });
  }

  private onFatal(given: Error): void {
    this.hasFailed = true;
    this.endFeed();
    this.fail(withWayOut(given, this.config));
  }
}
