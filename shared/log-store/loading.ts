/** What `load` gives, for the adapters that read entries back from where they lie. */
import type { LoadedGroup } from '../raft/durable.js';
import type { GroupId, LogEntry, LogIndex } from '../raft/entry.js';
import type { GroupHead } from './head.js';

/**
 * Every group with its tail. `read` gives entries of the range, at least one; the last entry is
 * read in any case, so that its loss shows.
 */
export async function loadGroups(
  heads: ReadonlyMap<GroupId, GroupHead>,
  read: (group: GroupId, from: LogIndex, to: LogIndex) => Promise<LogEntry[]>,
): Promise<Map<GroupId, LoadedGroup>> {
  const groups = new Map<GroupId, LoadedGroup>();
  for (const [group, head] of heads) {
    const tail: LogEntry[] = [];
    const from = Math.max(head.base.index + 1, Math.min(head.hardState.commitIndex, head.lastIndex));
    while (from + tail.length <= head.lastIndex) {
      for (const entry of await read(group, from + tail.length, head.lastIndex)) tail.push(entry);
    }
    groups.set(group, { ...head, tail });
  }
  return groups;
}
