/**
 * The snapshots that this server takes: from when one is due until it counts (T10). Pure.
 *
 *     due ──▶ begun at a `craft.verify` ──▶ saved ──┐
 *                                     └──▶ agreed ──┴──▶ confirmed: it counts
 *
 * It counts only once a majority of servers has the same rows at its mark: a server that differs
 * spreads nothing. One server at a time takes one.
 */
import type { MergedIndex, MonotonicMs } from '../../../../shared/raft/entry.js';
import type { Effect } from '../effect.js';
import { type SnapshotLimits, SnapshotPolicy } from './policy.js';

/** After a failure (milliseconds). */
const RETRY_MS = 5_000;
/**
 * Another server that takes a snapshot says so more often than that; one that is silent for longer
 * is taken for gone (milliseconds).
 */
const TAKING_MS_MAX = 15_000;
/**
 * How long the votes of a majority may take: the others add up all their rows for it
 * (milliseconds).
 */
const CONFIRM_MS_MAX = 600_000;
/**
 * Snapshots that wait for votes. Of more the newest one goes: the servers that are slow are adding
 * up their rows for the oldest.
 */
const UNCONFIRMED_MAX = 4;
/**
 * How long a snapshot waits for votes before another one is due: doubles from the first to the
 * second (milliseconds).
 */
const PATIENCE_MS = 10_000;
const PATIENCE_MS_MAX = 60_000;

/** A snapshot of this server that does not count yet. */
interface Unconfirmed {
  readonly mark: MergedIndex;
  /** Undefined until it is saved. */
  name: string | undefined;
  /**
   * It is never to count, whatever is heard of the mark: this server was found to differ while it
   * was saved.
   */
  isWithdrawn: boolean;
  /** A majority has what this server has at the mark. */
  isAgreed: boolean;
  /** When it is to be confirmed (again), if it is agreed. */
  confirmAtMs: MonotonicMs;
  untilMs: MonotonicMs;
}

export class SnapshotTaking {
  private readonly policy: SnapshotPolicy;
  private unconfirmed: Unconfirmed[] = [];
  /** Until then none is taken: the last one waits for votes, or has failed. */
  private quietUntilMs: MonotonicMs = 0;
  private patienceMs = PATIENCE_MS;
  /** Another server is taking one, as far as is known. */
  private elsewhereUntilMs: MonotonicMs = 0;

  constructor(
    limits: SnapshotLimits,
    private readonly emit: (effect: Effect) => void,
    applied: MergedIndex,
    private nowMs: MonotonicMs,
  ) {
    this.policy = new SnapshotPolicy(limits, applied, nowMs);
  }

  get nextWakeMs(): MonotonicMs {
    return Math.min(
      ...this.unconfirmed.map(({ name, isAgreed, confirmAtMs, untilMs }) => {
        if (name === undefined) return Number.POSITIVE_INFINITY;
        return isAgreed ? Math.min(confirmAtMs, untilMs) : untilMs;
      }),
    );
  }

  get isAtRest(): boolean {
    return !this.policy.isDue(this.nowMs) && this.saving === undefined;
  }

  /**
   * One is to be begun. While another server is at it, all of them at once would only cost several
   * times as much.
   */
  get isDue(): boolean {
    return !this.isBusy && this.nowMs >= this.quietUntilMs && this.policy.isDue(this.nowMs);
  }

  advance(nowMs: MonotonicMs): void {
    this.nowMs = nowMs;
    this.pursue();
  }

  /** Commands up to `mergedIndex` are applied, whose entries have `bytes`. */
  onApplied(mergedIndex: MergedIndex, bytes: number): void {
    this.policy.onApplied(mergedIndex, bytes);
  }

  /** The state is elsewhere. */
  onMoved(mergedIndex: MergedIndex): void {
    this.policy.onMoved(mergedIndex);
  }

  /** Merged index and bytes of the newest snapshot that counts; 0 when there is none. */
  onNewest(newest: MergedIndex, bytes: number): void {
    this.policy.onNewest(newest, bytes, this.nowMs);
    // One that is older than what counts is of no use any more.
    for (const one of this.unconfirmed) if (one.name !== undefined && one.mark < newest) this.giveUp(one);
  }

  get dueEntries(): number {
    return this.policy.dueEntries;
  }

  /** A request waits for one of at least this merged index. */
  onAwaited(atLeast: MergedIndex): void {
    this.policy.onWanted(atLeast);
  }

