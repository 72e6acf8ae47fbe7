/** What `<c>.admin.status` says of one server. */

import type { GroupId, LogIndex, Term, Timestamp } from '../../shared/raft/entry.js';
import type { Group } from '../../shared/raft/group.js';
import type { Protocol } from '../../shared/wire/protocol.js';
import type { QueuedCommand } from './core/effect.js';
import type { ReplicaCore } from './core/server.js';
import type { RefusedPeer } from './peers.js';

interface GroupStatus {
  readonly group: GroupId;
  readonly role: string;
  readonly leader: string | null;
  readonly term: Term;
  readonly voters: readonly string[];
  readonly learners: readonly string[];
  /** The log begins after this index; what is before is covered by snapshots (T10). */
  readonly baseIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly commitIndex: LogIndex;
  /** Microseconds since the Unix epoch; no entry at or below it is still to come (T3). */
  readonly watermark: Timestamp;
  /** The leader's own largest claim; 0 elsewhere (T2). */
  readonly closed: number;
}

export interface ServerStatus {
  readonly server: string;
  readonly cluster: string;
  readonly version: string;
  /**
   * Version of Node.js that its replica runs on: handlers may compute other results on another one.
   */
  readonly node: string;
  /** What this build writes and reads, and the servers whose messages it cannot read. */
  readonly protocol: Protocol & { readonly refused: readonly RefusedPeer[] };
  readonly groups: readonly GroupStatus[];
  readonly clock: {
    /** Reference time minus this server's clock (microseconds). */
    readonly offsetUs: number;
    /** Whether it is near enough for this server to lead. */
    readonly ok: boolean;
    /** What this server's clock shows (microseconds since the Unix epoch). */
    readonly nowUs: number;
  };
  readonly logStore: LogStoreStatus;
  /** Messages on internal subjects that were dropped because they could not be understood. */
  readonly malformed: number;
}

/**
 * Whether the log store takes writes; while it does not, this server leads nothing and acknowledges
 * nothing.
 */
export type LogStoreStatus =
  | { readonly ok: true }
  | { readonly ok: false; readonly since: string; readonly error: string };

export function serverStatus<C extends QueuedCommand>(
  core: ReplicaCore<C>,
  about: Pick<ServerStatus, 'server' | 'cluster' | 'version' | 'node' | 'protocol' | 'logStore' | 'malformed'>,
  nowUs: number,
): ServerStatus {
  return {
    server: about.server,
    cluster: about.cluster,
    version: about.version,
    node: about.node,
    protocol: about.protocol,
    groups: core.groups.map(groupStatus),
    clock: { offsetUs: Math.round(core.clock.offsetUs()), ok: core.clock.mayLead(), nowUs },
    logStore: about.logStore,
    malformed: about.malformed,
  };
}

function groupStatus(group: Group, id: GroupId): GroupStatus {
  const { role, leader, term, lastIndex, commitIndex, watermark, closed } = group;
  const { voters, learners } = group.configuration;
  const baseIndex = group.base.index;
  return { group: id, role, leader, term, voters, learners, baseIndex, lastIndex, commitIndex, watermark, closed };
}
