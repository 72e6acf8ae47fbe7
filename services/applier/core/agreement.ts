/**
 * Whether this server's state is that of the others (T4): what is compared with them, when, and
 * what follows for this state. Pure.
 *
 *     comparison   the votes of the servers: this state is agreed, undecided, or differs
 *     trust        the verdict that follows, and whether anything may be read
 *     row-checks   the rows at a `craft.verify`, which are compared too
 *     marks        when this server asks for a `craft.verify`
 */
import type { AppliedBatch } from '../../../shared/engine/port.js';
import type { MergedIndex, MonotonicMs, ServerId } from '../../../shared/raft/entry.js';
import { type CheckpointMessage, Comparison } from './comparison.js';
import type { Effect, EngineEffect } from './effect.js';
import { Marks } from './marks.js';
import type { ApplierOptions, Place } from './options.js';
import type { TakenBatch } from './queue.js';
import { RowChecks } from './row-checks.js';
import type { SnapshotPlan } from './snapshots/plan.js';
import { Trust } from './trust.js';

export class Agreement {
  private readonly comparison: Comparison;
  private readonly trust: Trust;
  private readonly checks: RowChecks;
  private readonly marks: Marks;
  private nowMs: MonotonicMs;

  constructor(
    { server, servers, verifyEveryMs, random }: ApplierOptions,
    /** What counts among snapshots follows from what servers agree on. */
    private readonly snapshots: Pick<SnapshotPlan, 'onMark' | 'onAgreed' | 'saveFailed' | 'withdraw' | 'isDue'>,
    private readonly emit: (effect: Effect) => void,
    applied: MergedIndex,
    nowMs: MonotonicMs,
  ) {
    this.nowMs = nowMs;
    this.checks = new RowChecks(() => snapshots.saveFailed());
    this.marks = new Marks(verifyEveryMs, random, emit, applied, nowMs);
    this.comparison = new Comparison(server, servers, {
      tell: (message) => emit({ type: 'tell', message }),
      confirmed: (mark) => snapshots.onAgreed(mark),
      differs: (reason) => this.diverge(reason),
      undecided: (message) => emit({ type: 'differs', message, isOwn: false }),
      otherDiffers: (message) => emit({ type: 'differs', message, isOwn: false }),
    });
    this.trust = new Trust(this.comparison, emit);
  }

  /** Why nothing may be read from this state; undefined when it may. */
  get refusal(): string | undefined {
    return this.trust.refusal;
  }

  /** Why this state differs from that of a majority; undefined when it does not. */
  get verdict(): string | undefined {
    return this.trust.verdict;
  }

  /** The mark at which rows are being added up, or are about to be. */
  get verifyingAt(): MergedIndex | undefined {
    return this.checks.at;
  }

  get isAtRest(): boolean {
    return this.checks.isAtRest && !this.comparison.isInDoubt;
  }

  get nextWakeMs(): MonotonicMs {
    return Math.min(this.comparison.nextWakeMs, this.mayAsk ? this.marks.nextWakeMs : Number.POSITIVE_INFINITY);
  }

  advance(nowMs: MonotonicMs): void {
    this.nowMs = nowMs;
    this.comparison.advance(nowMs);
  }

  /** `isStuck`: this server may not come to its own mark. */
  maybeAskForMark(applied: MergedIndex, isStuck: boolean): void {
    if (!this.mayAsk) return;
    const { isUndecided } = this.comparison;
    // Others leave a snapshot to the server that offers it, and would wait for nothing.
    this.marks.advance(this.nowMs, applied, { save: this.snapshots.isDue && !isStuck, isUndecided });
  }

  /** A snapshot is wanted at once. */
  hurry(): void {
    this.marks.hurry(this.nowMs);
  }

  /** Tells a refusal that has changed. */
  tell(): void {
    this.trust.tell();
  }

  /** What is wanted of the engine, if anything. */
  next(): EngineEffect | null {
    const reason = this.trust.unkeptVerdict;
    return reason === undefined ? this.checks.begin() : { type: 'mark', reason };
  }

  /** A state begins here, with the verdict that it was found with. */
  begin(at: Place, verdict?: string): void {
    const { mergedIndex, checksum, resultsChecksum } = at;
    if (verdict !== undefined) this.distrust(verdict, true);
    else if (mergedIndex > 0) this.comparison.ended(mergedIndex, checksum, resultsChecksum);
  }

  /** The state is another one than that which was compared until now. */
  forget(): void {
    this.trust.begin();
    this.checks.void();
    this.snapshots.withdraw();
  }

  /** The state is at another place than it was thought to be. */
  onMoved({ mergedIndex }: Place): void {
    this.checks.forget();
    this.marks.onMoved(mergedIndex);
  }

  /** The batch has led to `at`. */
  onApplied({ checkpoints }: TakenBatch, done: AppliedBatch, { mergedIndex, checksum, resultsChecksum }: Place): void {
    for (const checkpoint of checkpoints) {
      const own = done.checkpoints.find((one) => one.mergedIndex === checkpoint.mergedIndex);
      if (own !== undefined) this.comparison.reached(own.mergedIndex, checkpoint.checksum, own.resultsChecksum);
    }
    this.comparison.ended(mergedIndex, checksum, resultsChecksum);
  }

  /** A `craft.verify` is applied, which has led to `at`; a snapshot `by` this server is wanted. */
  onMark(at: Place, by: ServerId | undefined): void {
    this.marks.onMark(at.mergedIndex, this.nowMs);
    if (this.verdict === undefined) this.checks.reach({ ...at, save: this.snapshots.onMark(at.mergedIndex, by) });
  }

  /** The verdict is in the database. */
  kept(): void {
    this.trust.kept();
  }

  /** What was begun at a mark is of another place than the mark. */
  begunElsewhere(): void {
    this.checks.void();
  }

  /** The checksum of the rows as they were at this merged index. */
  verified(mergedIndex: MergedIndex, rowsChecksum: string): void {
    const mark = this.checks.verified(mergedIndex);
    if (mark !== null) this.comparison.verified(mergedIndex, mark.checksum, mark.resultsChecksum, rowsChecksum);
  }

  /** Nothing is said of the rows at this mark: this server has no vote there. */
  verifyFailed(): void {
    this.checks.failed();
  }

  /** Another server says what it has. */
  heard(message: CheckpointMessage): void {
    this.comparison.heard(message);
  }

  /** The voters of the cluster (T11). */
  setVoters(voters: readonly ServerId[]): void {
    this.comparison.setVoters(voters);
  }

  /** A mark that a server asks for which differs, or is no voter, would be for nothing. */
  private get mayAsk(): boolean {
    return this.verdict === undefined && this.comparison.isVoter;
  }

  private diverge(reason: string): void {
    this.emit({ type: 'differs', message: reason, isOwn: true });
    this.distrust(reason, false);
    this.snapshots.withdraw();
  }

  private distrust(reason: string, isKept: boolean): void {
    this.trust.end(reason, isKept);
    this.checks.forget();
    this.checks.void();
  }
}
