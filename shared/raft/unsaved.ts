/** What of a group no write has been given yet: the next one takes it. */
import type { DurableChange } from './durable.js';
import { type HardState, indexAfter, type LogIndex, type PlacedConfiguration } from './entry.js';
import type { RaftLog } from './log.js';

/** What a group has in memory. */
interface InMemory extends HardState {
  readonly log: RaftLog;
  readonly configurations: readonly PlacedConfiguration[];
}

export class Unsaved {
  /** The term or the vote is another one. */
  hardState = false;
  configurations = false;
  private base = false;
  private truncateFrom: LogIndex | null = null;

  /** @param from First index of the log that is not saved. */
  constructor(public from: LogIndex) {}

  /** The log has lost everything from `from` on. */
  onTruncated(from: LogIndex): void {
    if (from >= this.from) return;
    this.truncateFrom = this.truncateFrom === null ? from : Math.min(this.truncateFrom, from);
    this.from = from;
  }

  /** The log begins after `base` now, and keeps what follows. */
  onCompacted(base: LogIndex): void {
    this.base = true;
    this.from = Math.max(this.from, indexAfter(base));
    // What is stored beyond a conflict below the base has another term there, and goes with it.
    if (this.truncateFrom !== null && this.truncateFrom <= base) this.truncateFrom = null;
  }

  /** The log begins after `base` now, and is empty. */
  onReplaced(base: LogIndex): void {
    this.base = true;
    this.configurations = true;
    this.truncateFrom = null;
    this.from = indexAfter(base);
  }

  /** For the next write; null when everything is saved. */
  take({ log, term, votedFor, commitIndex, configurations }: InMemory): DurableChange | null {
    const { from, truncateFrom } = this;
    const hasEntries = from <= log.lastIndex;
    if (!this.hardState && !this.configurations && !this.base && truncateFrom === null && !hasEntries) return null;
    const change: DurableChange = {
      // The commit index is only a hint for a restart, so it rides along and never causes a write.
      hardState: { term, votedFor, commitIndex },
      ...(this.configurations ? { configurations: [...configurations] } : {}),
      ...(this.base ? { base: log.base } : {}),
      ...(truncateFrom === null ? {} : { truncateFrom }),
      ...(hasEntries ? { entries: log.slice(from, log.lastIndex, Number.POSITIVE_INFINITY) } : {}),
    };
    this.hardState = false;
    this.configurations = false;
    this.base = false;
    this.truncateFrom = null;
    this.from = indexAfter(log.lastIndex);
    return change;
  }
}
