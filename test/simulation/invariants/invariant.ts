/**
 * What an invariant may be told of; each file here has one, which takes the hooks that it needs.
 */
import type { Acknowledgement, CommandRefusal, Placed } from '../../../services/replica/core/effect.js';
import type { ReplicaCore } from '../../../services/replica/core/server.js';
import type { Applied, MergedCommand } from '../../../shared/engine/port.js';
import type { WriteBatch } from '../../../shared/log-store/port.js';
import type { MergedRun } from '../../../shared/merge/merge.js';
import type { GroupId, LogEntry, LogIndex } from '../../../shared/raft/entry.js';
import type { Group } from '../../../shared/raft/group.js';
import type { Message } from '../../../shared/raft/message.js';
import type { Envelope } from '../../../shared/wire/envelope.js';
import type { Acknowledged, Operation, ReadResult } from '../clients.js';
import type { Created, Ledger } from '../ledger.js';
import type { SimulatedCommand } from '../replica.js';
import type { SimulatedServer } from '../server.js';
import type { SimulatedSnapshot } from '../snapshots.js';
import { Violation, type World } from '../world.js';

export interface Invariant {
  readonly name: string;
  /** An entry exists for the first time: its leader has made it. */
  onCreated?(server: SimulatedServer, group: GroupId, created: Created): void;
  /** An entry is in the log (in memory) of a server. */
  onAppended?(server: SimulatedServer, group: GroupId, entry: LogEntry, created: Created): void;
  /**
   * A server has dropped everything from `from` on. `wasLeading`: it has led without a break since
   * before.
   */
  onTruncated?(server: SimulatedServer, group: GroupId, from: LogIndex, wasLeading: boolean): void;
  /** A snapshot covers more of a server's log than before (T10). */
  onBase?(server: SimulatedServer, group: GroupId, core: Group): void;
  onLeader?(server: SimulatedServer, group: GroupId, core: Group): void;
  /**
   * The commit index of a server has passed an entry; `isFirst`: nobody had committed it before.
   */
  onCommitted?(server: SimulatedServer, group: GroupId, entry: LogEntry, core: Group, isFirst: boolean): void;
  /** Commit index or watermark of a server has moved, or it has just started. */
  onMoved?(server: SimulatedServer, group: GroupId, core: Group): void;
  /** A message leaves a server. */
  onSent?(server: SimulatedServer, core: ReplicaCore<SimulatedCommand>, message: Message): void;
  /** An envelope leaves a server; `onSent` has been told of its messages. */
  onEnvelope?(server: SimulatedServer, envelope: Envelope): void;
  /** A write has become durable. */
  onLanded?(server: SimulatedServer, batch: WriteBatch): void;
  onStart?(server: SimulatedServer): void;
  /** The merger of a server has given a run its place. */
  onMerged?(server: SimulatedServer, run: MergedRun): void;
  /** A message has entered the stream of a server. */
  onStored?(server: SimulatedServer, run: MergedRun): void;
  onApplied?(server: SimulatedServer, commands: readonly MergedCommand[], applied: readonly Applied[]): void;
  /** The replica says that a command is committed, or that its place is final. */
  onPlaced?(
    what: 'committed' | 'ordered',
    server: SimulatedServer,
    group: GroupId,
    placed: Placed<SimulatedCommand>,
  ): void;
  /** A server's applier says that its state differs from that of a majority. */
  onVerdict?(server: SimulatedServer, reason: string): void;
  /** Its database has that from now on. */
  onVerdictKept?(server: SimulatedServer): void;
  /** A server's state becomes that of a snapshot. */
  onInstalled?(server: SimulatedServer, snapshot: SimulatedSnapshot): void;
  /** A snapshot counts from now on. */
  onConfirmed?(server: SimulatedServer, snapshot: SimulatedSnapshot): void;
  onDatabaseLost?(server: SimulatedServer): void;
  /** Something that was read from the state of a server goes to a client. */
  onServed?(server: SimulatedServer): void;
  onInvoked?(operation: Operation): void;
  onAcknowledged?(operation: Operation, level: Acknowledgement, tag: string, what: Acknowledged): void;
  onRead?(operation: Operation, result: ReadResult): void;
  onRefused?(operation: Operation, tag: string, reason: CommandRefusal): void;
  /** Now and then, for what is not worth a look at every step. */
  onGlance?(server: SimulatedServer, core: ReplicaCore<SimulatedCommand>): void;
  /** Everything has healed and come to rest. */
  onFinished?(): void;
}

export interface Surroundings {
  readonly world: World;
  readonly ledger: Ledger;
}

/** Throws the violation of an invariant unless `condition` holds. */
export function hold(condition: boolean, name: string, message: () => string, group: GroupId | null = null): void {
  if (!condition) throw new Violation(name, message(), group);
}

export function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
