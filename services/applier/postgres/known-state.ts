/**
 * What the engine knows of the state in the database: where it is, which results and versions of
 * keys count there, and the last batch whose commit is not confirmed. Pure: the engine reads the
 * database and passes on what it has found.
 */

import {
  type EngineBatch,
  type EnginePosition,
  positionsAfter,
  versionAt,
  versionField,
} from '../../../shared/engine/port.js';
import type { SettledBatch } from '../../../shared/engine/results.js';
import { FIRST_VERSION } from '../../../shared/engine/switch.js';
import { InvariantError } from '../../../shared/raft/assert.js';
import { plainPosition, UNKNOWN_PLACE } from './position.js';
import { RecentVersions } from './recent-versions.js';
import type { ResultStore } from './result-store.js';

/** What a batch came to and where it led: kept until it is known to be committed. */
export interface Attempt {
  readonly after: EnginePosition;
  readonly settled: SettledBatch;
}

export class KnownState {
  private at: EnginePosition | undefined;
  private versions = new RecentVersions();
  private stored: ResultStore | undefined;
  private unconfirmed: Attempt | undefined;
  private inForce = FIRST_VERSION;
  /** Where a batch last left the row of the position: only how fast it is found depends on it. */
  place = UNKNOWN_PLACE;

  /** Undefined while the engine is not open. */
  get position(): EnginePosition | undefined {
    return this.at;
  }

  /** Version of the state machine that is in force at `position` (T12). */
  get version(): number {
    return this.inForce;
  }

  /**
   * Of the state at `position`. A move replaces this object: a batch that began before then still
   * adds to the old one, which is not read.
   */
  get recent(): RecentVersions {
    return this.versions;
  }

  /**
   * Of the state at `position`, or of one that was behind it in the same log. Undefined when it has
   * to be loaded.
   */
  get results(): ResultStore | undefined {
    return this.stored;
  }

  /** The last batch that was written and whose commit is not confirmed. */
  get uncertain(): Attempt | undefined {
    return this.unconfirmed;
  }

  /** The state has been found there: also after a try that has failed, whatever became of it. */
  moveTo(found: EnginePosition): EnginePosition {
    this.versions = new RecentVersions();
    // A state that this engine's batches did not lead to may have results that `results` does not
    // know.
    if (isSamePlace(found, this.unconfirmed?.after)) this.stored?.stored();
    else if (!isSamePlace(found, this.at)) this.stored = undefined;
    this.at = plainPosition(found);
    this.inForce = versionAt(found);
    return this.at;
  }

  /**
   * Takes `results`, which were read while the state was at `position`; not if it has moved since.
   */
  loaded(results: ResultStore, position: EnginePosition): void {
    if (this.at === position) this.stored = results;
  }

  /** From now on, until the commit is confirmed, the batch may have happened. */
  attempt({ commands, checksum }: EngineBatch, settled: SettledBatch): Attempt {
    const last = commands[commands.length - 1];
    if (last === undefined) throw new InvariantError('an empty batch');
    const { mergedIndex, timestamp } = last;
    const positions = positionsAfter(this.at?.positions ?? [], commands);
    const { resultsChecksum, version = this.inForce } = settled;
    const after = { mergedIndex, checksum, timestamp, resultsChecksum, positions, ...versionField(version) };
    this.unconfirmed = { after, settled };
    return this.unconfirmed;
  }

  /** The commit of the attempt was confirmed. */
  confirm(): void {
    if (this.unconfirmed === undefined) return;
    this.at = this.unconfirmed.after;
    this.inForce = versionAt(this.at);
    this.unconfirmed = undefined;
  }

  /** The outcome of the attempt is known now, or does not matter any more. */
  dropAttempt(): void {
    this.unconfirmed = undefined;
  }

  /** The state may be another one from now on. */
  forgetContents(): void {
    this.versions = new RecentVersions();
    this.stored = undefined;
  }

  close(): void {
    this.at = undefined;
  }
}

/** Whether two positions are of the same state: what was applied, and what came of it. */
export function isSamePlace(found: EnginePosition, expected: EnginePosition | undefined): boolean {
  return (
    found.mergedIndex === expected?.mergedIndex &&
    found.checksum === expected.checksum &&
    found.resultsChecksum === expected.resultsChecksum
  );
}
