/** Positions of a state in the logs of all groups, as requests and compactions look at them. */
import { type Index, LOG_START, type LogPosition } from '../../../../shared/raft/entry.js';

export function reaches(positions: readonly LogPosition[], atLeast: readonly Index[]): boolean {
  return atLeast.every((index, group) => (positions[group]?.index ?? 0) >= index);
}

/** One position for every group: an engine knows only those that it has had a command of. */
export function padded(positions: readonly LogPosition[], groups: number): LogPosition[] {
  return Array.from({ length: groups }, (_, group) => positions[group] ?? LOG_START);
}