  /** Some server needs one of at least this merged index: it is due at once. */
  want(atLeast: MergedIndex): void {
    this.policy.onWanted(atLeast);
    this.quietUntilMs = 0;
  }

  /** Another server says whether it is taking one. */
  heard(isTaking: boolean): void {
    this.elsewhereUntilMs = isTaking ? this.nowMs + TAKING_MS_MAX : 0;
  }

  /** A mark is reached at which another server is to take one. */
  onOthersMark(): void {
    if (!this.isBusy) this.heard(true);
  }

  /** A mark is reached at which this server is to take one; false when it does not. */
  begin(mark: MergedIndex): boolean {
    // Marks that come close together are looked at by fewer servers than a snapshot needs: of two
    // only the first one is taken.
    if (this.isBusy) return false;
    // Replayed after the state went back: it takes the place of the one from before in the bucket.
    this.unconfirmed = this.unconfirmed.filter((one) => one.mark !== mark);
    if (this.unconfirmed.length >= UNCONFIRMED_MAX) this.giveUp(this.unconfirmed[this.unconfirmed.length - 1]);
    this.quietUntilMs = this.nowMs + this.patienceMs;
    this.patienceMs = Math.min(2 * this.patienceMs, PATIENCE_MS_MAX);
    const untilMs = this.nowMs + CONFIRM_MS_MAX;
    const begun = { mark, name: undefined, isWithdrawn: false, isAgreed: false, confirmAtMs: this.nowMs, untilMs };
    this.unconfirmed.push(begun);
    return true;
  }

  /** The snapshot that was begun at this mark is in the bucket. */
  saved(mark: MergedIndex, name: string): void {
    const { saving } = this;
    // One of another place than the newest that was begun must never take that one's votes.
    if (saving?.mark !== mark) return;
    saving.name = name;
    if (saving.isWithdrawn) this.giveUp(saving);
    this.pursue();
  }

  /** It could not be saved, or was of another place. */
  saveFailed(): void {
    const { saving } = this;
    this.unconfirmed = this.unconfirmed.filter((one) => one !== saving);
    this.quietUntilMs = this.nowMs + RETRY_MS;
  }

  /** A majority has what this server has at this mark. */
  onAgreed(mark: MergedIndex): void {
    const one = this.unconfirmed.find((other) => other.mark === mark && !other.isWithdrawn);
    if (one === undefined) return;
    one.isAgreed = true;
    this.pursue();
  }

  confirmed(name: string): void {
    this.unconfirmed = this.unconfirmed.filter((one) => one.name !== name);
    this.quietUntilMs = 0;
    this.patienceMs = PATIENCE_MS;
  }

  /** `isGone`: it is not in the bucket any more. */
  confirmFailed(name: string, isGone: boolean): void {
    if (isGone) this.unconfirmed = this.unconfirmed.filter((other) => other.name !== name);
    const one = this.unconfirmed.find((other) => other.name === name);
    if (one !== undefined) one.confirmAtMs = this.nowMs + RETRY_MS;
  }

  /** This server differs: what it has saved and is not confirmed is never to count. */
  withdraw(): void {
    const { saving } = this;
    if (this.unconfirmed.length === 0) return;
    // What is still on its way into the bucket is removed when it is there, and no other one is
    // begun before.
    if (saving !== undefined) saving.isWithdrawn = true;
    this.unconfirmed = saving === undefined ? [] : [saving];
    this.emit({ type: 'withdraw' });
  }

  /** The one that is being saved. */
  private get saving(): Unconfirmed | undefined {
    return this.unconfirmed.find(({ name }) => name === undefined);
  }

  /** This server, or another one, is taking one. */
  private get isBusy(): boolean {
    return this.saving !== undefined || this.nowMs < this.elsewhereUntilMs;
  }

  private pursue(): void {
    for (const one of this.unconfirmed) {
      if (one.name === undefined) continue;
      if (this.nowMs >= one.untilMs) this.giveUp(one);
      else if (one.isAgreed && this.nowMs >= one.confirmAtMs) {
        one.confirmAtMs = Number.POSITIVE_INFINITY;
        this.emit({ type: 'confirm', name: one.name });
      }
    }
  }

  private giveUp(given: Unconfirmed | undefined): void {
    this.unconfirmed = this.unconfirmed.filter((one) => one !== given);
    if (given?.name !== undefined) this.emit({ type: 'remove', name: given.name });
  }
}
