import type { GroupId, LogIndex, ServerId } from '../../../shared/raft/entry.js';

/** A piece of a group's log that is wanted from the log store. */
export interface ReadEffect {
  readonly type: 'read';
  readonly group: GroupId;
  readonly from: LogIndex;
  readonly to: LogIndex;
  readonly bytesMax: number;
  /** A follower that lags, or null for the feed. */
  readonly follower: ServerId | null;
}
