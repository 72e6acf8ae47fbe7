/**
 * The log store of a simulated server: exactly what is durable, and the one write on its way. A
 * crash keeps the first and lets chance decide about the second, all of it or nothing.
 */
import { EMPTY_HEAD, type GroupHead, headsAfter } from '../../shared/log-store/head.js';
import type { LoadedState, WriteBatch } from '../../shared/log-store/port.js';
import type { LoadedGroup } from '../../shared/raft/durable.js';
import { EntryKind, type GroupId, type LogEntry, type LogIndex, type Timestamp } from '../../shared/raft/entry.js';
import { keptEntries } from '../memory/kept-entries.js';

export interface StoredGroup {
  head: GroupHead;
  /** entries[i] has index base.index + 1 + i. */
  entries: LogEntry[];
}

export class SimulatedDisk {
  promiseLimit: Timestamp = 0;
  readonly groups = new Map<GroupId, StoredGroup>();

  /** Makes a batch durable. Throws LogStoreUsageError when it does not fit what is there. */
  land(batch: WriteBatch): void {
    const heads = headsAfter(batch, this.promiseLimit, (group) => this.groups.get(group)?.head ?? EMPTY_HEAD);
    this.promiseLimit = batch.promiseLimit ?? this.promiseLimit;
    for (const write of batch.groups) {
      const stored = this.groups.get(write.group) ?? { head: EMPTY_HEAD, entries: [] };
      this.groups.set(write.group, stored);
      stored.entries = keptEntries(stored.head, stored.entries, write);
      for (const entry of write.entries ?? []) stored.entries.push(entry);
      stored.head = heads.get(write.group) ?? stored.head;
    }
  }

  /**
   * What a restart finds: of each log no more than it must, and back to the last committed command
   * above the base (T6).
   */
  load(): LoadedState {
    const groups = new Map<GroupId, LoadedGroup>();
    for (const [group, { head, entries }] of this.groups) {
      const begin = head.base.index + 1;
      let first = Math.max(begin, Math.min(head.hardState.commitIndex, head.lastIndex));
      while (first > begin && entries[first - begin]?.kind !== EntryKind.command) first -= 1;
      groups.set(group, { ...head, tail: entries.slice(first - begin) });
    }
    return { promiseLimit: this.promiseLimit, groups };
  }

  /** Undefined past the end, and at or below the base. */
  at(group: GroupId, index: LogIndex): LogEntry | undefined {
    const stored = this.groups.get(group);
    return stored?.entries[index - 1 - stored.head.base.index];
  }

  read(group: GroupId, from: LogIndex, to: LogIndex, bytesMax: number): LogEntry[] {
    const result: LogEntry[] = [];
    let bytes = 0;
    for (let index = Math.max(1, from); index <= to && bytes < bytesMax; index++) {
      const entry = this.at(group, index);
      if (entry === undefined) break;
      result.push(entry);
      bytes += entry.bytes.length;
    }
    return result;
  }
}
