/**
 * What a restart needs beyond what the log store loads by itself. Each group's window must reach
 * back to its last committed command above its base, which a read barrier is about (T6). Behind it
 * there may be any number of no-ops.
 */
import type { LoadedState, LogStore } from '../../shared/log-store/port.js';
import type { LoadedGroup } from '../../shared/raft/durable.js';
import { EntryKind, type GroupId, type LogEntry } from '../../shared/raft/entry.js';

/** Entries read back at once. */
const STEP = 256;
const STEP_BYTES_MAX = 1024 * 1024;

/**
 * The loaded state with its tails extended as far back as needed. Rejects with what the store
 * rejects with.
 */
export async function completeTails(store: LogStore, loaded: LoadedState): Promise<LoadedState> {
  const groups = new Map<GroupId, LoadedGroup>();
  for (const [id, group] of loaded.groups) groups.set(id, { ...group, tail: await completeTail(store, id, group) });
  return { ...loaded, groups };
}

async function completeTail(store: LogStore, id: GroupId, group: LoadedGroup): Promise<readonly LogEntry[]> {
  let tail = group.tail;
  const { commitIndex } = group.hardState;
  const begin = group.base.index + 1;
  const hasCommand = () => tail.some((entry) => entry.kind === EntryKind.command && entry.index <= commitIndex);
  let first = tail[0]?.index ?? group.lastIndex + 1;
  while (first > begin && !hasCommand()) {
    const to = first - 1;
    const from = Math.max(begin, first - STEP);
    let earlier: LogEntry[] = [];
    // Large entries may take more than one read for the same step.
    for (let next = from; next <= to; next = (earlier[earlier.length - 1]?.index ?? to) + 1) {
      const read = await store.read(id, next, to, STEP_BYTES_MAX);
      if (read.length === 0) return tail;
      earlier = [...earlier, ...read];
    }
    tail = [...earlier, ...tail];
    first = from;
  }
  return tail;
}
