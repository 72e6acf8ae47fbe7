/**
 * The metrics of the applier: what it counts, and what each scrape reads of the state and its
 * queue.
 */
import type { LoadedMachine } from '../../shared/engine/loading.js';
import type { Applied, MergedCommand } from '../../shared/engine/port.js';
import type { WindowAnswer } from '../../shared/merge/window.js';
import { type MergedIndex, NOTHING_MERGED, type ServerId } from '../../shared/raft/entry.js';
import { lastOf } from '../../shared/raft/lists.js';
import { BATCH_SIZES, LATENCIES, type Metrics, SECONDS } from '../../shared/telemetry/metrics.js';
import { observeQueues, type QueueLevel } from '../../shared/telemetry/queues.js';
import type { Counter } from '../../shared/telemetry/samples.js';
import { MACHINE_COMMAND } from '../../shared/wire/machine.js';
import { RESTORE_COMMAND } from '../../shared/wire/restore.js';
import type { ApplierCore } from './core/applier.js';

export interface ApplierMetricsOptions {
  readonly metrics: Metrics;
  readonly server: ServerId;
  readonly loaded: LoadedMachine;
  readonly core: Pick<ApplierCore, 'appliedIndex' | 'queueFill' | 'refusal'>;
  /** The largest merged index that is known to be in the log. */
  readonly end: () => MergedIndex;
  /** The queues that are not the core's. */
  readonly queues: () => readonly QueueLevel[];
  /** The clock that stamps entries (microseconds since the Unix epoch). */
  readonly physical: () => number;
}

/** Runs that have come and are not applied; of more, the time of arrival is not known. */
const ARRIVALS_MAX = 4_096;

interface Arrival {
  readonly mergedIndex: MergedIndex;
  readonly atUs: number;
}

export class ApplierMetrics {
  readonly retries: Counter;
  readonly installs: Counter;
  readonly malformed: Counter;
  readonly repliesRefused: Counter;
  private readonly batchSizes;
  private readonly batchSeconds;
  private readonly commandsApplied: Counter;
  private readonly duplicates: Counter;
  private readonly failed: (command: string) => Counter;
  private readonly rejected: (command: string) => Counter;
  private readonly installFailures: Counter;
  private readonly ownDifferences: Counter;
  private readonly otherDifferences: Counter;
  private readonly merged;
  private readonly applied;
  private readonly answered;
  private arrivals: Arrival[] = [];
  /** When this life of the applier began (microseconds since the Unix epoch). */
  private readonly startUs: number;
  /**
   * The largest merged index that was answered in this life; it does not go back with the state.
   */
  private answeredIndex: MergedIndex = NOTHING_MERGED;

  constructor(private readonly options: ApplierMetricsOptions) {
    const { metrics, core, loaded, end, queues } = options;
    this.startUs = options.physical();
    this.batchSizes = metrics.histogram('applied_batch_commands', 'Commands in one transaction', BATCH_SIZES);
    this.batchSeconds = metrics.histogram('apply_seconds', 'Time of one transaction', SECONDS);
    this.commandsApplied = metrics.counter('applied_commands_total', 'Commands applied');
    this.duplicates = metrics.counter(
      'duplicate_commands_total',
      'Commands answered with the result of an earlier one',
    );
    const rejected = metrics.counterBy(
      'rejected_commands_total',
      'Commands that the state machine rejected; names that it does not have are `other`',
      ['machine', 'command'],
    );
    const failed = metrics.counterBy('failed_commands_total', 'Commands whose handler failed', ['machine', 'command']);
    this.rejected = byCommand(loaded, rejected);
    this.failed = byCommand(loaded, failed);
    this.retries = metrics.counter('apply_retries_total', 'Transactions that were tried again');
    this.installs = metrics.counter('snapshot_installs_total', 'Snapshots installed');
    this.installFailures = metrics.counter('snapshot_install_failures_total', 'Snapshots that could not be installed');
    this.malformed = metrics.counter('malformed_checkpoints_total', 'Malformed messages on the checkpoint subject');
    this.repliesRefused = metrics.counter(
      'replies_refused_total',
      'Requests without an answer: their reply subject is one of the services or of NATS',
    );
    const differences = metrics.counterBy(
      'differences_total',
      'Differences between servers that were found: `own` is a verdict on this server, `other` concerns others, or is not decided',
      'whose',
    );
    this.ownDifferences = differences('own');
    this.otherDifferences = differences('other');
    const seconds = metrics.histogramBy(
      'command_seconds',
      'Time from the proposal of a command of this server. `merged`: until the applier has it; `applied`: until it is applied here; `answered`: until its answer has left. In whole milliseconds',
      'stage',
      LATENCIES,
    );
    this.merged = seconds('merged');
    this.applied = seconds('applied');
    this.answered = seconds('answered');
    metrics.gauge('applied_index', 'Merged index of the last entry applied', () => core.appliedIndex);
    metrics.gauge('behind_entries', 'Entries of the merged log that are known here and not applied', () =>
      Math.max(0, end() - core.appliedIndex),
    );
    metrics.gauge('state_trusted', '1, or 0 while this state differs from the others', () =>
      core.refusal === undefined ? 1 : 0,
    );
    observeQueues(metrics, () => [{ queue: 'apply', ...core.queueFill }, ...queues()]);
  }

