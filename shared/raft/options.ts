/** What a group is told once, at its start. */
import type { ClockGuard } from '../clock/guard.js';
import type { Configuration, EncodeEntry, GroupId, LogEntry, LogIndex, ServerId, Timestamp } from './entry.js';
import type { PromiseLimit } from './promise-limit.js';

/**
 * The part of the server's clock that a group uses. Physical time is fed in by the owner, once a
 * turn.
 */
export type GroupClock = Pick<ClockGuard, 'now' | 'peek' | 'observe' | 'bound' | 'mayLead' | 'mayPeerLead'>;

export interface GroupOptions {
  readonly group: GroupId;
  readonly server: ServerId;
  /**
   * The configuration that a group without any log starts with; without voters on a server that is
   * to join a cluster (T11).
   */
  readonly bootstrap: Configuration;
  readonly clock: GroupClock;
  readonly promiseLimit: PromiseLimit;
  readonly encodeEntry: EncodeEntry;
  /** The body of an entry of kind `configuration`, and what such an entry says. Must be pure. */
  readonly encodeConfiguration: (configuration: Configuration) => Uint8Array;
  readonly decodeConfiguration: (entry: LogEntry) => Configuration;
  /** Uniform in [0, 1); spreads election timeouts (Raft section 5.2). */
  readonly random: () => number;
  /**
   * A follower stands for election one to two times this after it last heard from a leader
   * (milliseconds).
   */
  readonly electionTimeoutMs: number;
  readonly heartbeatMs: number;
  /**
   * Leadership goes back to the preferred server when it has been well for this long
   * (milliseconds).
   */
  readonly handBackAfterMs: number;
  /** Most bytes of entries in one AppendEntries. */
  readonly appendBytesMax: number;
  /** Most AppendEntries with entries on the way to one follower, and most bytes in them. */
  readonly inflightMessagesMax: number;
  readonly inflightBytesMax: number;
  /** Uncommitted bytes beyond which proposals are refused. */
  readonly uncommittedBytesMax: number;
  /** Size of the window of entries kept in memory. */
  readonly windowBytesMax: number;
  /** Shortest time between two closes of this group (milliseconds, T5). */
  readonly closeIntervalMs: number;
}

export const GROUP_DEFAULTS = {
  electionTimeoutMs: 1_000,
  heartbeatMs: 100,
  handBackAfterMs: 3_000,
  appendBytesMax: 384 * 1024,
  inflightMessagesMax: 64,
  inflightBytesMax: 4 * 1024 * 1024,
  uncommittedBytesMax: 16 * 1024 * 1024,
  windowBytesMax: 8 * 1024 * 1024,
  closeIntervalMs: 1,
} as const;

/** Number of voters that form a quorum. */
export function quorumSize(configuration: Configuration): number {
  return (configuration.voters.length >> 1) + 1;
}

/**
 * The largest value that a quorum has reached, each voter by `reached`. A server that joins knows
 * no voters yet: there it is 0, before all that could be reached.
 */
export function reachedByQuorum<N extends LogIndex | Timestamp>(
  configuration: Configuration,
  reached: (voter: ServerId) => N,
): N {
  const values = configuration.voters.map(reached).sort((a, b) => b - a);
  return values[quorumSize(configuration) - 1] ?? (0 as N);
}

/** Group i prefers its voter i mod N as leader, so that leadership is spread over the servers. */
export function preferredLeader(group: GroupId, { voters }: Configuration): ServerId | null {
  return voters[group % Math.max(1, voters.length)] ?? null;
}
