/**
 * Does the effects of the replica core, except for those on the log store, which are the
 * executor's. They become envelopes, answers, subscriptions, spans and metrics.
 */
import type { GroupId } from '../../shared/raft/entry.js';
import type { Logger, WarnOccasionally } from '../../shared/telemetry/log.js';
import type { ClientCommand, Ingress } from './commands.js';
import type { Effect, Placed } from './core/effect.js';
import type { ReplicaCore } from './core/server.js';
import type { Envelopes } from './envelopes.js';
import type { EffectOf, Outside } from './executor.js';
import type { FeedServer } from './feed-server.js';
import type { Locating } from './locating.js';
import type { ReplicaMetrics } from './metrics.js';
import type { ReplicaHealth } from './replica-health.js';
import type { ReplicaRequests } from './requests.js';
import type { LeaderSubscriptions } from './subscriptions.js';
import type { ReplicaTracing } from './tracing.js';
import type { Transport } from './transport.js';

type Of<T extends Effect<ClientCommand>['type']> = EffectOf<ClientCommand, T>;

export interface EffectsOptions {
  readonly core: ReplicaCore<ClientCommand>;
  readonly transport: Transport;
  readonly envelopes: Envelopes;
  readonly ingress: Ingress;
  readonly leading: LeaderSubscriptions;
  readonly feed: FeedServer;
  readonly requests: ReplicaRequests;
  readonly locating: Locating;
  readonly counts: ReplicaMetrics;
  readonly spans: ReplicaTracing;
  readonly isTraced: boolean;
  readonly health: ReplicaHealth;
  readonly logger: Logger;
  readonly warn: WarnOccasionally;
  /** The service cannot go on. */
  readonly onFatal: (error: Error) => void;
}

export class Effects implements Outside<ClientCommand> {
  readonly onFatal: (error: Error) => void;

  constructor(private readonly options: EffectsOptions) {
    this.onFatal = options.onFatal;
  }

  send(effect: Of<'send'>): void {
    this.options.envelopes.send(effect);
  }

  committed({ group, placed }: Of<'committed'>): void {
    this.options.spans.onCommitted(group, placed);
    if (placed.command.acknowledgement === 'committed') this.acknowledge(group, placed);
  }

  ordered({ group, placed }: Of<'ordered'>): void {
    this.options.spans.onOrdered(group, placed);
    this.acknowledge(group, placed);
  }

  refused({ commands, reason }: Of<'refused'>): void {
    const { ingress, spans } = this.options;
    for (const command of commands) {
      const { code } = ingress.refuse(command, reason);
      spans.onRefused(command, code);
    }
  }

  leading({ group, term }: Of<'leading'>): void {
    const { logger, counts, leading } = this.options;
    logger.info({ group, term }, 'leading');
    counts.onLeading(group);
    leading.start(group);
  }

  lost({ group, term }: Of<'lost'>): void {
    const { logger, counts, leading } = this.options;
    logger.info({ group, term }, 'no longer leading');
    counts.onLost(group);
    void leading.stop(group);
  }

  failed(effect: Of<'failed'>): void {
    const { ingress, spans } = this.options;
    ingress.answerLost(effect);
    for (const placed of effect.waiting) spans.onFailed(effect.group, placed, effect.outcome);
  }

  feed(effect: Of<'feed'>): void {
    this.options.feed.answer(effect);
  }

  barrier(effect: Of<'barrier'>): void {
    this.options.requests.answerBarrier(effect);
  }

  snapshotNeeded(effect: Of<'snapshot-needed'>): void {
    void this.options.locating.locate(effect);
  }

  impossible({ from, group, what }: Of<'impossible'>): void {
    const { counts, transport } = this.options;
    counts.onImpossible();
    transport.drop(`a message that no correct server can have sent to group ${group}`, `${from}: ${what}`);
  }

  clockRefused({ what, group, timestamp }: Of<'clock-refused'>): void {
    const { warn, core } = this.options;
    warn('a clock is too far off', { what, group, timestamp, offsetUs: core.clock.offsetUs() });
  }

  onWrite({ batch }: Of<'write'>): () => void {
    const { spans, counts } = this.options;
    const onDurable = spans.onWrite(batch);
    const observe = counts.onWrite(batch);
    return () => {
      observe();
      onDurable?.();
    };
  }

  onTurn(): void {
    const { health, counts, spans, isTraced } = this.options;
    health.onTurn();
    counts.onTurn();
    if (isTraced) spans.onTurn();
  }

  onStoreError(error: Error): void {
    this.options.counts.onStoreError();
    this.options.health.onStoreError(error);
  }

  onStoreRecovered(): void {
    this.options.health.onStoreRecovered();
  }

  /** T7: the replica's part of the answers. */
  private acknowledge(group: GroupId, placed: Placed<ClientCommand>): void {
    if (!placed.command.isAwaited) return;
    this.options.ingress.acknowledge(group, placed);
    this.options.counts.onAnswered(placed.timestamp);
  }
}
