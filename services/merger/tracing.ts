/**
 * The merger's spans: craft.merge, from the feed to the merged log. Of an entry that is not sampled
 * only its trace field is looked at, once; while no sampled entry is on its way nothing else is
 * done.
 */
import type { MergedRun } from '../../shared/merge/merge.js';
import { BEFORE_FIRST, EntryKind, type GroupId, type LogEntry, type LogIndex } from '../../shared/raft/entry.js';
import { ofGroup } from '../../shared/raft/lists.js';
import type { Tracing } from '../../shared/telemetry/tracing.js';
import { traceparentOf } from '../../shared/wire/command.js';
import { entryBody } from '../../shared/wire/entry-block.js';
import type { FeedGroup } from '../../shared/wire/feed.js';

/** Sampled entries on their way at once; of more there are no spans. */
const ARRIVED_MAX = 4_096;

/** A sampled entry that has no place yet. */
interface Arrived {
  readonly group: GroupId;
  readonly entry: LogEntry;
  readonly traceparent: string;
  readonly arrivedUs: number;
}

export class MergerTracing {
  private arrived: Arrived[] = [];
  /**
   * For each group the index of the last entry that was looked at, once one was: the feed may bring
   * one again.
   */
  private readonly lastIndexes: LogIndex[] = [];

  constructor(
    private readonly tracing: Tracing,
    private readonly nowUs: () => number,
  ) {}

  /** The feed has given this; nothing of it is in the merged log yet. */
  fed(groups: readonly FeedGroup[]): void {
    for (const { group, entries } of groups) for (const entry of entries) this.look(group, entry);
  }

  /** What the run holds has its final place. */
  emitted(run: MergedRun): void {
    if (this.arrived.length === 0) return;
    const { positions } = run.after;
    const isDone = ({ group, entry }: Arrived): boolean => entry.index <= ofGroup(positions, group);
    const endUs = this.nowUs();
    for (const one of this.arrived) if (isDone(one)) this.record(one, run, endUs);
    this.arrived = this.arrived.filter((one) => !isDone(one));
  }

  private look(group: GroupId, entry: LogEntry): void {
    if (entry.index <= (this.lastIndexes[group] ?? BEFORE_FIRST)) return;
    this.lastIndexes[group] = entry.index;
    const traceparent = entry.kind === EntryKind.command ? traceparentOf(entryBody(entry)) : '';
    if (traceparent === '' || this.arrived.length >= ARRIVED_MAX) return;
    this.arrived.push({ group, entry, traceparent, arrivedUs: this.nowUs() });
  }

  private record({ group, entry, traceparent, arrivedUs }: Arrived, run: MergedRun, endUs: number): void {
    const at = run.entries.indexOf(entry);
    // The merge went on from elsewhere, beyond this entry.
    if (at < 0) return;
    const { index, term, timestamp } = entry;
    const where = { group, index, term, timestamp, mergedIndex: run.firstMergedIndex + at };
    this.tracing.recordSpan('craft.merge', this.tracing.serverOf(traceparent), arrivedUs, endUs, where);
  }
}
