/**
 * What the replica core wants done. The one executor is services/replica/executor.ts (and, in
 * tests, the simulator); it does the effects in the order in which they come.
 */
import type { WriteBatch } from '../../../shared/log-store/port.js';
import type {
  GroupId,
  LogEntry,
  LogIndex,
  LogPosition,
  ServerId,
  Term,
  Timestamp,
} from '../../../shared/raft/entry.js';
import type { Envelope } from '../../../shared/wire/envelope.js';
import type { FeedAnswer } from './feed.js';
import type { ReadEffect } from './read-effect.js';

/** When the client wants its answer (T7). */
export type Acknowledgement = 'applied' | 'ordered' | 'committed';

/**
 * A command on its way into a log. The executor may hang more onto it (where to answer, for
 * example).
 */
export interface QueuedCommand {
  /** Encoded `craft.v1.Command`. */
  readonly body: Uint8Array;
  readonly acknowledgement: Acknowledgement;
  /** A client waits for the answer: it has given a reply subject. */
  readonly isAwaited: boolean;
  /** The core is to report its commit although nobody waits for the acknowledgement (tracing). */
  readonly isWatched: boolean;
}

/**
 * Why a command will never be executed: a definite answer (T9). `replaced`: it was appended, and
 * lost its place with the leadership.
 */
export type CommandRefusal = 'not-leader' | 'overloaded' | 'behind' | 'clock' | 'after-beyond-bound' | 'replaced';

export interface Placed<C extends QueuedCommand> extends LogPosition {
  readonly command: C;
}

export type Effect<C extends QueuedCommand> =
  /**
   * Publish; may be lost. `isProbe`: if the transport knows that no process takes messages there,
   * call `unreachable`.
   */
  | { readonly type: 'send'; readonly to: ServerId; readonly envelope: Envelope; readonly isProbe: boolean }
  /** Make durable, then call `written`; when that failed, `retryWrite`. Never two at a time. */
  | { readonly type: 'write'; readonly batch: WriteBatch }
  /**
   * Read from the log store, then call `readDone` with the same effect and the entries (none when
   * it failed).
   */
  | ReadEffect
  /** Nothing was appended for these. */
  | { readonly type: 'refused'; readonly commands: readonly C[]; readonly reason: CommandRefusal }
  /**
   * Committed: a quorum has it durably. Answers `committed` (T7). Only for watched or waiting
   * commands.
   */
  | { readonly type: 'committed'; readonly group: GroupId; readonly placed: Placed<C> }
  /** Its place in the merged log is final: answers `ordered` (T7). */
  | { readonly type: 'ordered'; readonly group: GroupId; readonly placed: Placed<C> }
  | { readonly type: 'leading'; readonly group: GroupId; readonly term: Term }
  /**
   * Leadership ended. What was not committed is answered for as soon as its outcome is known: see
   * `failed`.
   */
  | { readonly type: 'lost'; readonly group: GroupId; readonly term: Term }
  | FailedEffect<C>
  /**
   * A read barrier is passed: the state may be read once, in each group, the command with this
   * index is applied (T6).
   */
  | { readonly type: 'barrier'; readonly request: number; readonly positions: readonly LogIndex[] }
  /** Answers one feed request. */
  | ({ readonly type: 'feed' } & FeedAnswer)
  /**
   * The leaders' logs begin beyond this server's in some groups. The state machine is to be at or
   * beyond `atLeast` in every group. Then call `installed` with where it is, or with null when that
   * could not be done; it is asked for again (T10).
   */
  | { readonly type: 'snapshot-needed'; readonly atLeast: readonly LogIndex[] }
  /** A message of `from` was dropped: no correct server can have sent it. */
  | { readonly type: 'impossible'; readonly group: GroupId; readonly from: ServerId; readonly what: string }
  /** A clock is so far off that something was refused. */
  | { readonly type: 'clock-refused'; readonly group: GroupId; readonly what: string; readonly timestamp: Timestamp };

/** Commands that this server stamped are not committed, and it leads no more (T9). */
export interface FailedEffect<C extends QueuedCommand> {
  readonly type: 'failed';
  readonly group: GroupId;
  /**
   * `replaced`: others have their places, they will never be executed; `unknown`: nobody could say
   * so in time.
   */
  readonly outcome: 'replaced' | 'unknown';
  readonly entries: readonly LogEntry[];
  /** The watched and waiting commands among them. */
  readonly waiting: readonly Placed<C>[];
}
