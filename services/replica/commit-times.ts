/**
 * How long what a leader appends takes until it is committed. Pure: it is shown the groups after
 * each turn, with the time (milliseconds, monotonic). Entries of one turn share a mark, so that the
 * cost is one of turns and not of commands.
 */
import type { GroupId, LogIndex, MonotonicMs, Term } from '../../shared/raft/entry.js';
import type { Group } from '../../shared/raft/group.js';

type Seen = Pick<Group, 'role' | 'term' | 'lastIndex' | 'commitIndex'>;

export interface CommitTimesEvents {
  /** This server has appended so many entries as the leader of the group. */
  appended(group: GroupId, entries: number): void;
  /** So many entries are committed, so long after they were appended (seconds). */
  committed(seconds: number, entries: number): void;
}

/** Turns of one group whose entries wait; of more, entries count as those of the last one. */
export const MARKS_MAX = 1_024;

/** Entries up to `index` were appended by then. */
interface Mark {
  index: LogIndex;
  readonly atMs: MonotonicMs;
}

/** One leadership. */
interface Led {
  readonly term: Term;
  lastIndex: LogIndex;
  /** What is committed, or was there before this leadership. */
  doneIndex: LogIndex;
  marks: Mark[];
}

export class CommitTimes {
  private readonly led = new Map<GroupId, Led>();

  constructor(private readonly events: CommitTimesEvents) {}

  /** What this server no longer leads is forgotten: others may commit it, or nobody. */
  see(groups: readonly Seen[], nowMs: MonotonicMs): void {
    for (const [id, group] of groups.entries()) {
      if (group.role !== 'leader') this.led.delete(id);
      else this.seeLed(id, group, nowMs);
    }
  }

  private seeLed(id: GroupId, { term, lastIndex, commitIndex }: Seen, nowMs: MonotonicMs): void {
    let led = this.led.get(id);
    if (led === undefined || led.term !== term) {
      led = { term, lastIndex, doneIndex: lastIndex, marks: [] };
      this.led.set(id, led);
    }
    if (lastIndex > led.lastIndex) {
      this.events.appended(id, lastIndex - led.lastIndex);
      led.lastIndex = lastIndex;
      const last = led.marks[led.marks.length - 1];
      if (last !== undefined && led.marks.length >= MARKS_MAX) last.index = lastIndex;
      else led.marks.push({ index: lastIndex, atMs: nowMs });
    }
    if (commitIndex > led.doneIndex) this.commit(led, commitIndex, nowMs);
  }

  private commit(led: Led, commitIndex: LogIndex, nowMs: MonotonicMs): void {
    let passed = 0;
    for (const { index, atMs } of led.marks) {
      const reached = Math.min(index, commitIndex);
      if (reached > led.doneIndex) this.events.committed((nowMs - atMs) / 1_000, reached - led.doneIndex);
      led.doneIndex = Math.max(led.doneIndex, reached);
      if (index > commitIndex) break;
      passed += 1;
    }
    if (passed > 0) led.marks.splice(0, passed);
  }
}
