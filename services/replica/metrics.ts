/**
 * The metrics of the replica: what it counts, and what is read of the groups, the clock and the
 * queues at each scrape.
 */
import type { WriteBatch } from '../../shared/log-store/port.js';
import type { GroupId, Timestamp } from '../../shared/raft/entry.js';
import { ofGroup } from '../../shared/raft/lists.js';
import { BATCH_SIZES, LATENCIES, type Metrics, SECONDS } from '../../shared/telemetry/metrics.js';
import { observeQueues, type QueueLevel } from '../../shared/telemetry/queues.js';
import type { Counter, Series } from '../../shared/telemetry/samples.js';
import { ErrorCode } from '../../shared/wire/errors.js';
import { CommitTimes } from './commit-times.js';
import type { QueuedCommand } from './core/effect.js';
import type { ReplicaCore } from './core/server.js';
import { type Intake, WAITING_BYTES_MAX, WAITING_MAX } from './intake.js';

export interface ReplicaMetricsOptions {
  readonly metrics: Metrics;
  readonly core: Pick<ReplicaCore<QueuedCommand>, 'groups' | 'clock' | 'loads' | 'barrierFill'>;
  readonly intake: Pick<Intake, 'waiting'>;
  /** The clock that stamps entries (microseconds since the Unix epoch). */
  readonly physical: () => Timestamp;
}

/** Errors that say nothing of the command itself. */
const LOAD: readonly ErrorCode[] = ['OVERLOADED', 'NOT_LEADER', 'UNAVAILABLE'];

export class ReplicaMetrics {
  readonly commands: Counter;
  readonly shed: Counter;
  readonly malformed: Counter;
  readonly repliesRefused: Counter;
  private readonly impossible: Counter;
  private readonly storeErrors: Counter;
  private readonly refusals: Readonly<Record<ErrorCode, Counter>>;
  private readonly started: readonly Counter[];
  private readonly won: readonly Counter[];
  private readonly lost: readonly Counter[];
  private readonly writeSeconds;
  private readonly writeEntries;
  private readonly durable;
  private readonly answered;
  private readonly times: CommitTimes;

  constructor(private readonly options: ReplicaMetricsOptions) {
    const { metrics, core } = options;
    this.commands = metrics.counter('commands_total', 'Commands received from clients');
    this.shed = metrics.counter('commands_shed_total', 'Messages of clients that were refused unread: too many waited');
    const refused = metrics.counterBy(
      'commands_refused_total',
      'Commands refused by the replica, by error code',
      'code',
    );
    this.refusals = Object.fromEntries(Object.keys(ErrorCode).map((code) => [code, refused(code)])) as Record<
      ErrorCode,
      Counter
    >;
    this.malformed = metrics.counter(
      'malformed_messages_total',
      'Messages on internal subjects that were dropped: malformed, or impossible',
    );
    this.impossible = metrics.counter(
      'impossible_messages_total',
      'Messages dropped because no correct server can have sent them',
    );
    this.repliesRefused = metrics.counter(
      'replies_refused_total',
      'Requests without an answer: their reply subject is one of the services or of NATS',
    );
    this.storeErrors = metrics.counter(
      'log_store_errors_total',
      'Writes and reads of the log store that failed, or hang',
    );
    this.writeSeconds = metrics.histogram(
      'log_write_seconds',
      'Time of one write to the log store, with its fsync',
      SECONDS,
    );
    this.writeEntries = metrics.histogram('log_write_entries', 'Entries in one write to the log store', BATCH_SIZES);
    const seconds = metrics.histogramBy(
      'command_seconds',
      'Time from the proposal of a command of this server until it is `committed`, or `answered` by the replica itself. `durable`: from the start of the write until it is durable here',
      'stage',
      LATENCIES,
    );
    this.durable = seconds('durable');
    this.answered = seconds('answered');
    const committed = seconds('committed');
    const appended = metrics.counterBy('proposals_total', 'Entries appended as the leader of the group', 'group');
    const started = metrics.counterBy(
      'elections_started_total',
      'Elections that this server has stood in, after a pre-vote or a hand-over',
      'group',
    );
    const won = metrics.counterBy('elections_won_total', 'Elections that this server has won', 'group');
    const lost = metrics.counterBy('leaderships_lost_total', 'Leaderships of this server that have ended', 'group');
    const perGroup = (of: (group: string) => Counter) => core.groups.map((_, group) => of(`${group}`));
    const proposals = perGroup(appended);
    this.started = perGroup(started);
    this.won = perGroup(won);
    this.lost = perGroup(lost);
    this.times = new CommitTimes({
      appended: (group, entries) => ofGroup(proposals, group).add(entries),
      committed: (after, entries) => committed.observe(after, entries),
    });
    this.observeGroups();
    observeQueues(metrics, () => this.queues());
  }

  /** Commands refused for load, or because another server leads. */
  get refusedForLoad(): number {
    return LOAD.reduce((sum, code) => sum + this.refusals[code].value, 0);
  }

  onRefused(code: ErrorCode): void {
    this.refusals[code].add();
  }

