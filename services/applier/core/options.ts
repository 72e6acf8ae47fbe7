/** What the applier core is given at its start. */
import type { EnginePosition } from '../../../shared/engine/port.js';
import type { ServerId } from '../../../shared/raft/entry.js';
import type { QueueLimits } from './queue.js';
import type { SnapshotLimits } from './snapshots/policy.js';
import type { LoadedVersions } from './version-gate.js';

export interface ApplierOptions {
  readonly server: ServerId;
  /** The voters, until `setVoters` says more. */
  readonly servers: readonly ServerId[];
  readonly groups: number;
  /** The state machine, and which of its versions this server has loaded (T12). */
  readonly machine: LoadedVersions;
  readonly queue: QueueLimits;
  readonly snapshots: SnapshotLimits;
  /** Time between two comparisons of rows while commands are applied (milliseconds). */
  readonly verifyEveryMs: number;
  /** From 0 to below 1. */
  readonly random: () => number;
}

/** How the engine's state began: as `open` found it. */
export interface OpenedState {
  readonly position: EnginePosition;
  /** Why it differs from that of the other servers, as it was kept. */
  readonly divergence: string | undefined;
}

/** Where a state is, as far as servers compare it. */
export type Place = Pick<EnginePosition, 'mergedIndex' | 'checksum' | 'resultsChecksum' | 'version'>;