  /** These runs of the merged log have come; the first time counts. */
  onArrived(found: WindowAnswer): void {
    if (found === 'behind') return;
    const { arrivals } = this;
    const atUs = this.options.physical();
    for (const { after } of found) {
      const isNew = after.mergedIndex > (arrivals[arrivals.length - 1]?.mergedIndex ?? NOTHING_MERGED);
      if (isNew && arrivals.length < ARRIVALS_MAX) arrivals.push({ mergedIndex: after.mergedIndex, atUs });
    }
  }

  /** The state is at another place: runs come again. */
  onMoved(): void {
    this.arrivals = [];
  }

  /** A transaction is committed, after so many seconds. */
  onApplied(commands: readonly MergedCommand[], seconds: number): void {
    this.batchSizes.observe(commands.length);
    this.batchSeconds.observe(seconds);
    this.commandsApplied.add(commands.length);
    const { server, physical } = this.options;
    const nowUs = physical();
    const { arrivals } = this;
    let at = 0;
    for (const command of commands) {
      while ((arrivals[at]?.mergedIndex ?? Number.POSITIVE_INFINITY) < command.mergedIndex) at += 1;
      if (command.server !== server || !this.isFirst(command)) continue;
      const arrival = arrivals[at];
      if (arrival !== undefined) this.merged.observe((arrival.atUs - command.timestamp) / 1e6);
      this.applied.observe((nowUs - command.timestamp) / 1e6);
    }
    const last = lastOf(commands).mergedIndex;
    while ((arrivals[at]?.mergedIndex ?? Number.POSITIVE_INFINITY) <= last) at += 1;
    if (at > 0) arrivals.splice(0, at);
  }

  /** The answers to these commands have left: after `onApplied` of the same commands. */
  onAnswered(commands: readonly MergedCommand[], applied: readonly Applied[]): void {
    const { server, physical } = this.options;
    const nowUs = physical();
    for (let at = 0; at < commands.length; at++) {
      const command = commands[at];
      const result = applied[at];
      if (command === undefined || result === undefined || !this.isFirst(command)) continue;
      if (command.server === server && command.reply !== '') {
        this.answered.observe((nowUs - command.timestamp) / 1e6);
      }
      if (result.duplicate) this.duplicates.add();
      if (!result.outcome.ok) (result.outcome.failed ? this.failed : this.rejected)(command.name).add();
    }
    const last = lastOf(commands).mergedIndex;
    this.answeredIndex = Math.max(this.answeredIndex, last);
  }

  onInstallFailed(): void {
    this.installFailures.add();
  }

  onDifference(isOwn: boolean): void {
    (isOwn ? this.ownDifferences : this.otherDifferences).add();
  }

  /**
   * Commands are applied again after a rebuild, and from a database or a snapshot that was put
   * back. Their age says nothing of the cluster, and their outcomes were counted the first time.
   */
  private isFirst({ timestamp, mergedIndex }: MergedCommand): boolean {
    return timestamp >= this.startUs && mergedIndex > this.answeredIndex;
  }
}

/**
 * Clients choose names: those that no loaded version has share one counter. All begin at 0, so that
 * the first failure is an increase, and each is looked up once.
 */
function byCommand(
  { name, versions }: LoadedMachine,
  counterOf: (machine: string, command: string) => Counter,
): (command: string) => Counter {
  const known = versions.flatMap(({ contract }) => Object.keys(contract.commands));
  const other = counterOf(name, 'other');
  const counters = new Map([...known, MACHINE_COMMAND, RESTORE_COMMAND].map((one) => [one, counterOf(name, one)]));
  return (command) => counters.get(command) ?? other;
}
