/**
 * Commands of one group whose leader this server was no longer when they were not yet committed
 * (T9).
 *
 * No other server can answer for them, and often the answer is near. The new leader commits
 * something of its own term. Then each of them is either committed as well or can never be. Only
 * what stays open for longer than that is told to be unknown.
 */
import type { LogEntry, LogIndex, MonotonicMs, Term } from '../../../shared/raft/entry.js';
import type { EntryOutcome, Group } from '../../../shared/raft/group.js';
import type { Placed, QueuedCommand } from './effect.js';

/** What a leadership leaves behind. */
export interface Leftover<C extends QueuedCommand> {
  readonly term: Term;
  /** What this server stamped in that term and is not committed, in order. */
  readonly entries: readonly LogEntry[];
  /** The watched and waiting commands among it. */
  readonly waiting: readonly Placed<C>[];
}

export interface Resolved<C extends QueuedCommand> extends Omit<Leftover<C>, 'term'> {
  readonly outcome: Exclude<EntryOutcome, 'open'>;
}

interface Held<C extends QueuedCommand> extends Leftover<C> {
  readonly untilMs: MonotonicMs;
}

/**
 * Leaderships of one group that may leave something behind at a time; of one more, the oldest is
 * given up.
 */
const HELD_MAX = 4;

export class UnresolvedCommands<C extends QueuedCommand> {
  private held: Held<C>[] = [];
  /** Outcomes change with the commit index only. */
  private lookedAt: LogIndex = -1;

  get isEmpty(): boolean {
    return this.held.length === 0;
  }

  /** `untilMs`: when to give up (monotonic). */
  add(leftover: Leftover<C>, untilMs: MonotonicMs): void {
    if (leftover.entries.length === 0) return;
    this.held.push({ ...leftover, untilMs });
    this.lookedAt = -1;
  }

  /** Takes out what is decided by now, in order, and what has waited for too long. */
  resolve(group: Pick<Group, 'commitIndex' | 'outcomeOf'>, nowMs: MonotonicMs): Resolved<C>[] {
    const [oldest] = this.held;
    if (oldest === undefined || (group.commitIndex === this.lookedAt && nowMs < oldest.untilMs)) return [];
    this.lookedAt = group.commitIndex;
    const resolved: Resolved<C>[] = [];
    const surplus = this.held.length - HELD_MAX;
    this.held = this.held.flatMap((held, i) => {
      const isOver = nowMs >= held.untilMs || i < surplus;
      const { open, ...known } = split(held, (index) => {
        const outcome = group.outcomeOf(index, held.term);
        return outcome === 'open' && isOver ? 'unknown' : outcome;
      });
      for (const outcome of ['committed', 'replaced', 'unknown'] as const) {
        if (known[outcome].entries.length > 0) resolved.push({ outcome, ...known[outcome] });
      }
      return open.entries.length > 0 ? [{ ...held, ...open }] : [];
    });
    return resolved;
  }
}

function split<C extends QueuedCommand>(
  { entries, waiting }: Leftover<C>,
  outcomeOf: (index: LogIndex) => EntryOutcome,
) {
  const none = () => ({ entries: [] as LogEntry[], waiting: [] as Placed<C>[] });
  const parts = { committed: none(), replaced: none(), open: none(), unknown: none() };
  for (const entry of entries) parts[outcomeOf(entry.index)].entries.push(entry);
  for (const placed of waiting) parts[outcomeOf(placed.index)].waiting.push(placed);
  return parts;
}