  onLeading(group: GroupId): void {
    ofGroup(this.won, group).add();
  }

  onLost(group: GroupId): void {
    ofGroup(this.lost, group).add();
  }

  onImpossible(): void {
    this.impossible.add();
  }

  onStoreError(): void {
    this.storeErrors.add();
  }

  /**
   * The replica itself has answered a command that was stamped then (microseconds since the Unix
   * epoch).
   */
  onAnswered(timestamp: Timestamp): void {
    this.answered.observe((this.options.physical() - timestamp) / 1e6);
  }

  /** A write begins. Returns what to call when it is durable. */
  onWrite({ groups }: WriteBatch): () => void {
    const { core } = this.options;
    const startMs = performance.now();
    let all = 0;
    let own = 0;
    for (const { group, entries } of groups) {
      const count = entries?.length ?? 0;
      all += count;
      // What a leader stamps is in the write of the same turn.
      if (ofGroup(core.groups, group).role === 'leader') own += count;
    }
    return () => {
      const seconds = (performance.now() - startMs) / 1_000;
      this.writeSeconds.observe(seconds);
      if (all > 0) this.writeEntries.observe(all);
      if (own > 0) this.durable.observe(seconds, own);
    };
  }

  /** The core has had a turn. */
  onTurn(): void {
    const { groups } = this.options.core;
    this.times.see(groups, performance.now());
    for (const [id, counter] of this.started.entries()) counter.value = ofGroup(groups, id).elections;
  }

  private observeGroups(): void {
    const { metrics, core, physical } = this.options;
    const { groups } = core;
    type Group = (typeof groups)[number];
    const each = (read: (group: Group) => number) => (): Series =>
      groups.map((group, id) => [[`${id}`], read(group)] as const);
    metrics.gauge('groups', 'Groups of the cluster', () => groups.length);
    metrics.gauge('groups_led', 'Groups that this server leads', () => {
      return groups.filter((group) => group.role === 'leader').length;
    });
    metrics.gaugeBy(
      'group_leads',
      'Whether this server leads the group: 1, else 0',
      'group',
      each(({ role }) => (role === 'leader' ? 1 : 0)),
    );
    metrics.gaugeBy('group_leader', 'Always 1: the leader that this server knows', ['group', 'leader'], () =>
      groups.flatMap(({ leader }, id) => (leader === null ? [] : [[[`${id}`, leader], 1] as const])),
    );
    metrics.gaugeBy(
      'group_term',
      'Raft term of the group',
      'group',
      each(({ term }) => term),
    );
    metrics.gaugeBy(
      'last_index',
      'Index of the last entry of the log of the group',
      'group',
      each(({ lastIndex }) => lastIndex),
    );
    metrics.gaugeBy(
      'commit_index',
      'Index of the last entry of the group that is known to be committed',
      'group',
      each(({ commitIndex }) => commitIndex),
    );
    metrics.gaugeBy(
      'log_base_index',
      'Index up to which snapshots have replaced the log of the group',
      'group',
      each(({ base }) => base.index),
    );
    metrics.gaugeBy(
      'follower_lag_entries',
      'Entries of the group that a follower is not known to have. Counted by its leader, once the follower has answered it',
      ['group', 'follower'],
      () =>
        groups.flatMap((group, id) =>
          [...group.followers()]
            // 0: the leader is new, and does not know yet what this follower has.
            .filter(([, at]) => at > 0)
            .map(([follower, at]) => [[`${id}`, follower], group.lastIndex - at] as const),
        ),
    );
    metrics.gauge('committed_entries', 'Sum of the commit indexes of all groups', () => {
      return groups.reduce((sum, group) => sum + group.commitIndex, 0);
    });
    metrics.gaugeBy(
      'watermark_age_seconds',
      'Age of the watermark of the group by the own clock; it grows while no entry waits for it',
      'group',
      // There is none before the first message of a leader.
      () =>
        groups.flatMap(({ watermark }, id) =>
          watermark > 0 ? [[[`${id}`], (physical() - watermark) / 1e6] as const] : [],
        ),
    );
    metrics.gauge('clock_offset_seconds', 'Reference time minus own clock', () => core.clock.offsetUs() / 1e6);
  }

  private queues(): QueueLevel[] {
    const { core, intake } = this.options;
    const { waiting } = intake;
    const intakes = (['small', 'large'] as const).map((size) => ({
      queue: `intake-${size}`,
      items: { now: waiting[size].items, max: WAITING_MAX },
      bytes: { now: waiting[size].bytes, max: WAITING_BYTES_MAX },
    }));
    const perGroup = core
      .loads()
      .flatMap(({ uncommittedBytes, acknowledgements, backlog }, group) => [
        { queue: 'uncommitted', group, bytes: uncommittedBytes },
        { queue: 'acknowledgements', group, items: acknowledgements },
        ...(backlog === undefined ? [] : [{ queue: 'backlog', group, items: backlog }]),
      ]);
    return [...intakes, { queue: 'barriers', items: core.barrierFill }, ...perGroup];
  }
}
