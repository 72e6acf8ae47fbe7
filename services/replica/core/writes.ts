/**
 * What the groups of a server must have durable: one write for all of them at a time. It also
 * raises the promise limit (T2). What waits for a write leaves when that is durable, and not
 * before.
 */
import type { GroupWrite, WriteBatch } from '../../../shared/log-store/port.js';
import { assert } from '../../../shared/raft/assert.js';
import type { MonotonicMs, Timestamp } from '../../../shared/raft/entry.js';
import type { Group, PendingWrite } from '../../../shared/raft/group.js';
import type { Message } from '../../../shared/raft/message.js';
import type { PromiseLimit } from '../../../shared/raft/promise-limit.js';

/** What one group put into a write, and what waits for it. */
interface GroupPending {
  readonly group: Group;
  readonly write: PendingWrite;
}

/** The write that the store works on, tried again for as long as it fails. */
interface InFlight {
  readonly batch: WriteBatch;
  readonly pending: readonly GroupPending[];
  readonly limit: Timestamp | null;
  /** Since its first try (milliseconds, monotonic). */
  readonly sinceMs: MonotonicMs;
}

export class Writes {
  private inFlight: InFlight | null = null;

  constructor(
    private readonly groups: readonly Group[],
    private readonly limit: PromiseLimit,
    /** The store is to make this durable. */
    private readonly emit: (batch: WriteBatch) => void,
    /** What this message attests is durable. */
    private readonly release: (message: Message) => void,
  ) {}

  get isUnderWay(): boolean {
    return this.inFlight !== null;
  }

  /** How long the write in flight has made no progress (milliseconds); 0 when there is none. */
  stuckMs(nowMs: MonotonicMs): number {
    return this.inFlight === null ? 0 : nowMs - this.inFlight.sinceMs;
  }

  /**
   * Gives the next write to the store. True when nothing had to be written but something could be
   * released.
   */
  begin(nowMs: MonotonicMs): boolean {
    const pending: GroupPending[] = [];
    const groups: GroupWrite[] = [];
    for (const [id, group] of this.groups.entries()) {
      const write = group.takeWrite();
      if (write === null) continue;
      pending.push({ group, write });
      if (write.write !== null) groups.push({ group: id, ...write.write });
    }
    const trusted = Math.max(0, ...this.groups.map(({ trustedTimestamp }) => trustedTimestamp));
    const limit = this.limit.forWrite(trusted, groups.length > 0);
    if (groups.length === 0 && limit === null) {
      this.finish(pending, nowMs);
      return pending.length > 0;
    }
    const batch: WriteBatch = limit === null ? { groups } : { groups, promiseLimit: limit };
    this.inFlight = { batch, pending, limit, sinceMs: nowMs };
    this.emit(batch);
    return false;
  }

  /** The write in flight is durable. */
  done(nowMs: MonotonicMs): void {
    const { inFlight } = this;
    assert(inFlight !== null, 'a write is in flight');
    this.inFlight = null;
    if (inFlight.limit !== null) this.limit.written(inFlight.limit);
    this.finish(inFlight.pending, nowMs);
    if (inFlight.limit !== null) for (const group of this.groups) group.limitRaised(nowMs);
  }

  /** The write in flight has failed and changed nothing: the same batch is to be tried again. */
  retry(): void {
    assert(this.inFlight !== null, 'a write is in flight');
    this.emit(this.inFlight.batch);
  }

  private finish(pending: readonly GroupPending[], nowMs: MonotonicMs): void {
    for (const { group, write } of pending) {
      for (const message of write.after) this.release(message);
      group.written(write, nowMs);
    }
  }
}
