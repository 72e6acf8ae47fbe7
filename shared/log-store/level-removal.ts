/**
 * The records that a base has left behind (T10). Nothing reads them: a group's log begins after its base. They are deleted a bounded
 * number at a time along with the writes that follow, after a restart too, and what that frees is given back to the file
 * system: LevelDB alone would keep deleted records until later writes happen to lie over them.
 */
import type { GroupId, Index } from '../raft/entry.js';
import type { GroupHead } from './head.js';
import type { LevelDatabase, Operation } from './level-database.js';
import { indexOfKey, recordKey } from './level-record.js';

/** Records deleted by one write. A write adds one record a group at most, so that removal outruns any load. */
const RECORDS_PER_WRITE_MAX = 256;
/** Deleted records are compacted away when they take about this much of the tables (bytes). */
const COMPACTED_BYTES_MIN = 4 * 1024 * 1024;

export class LevelRemoval {
  /** By group: all records with a last index up to here are deleted. Unknown, so 0, after a restart. */
  readonly #doneUpTo = new Map<GroupId, Index>();
  readonly #uncompacted = new Set<GroupId>();
  #isCompacting = false;

  constructor(private readonly database: LevelDatabase) {}

  /**
   * Adds deletions to a write after which the heads are `heads`. Returns what to call when that write is durable.
   * Rejects when the database cannot be read.
   */
  async add(operations: Operation[], heads: Iterable<readonly [GroupId, GroupHead]>): Promise<() => void> {
    const removed = new Map<GroupId, Index>();
    let budget = RECORDS_PER_WRITE_MAX;
    for (const [group, { base }] of heads) {
      const done = this.#doneUpTo.get(group) ?? 0;
      if (base.index <= done || budget === 0) continue;
      const keys = await this.database.keys(recordKey(group, done + 1), recordKey(group, base.index), budget);
      for (const key of keys) operations.push({ type: 'del', key });
      removed.set(group, keys.length < budget ? base.index : indexOfKey(keys.at(-1) ?? ''));
      budget -= keys.length;
    }
    return () => this.#onDurable(removed);
  }

  #onDurable(removed: ReadonlyMap<GroupId, Index>): void {
    if (removed.size === 0) return;
    for (const [group, index] of removed) {
      this.#doneUpTo.set(group, index);
      this.#uncompacted.add(group);
    }
    if (!this.#isCompacting) void this.#compact();
  }

  /** In the background, one group after the other. A failure is that of the disk, and shows at the next write. */
  async #compact(): Promise<void> {
    this.#isCompacting = true;
    for (const group of this.#uncompacted) {
      this.#uncompacted.delete(group);
      const last = recordKey(group, this.#doneUpTo.get(group) ?? 0);
      await this.database.compact(recordKey(group, 0), last, COMPACTED_BYTES_MIN).catch(() => undefined);
    }
    this.#isCompacting = false;
  }
}
