/**
 * The rows of this server at each `craft.verify`: added up in the background, while the log goes on
 * being applied (T4). Pure.
 *
 *     mark ──▶ reached ──▶ begun ──▶ verified: to be compared
 *
 * One check is under way at a time. A mark that is reached meanwhile is left out: this server has
 * no vote there.
 */
import type { EnginePosition } from '../../../shared/engine/port.js';
import type { MergedIndex } from '../../../shared/raft/entry.js';
import type { EngineEffect } from './effect.js';

/** A `craft.verify` that has been applied. `save`: this server takes a snapshot there. */
export interface Mark extends Pick<EnginePosition, 'mergedIndex' | 'checksum' | 'resultsChecksum'> {
  readonly save: boolean;
}

export class RowChecks {
  /** Reached, and not begun. */
  private reached: Mark | null = null;
  /** `isVoid`: what comes of it says nothing about this state. */
  private underWay: { readonly mark: Mark; isVoid: boolean } | null = null;

  constructor(
    /** The snapshot that was to be taken at a mark is not begun. */
    private readonly onNotSaved: () => void,
  ) {}

  get isAtRest(): boolean {
    return this.at === undefined;
  }

  /** The mark at which rows are being added up, or are about to be. */
  get at(): MergedIndex | undefined {
    return (this.reached ?? this.underWay?.mark)?.mergedIndex;
  }

  reach(mark: Mark): void {
    this.reached = mark;
  }

  /** What is to be done at the mark that was reached, if anything. */
  begin(): EngineEffect | null {
    const { reached } = this;
    if (reached === null) return null;
    if (this.underWay !== null) {
      // A snapshot that this server itself has no vote for would never count.
      this.forget();
      return null;
    }
    this.reached = null;
    this.underWay = { mark: reached, isVoid: false };
    return { type: 'begin', mark: reached.mergedIndex, save: reached.save };
  }

  /** Nothing is begun at the mark that was reached. */
  forget(): void {
    if (this.reached?.save === true) this.onNotSaved();
    this.reached = null;
  }

  /** Rows that are being added up are not those of this state. */
  void(): void {
    if (this.underWay !== null) this.underWay.isVoid = true;
  }

  /** The rows at this mark are added up; what was there, when they are those of this state. */
  verified(mergedIndex: MergedIndex): Mark | null {
    const { underWay } = this;
    this.underWay = null;
    return underWay === null || underWay.isVoid || underWay.mark.mergedIndex !== mergedIndex ? null : underWay.mark;
  }

  failed(): void {
    this.underWay = null;
  }
}
