import type { GroupId, Index, ServerId } from '../../../shared/raft/entry.js';

/** A piece of a group's log that is wanted from the log store. */
export interface ReadEffect {
  readonly type: 'read';
  readonly group: GroupId;
  readonly from: Index;
  readonly to: Index;
  readonly bytesMax: number;
  /** A follower that lags, or null for the feed. */
  readonly follower: ServerId | null;
}
