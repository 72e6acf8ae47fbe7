/**
 * MemoryLogStore: the logs of one server in memory, for tests and simulation. It has no clock of
 * its own: its driver says when a write becomes durable, when its caller hears of that, and
 * when the machine crashes.
 */

import { demand, EMPTY_HEAD, type GroupHead, headsAfter } from '../../shared/log-store/head.js';
import { type LoadedState, type LogStore, LogStoreWriteError, type WriteBatch } from '../../shared/log-store/port.js';
import type { GroupId, LogEntry, LogIndex, Timestamp } from '../../shared/raft/entry.js';
import { keptEntries } from './kept-entries.js';

/** A write on its way to the disk. */
export interface PendingWrite {
  readonly batch: WriteBatch;
  /** Makes the write survive a crash; its caller does not know yet. */
  persist(): void;
  /** Makes the write durable, if it is not, and resolves the caller's promise. */
  complete(): void;
  /**
   * Rejects the caller's promise with LogStoreWriteError; nothing has changed. Not after `persist`.
   */
  fail(cause?: unknown): void;
}

export interface MemoryLogStoreOptions {
  /**
   * Called with every write, within the call of `write`; default: complete it when the caller has
   * returned.
   */
  readonly onWrite?: (write: PendingWrite) => void;
}

interface MemoryGroup {
  readonly head: GroupHead;
  /**
   * entries[i] has index base.index + 1 + i. Never shortened: a write makes a new array when it
   * drops some, else appends.
   */
  readonly entries: LogEntry[];
}

const EMPTY_GROUP: MemoryGroup = { head: EMPTY_HEAD, entries: [] };

export class MemoryLogStore implements LogStore {
  readonly #onWrite: (write: PendingWrite) => void;
  #promiseLimit: Timestamp = 0;
  #groups = new Map<GroupId, MemoryGroup>();
  #state: 'open' | 'closed' | 'crashed' = 'open';
  #writing: Promise<void> | undefined;

  constructor(options: MemoryLogStoreOptions = {}) {
    this.#onWrite = options.onWrite ?? ((write) => queueMicrotask(() => write.complete()));
  }

  async load(): Promise<LoadedState> {
    this.#demandOpen();
    const groups = new Map(
      [...this.#groups].map(([group, { head, entries }]) => [
        group,
        { ...head, tail: entries.slice(Math.max(0, head.hardState.commitIndex - 1 - head.base.index)) },
      ]),
    );
    return { promiseLimit: this.#promiseLimit, groups };
  }

  write(batch: WriteBatch): Promise<void> {
    this.#demandOpen();
    demand(this.#writing === undefined, 'a write is in flight');
    const heads = headsAfter(batch, this.#promiseLimit, (group) => this.#groups.get(group)?.head ?? EMPTY_HEAD);
    const writing = new Promise<void>((resolve, reject) => {
      let stage: 'pending' | 'durable' | 'ended' = 'pending';
      const persist = () => {
        // After a crash the write belongs to a machine that is gone.
        if (stage !== 'pending' || this.#state === 'crashed') return;
        this.#apply(batch, heads);
        stage = 'durable';
      };
      const end = (settle: () => void) => {
        if (stage === 'ended' || this.#state === 'crashed') return;
        stage = 'ended';
        this.#writing = undefined;
        settle();
      };
      // The hook may end the write at once, so the field is set before it is called.
      this.#writing = Promise.resolve();
      this.#onWrite({
        batch,
        persist,
        complete: () => {
          persist();
          end(resolve);
        },
        fail: (cause) => {
          demand(stage !== 'durable', 'a durable write cannot fail');
          end(() => reject(new LogStoreWriteError('the write failed', { cause })));
        },
      });
    });
    if (this.#writing !== undefined) this.#writing = writing;
    return writing;
  }

  async read(group: GroupId, from: LogIndex, to: LogIndex, bytesMax: number): Promise<LogEntry[]> {
    this.#demandOpen();
    const { head, entries } = this.#groups.get(group) ?? EMPTY_GROUP;
    const result: LogEntry[] = [];
    let bytes = 0;
    for (let index = Math.max(1, from); index <= to; index++) {
      const entry = entries[index - 1 - head.base.index];
      if (entry === undefined) break;
      result.push(entry);
      bytes += entry.bytes.length;
      if (bytes >= bytesMax) break;
    }
    return result;
  }

  async close(): Promise<void> {
    if (this.#state !== 'open') return;
    await this.#writing?.catch(() => undefined);
    this.#state = 'closed';
  }

  /**
   * The machine stops here. Gives the store that it finds when it starts again: exactly what was
   * durable. Promises of this store that are open stay open for ever, as for a process that is
   * gone; any further call is refused.
   */
  crash(options: MemoryLogStoreOptions = { onWrite: this.#onWrite }): MemoryLogStore {
    const next = new MemoryLogStore(options);
    next.#promiseLimit = this.#promiseLimit;
    next.#groups = new Map(
      [...this.#groups].map(([group, value]) => [group, { ...value, entries: [...value.entries] }]),
    );
    this.#state = 'crashed';
    return next;
  }

  #apply(batch: WriteBatch, heads: ReadonlyMap<GroupId, GroupHead>): void {
    this.#promiseLimit = batch.promiseLimit ?? this.#promiseLimit;
    for (const write of batch.groups) {
      const head = heads.get(write.group);
      const stored = this.#groups.get(write.group) ?? { head: EMPTY_HEAD, entries: [] };
      const entries = keptEntries(stored.head, stored.entries, write);
      for (const entry of write.entries ?? []) entries.push(entry);
      if (head !== undefined) this.#groups.set(write.group, { head, entries });
    }
  }

  #demandOpen(): void {
    demand(this.#state === 'open', `the store is ${this.#state}`);
  }
}
