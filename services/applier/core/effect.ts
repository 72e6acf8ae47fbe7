/**
 * What the applier core wants done. The one executor is services/applier/executor.ts (and, in
 * tests, the simulator); it does the effects in the order in which they come, and tells the core
 * what came of them.
 */
import type { AppliedBatch, EngineBatch, EnginePosition, MergedCommand } from '../../../shared/engine/port.js';
import type { LogPosition, MergedIndex } from '../../../shared/raft/entry.js';
import type { SnapshotInfo } from '../../../shared/snapshot/bucket.js';
import type { RestoreInput } from '../../../shared/wire/restore.js';
import type { CheckpointMessage } from './comparison.js';

/** What is known of a snapshot in the bucket without reading it. */
export type KnownSnapshot = Pick<SnapshotInfo, 'name' | 'server' | 'position' | 'bytes' | 'confirmed'>;

/**
 * These need the engine for themselves: at most one of them is under way, and until it is told of,
 * no other one is asked for. A failure is told with `engineFailed`.
 */
export type EngineEffect =
  /** Prepare the database and take the fence, then `opened`. */
  | { readonly type: 'open' }
  /** Apply the batch, or make the state that of the file, then `applied`. */
  | { readonly type: 'apply'; readonly batch: EngineBatch; readonly restoring: RestoreInput | undefined }
  /** Make the state that of the snapshot, then `installed`. */
  | { readonly type: 'install'; readonly snapshot: KnownSnapshot }
  /**
   * Begin to add up the rows, and perhaps to save a snapshot, both of the state as it is, then
   * `begun`. What comes of them in the background is told with `verified` or `verifyFailed`,
   * `saved` or `saveFailed`.
   */
  | { readonly type: 'begin'; readonly mark: MergedIndex; readonly save: boolean }
  /** Keep the verdict in the database, then `marked`. */
  | { readonly type: 'mark'; readonly reason: string };

export type Effect =
  | EngineEffect
  /**
   * Give up what is being read; find the place of this merged index in the stream, then `placed`.
   */
  | { readonly type: 'seek'; readonly id: number; readonly wanted: MergedIndex }
  /**
   * Read the next piece of the stream, from the place that was found on: then `read`, or
   * `readEnded` when that fails.
   */
  | { readonly type: 'read'; readonly id: number }
  /**
   * The newest runs from this merged index on, as soon as there are any: then `followed`. Takes the
   * place of the one before.
   */
  | { readonly type: 'follow'; readonly id: number; readonly wanted: MergedIndex }
  /**
   * Whether the stream has this merged index or more, and where the database is: then `looked`, or
   * `lookFailed`.
   */
  | { readonly type: 'look'; readonly id: number; readonly wanted: MergedIndex }
  /** The merger of this server is to begin the stream again where this state is. */
  | { readonly type: 'restart-log' }
  /** The state has moved by other means than a batch: reads are measured by this from now on. */
  | { readonly type: 'moved'; readonly position: EnginePosition }
  /**
   * The batch is committed. Clients get its results, or, where they are not to be trusted, the word
   * that they are unknown.
   */
  | {
      readonly type: 'answer';
      readonly commands: readonly MergedCommand[];
      readonly done: AppliedBatch;
      readonly isTrusted: boolean;
    }
  /** To all servers, this one's value in a comparison. */
  | { readonly type: 'tell'; readonly message: CheckpointMessage }
  /**
   * The leader of group 0 is to append a `craft.verify`; a snapshot by this server is wanted there,
   * or not.
   */
  | { readonly type: 'ask-verify'; readonly save: boolean }
  /** All servers are told that some server needs a snapshot. */
  | { readonly type: 'ask-snapshot' }
  /** What snapshots there are: `listed`. */
  | { readonly type: 'list' }
  /** The snapshot counts from now on: `confirmed`, or `confirmFailed`. Others are told. */
  | { readonly type: 'confirm'; readonly name: string }
  /** This snapshot of this server is never to count: remove it. */
  | { readonly type: 'remove'; readonly name: string }
  /** Remove all snapshots of this server that are not confirmed. */
  | { readonly type: 'withdraw' }
  /** Own log and own stream may begin here: `compacted`, or `compactFailed`. */
  | { readonly type: 'compact'; readonly mergedIndex: MergedIndex; readonly positions: readonly LogPosition[] }
  /** Where the database is, then `located`. */
  | { readonly type: 'locate'; readonly request: number }
  /** Answers a request for an installation; null: there is no state yet that reaches so far. */
  | { readonly type: 'installed'; readonly request: number; readonly position: EnginePosition | null }
  /**
   * Answers a request for a snapshot; null: no majority has confirmed one in time, or this server
   * may take none.
   */
  | { readonly type: 'taken'; readonly request: number; readonly snapshot: KnownSnapshot | null }
  /**
   * Answers a request to rebuild; null: there is no confirmed snapshot in time, or a later request
   * has taken its place.
   */
  | { readonly type: 'rebuilt'; readonly request: number; readonly position: EnginePosition | null }
  /**
   * Something keeps the state from going on; said again for as long as it lasts. `batch`: the one
   * that will be tried again; null: the error is not about a batch.
   */
  | { readonly type: 'trouble'; readonly error: unknown; readonly batch: EngineBatch | null }
  /** Why nothing may be read from this state any more; undefined: it may again. */
  | { readonly type: 'refusal'; readonly reason: string | undefined }
  /**
   * The state stands still until this server has the version that is needed next (T12); undefined:
   * it goes on.
   */
  | { readonly type: 'waiting'; readonly reason: string | undefined }
  /**
   * Which version of the state machine executes what comes next, whenever that may have changed.
   */
  | { readonly type: 'version'; readonly version: number }
  /**
   * The leader of group 0 is to put this version into force: nothing is applied yet, and the first
   * one is not loaded.
   */
  | { readonly type: 'ask-machine'; readonly version: number }
  /** The state goes on. */
  | { readonly type: 'recovered' }
  /** Servers differ; `isOwn`: this one from a majority. */
  | { readonly type: 'differs'; readonly message: string; readonly isOwn: boolean }
  /** This process cannot go on with this state. */
  | { readonly type: 'fatal'; readonly error: Error };
