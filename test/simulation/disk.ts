/**
 * The log store of a simulated server: exactly what is durable, and the one write on its way. A crash keeps the first and
 * lets chance decide about the second, all of it or nothing.
 */
import { type GroupHead, headsAfter } from '../../shared/log-store/head.js';
import type { LoadedGroup, LoadedState, WriteBatch } from '../../shared/log-store/port.js';
import { EntryKind, type GroupId, type Index, type LogEntry, type Timestamp } from '../../shared/raft/entry.js';

export const EMPTY_HEAD: GroupHead = {
  hardState: { term: 0, votedFor: null, commitIndex: 0 },
  lastIndex: 0,
  termStarts: [],
};

export interface StoredGroup {
  head: GroupHead;
  /** entries[i] has index i + 1. */
  readonly entries: LogEntry[];
}

export class SimulatedDisk {
  promiseLimit: Timestamp = 0;
  readonly groups = new Map<GroupId, StoredGroup>();

  /** Makes a batch durable. Throws LogStoreUsageError when it does not fit what is there. */
  land(batch: WriteBatch): void {
    const heads = headsAfter(batch, this.promiseLimit, (group) => this.groups.get(group)?.head ?? EMPTY_HEAD);
    this.promiseLimit = batch.promiseLimit ?? this.promiseLimit;
    for (const { group, truncateFrom, entries = [] } of batch.groups) {
      const stored = this.groups.get(group) ?? { head: EMPTY_HEAD, entries: [] };
      this.groups.set(group, stored);
      if (truncateFrom !== undefined) stored.entries.length = Math.min(stored.entries.length, truncateFrom - 1);
      for (const entry of entries) stored.entries.push(entry);
      stored.head = heads.get(group) ?? stored.head;
    }
  }

  /** What a restart finds: of each log no more than it must, and back to the last committed command (T6). */
  load(): LoadedState {
    const groups = new Map<GroupId, LoadedGroup>();
    for (const [group, { head, entries }] of this.groups) {
      const { commitIndex } = head.hardState;
      let first = Math.max(1, Math.min(commitIndex, head.lastIndex));
      while (first > 1 && entries[first - 1]?.kind !== EntryKind.command) first -= 1;
      groups.set(group, { ...head, tail: entries.slice(first - 1) });
    }
    return { promiseLimit: this.promiseLimit, groups };
  }

  read(group: GroupId, from: Index, to: Index, bytesMax: number): LogEntry[] {
    const entries = this.groups.get(group)?.entries ?? [];
    const result: LogEntry[] = [];
    let bytes = 0;
    for (let index = Math.max(1, from); index <= to && bytes < bytesMax; index++) {
      const entry = entries[index - 1];
      if (entry === undefined) break;
      result.push(entry);
      bytes += entry.bytes.length;
    }
    return result;
  }
}
