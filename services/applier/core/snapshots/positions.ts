/** Positions of a state in the logs of all groups, as requests and compactions look at them. */
import { positionIn } from '../../../../shared/engine/port.js';
import type { LogIndex, LogPosition } from '../../../../shared/raft/entry.js';

export function reaches(positions: readonly LogPosition[], atLeast: readonly LogIndex[]): boolean {
  return atLeast.every((index, group) => positionIn(positions, group).index >= index);
}

/** One position for every group. */
export function padded(positions: readonly LogPosition[], groups: number): LogPosition[] {
  return Array.from({ length: groups }, (_, group) => positionIn(positions, group));
}
