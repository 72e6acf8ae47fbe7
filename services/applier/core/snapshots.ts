/**
 * Snapshots of this server's state (T10): when one is due, when it counts, what they allow to drop,
 * and which one is installed. Pure.
 *
 * A snapshot is taken at a `craft.verify` of the log, where every server adds up its rows. It
 * counts only once a majority of servers has the same there: a server that differs spreads nothing.
 * Logs begin at the newest but one that counts: a server that installs the newest finds everything
 * that comes after it, however long that takes.
 */
import { type EnginePosition, versionAt } from '../../../shared/engine/port.js';
import { type Index, LOG_START, type LogPosition, type ServerId } from '../../../shared/raft/entry.js';
import type { Effect, KnownSnapshot } from './effect.js';
import { type SnapshotLimits, SnapshotPolicy } from './snapshot-policy.js';

/** Snapshots that are kept: the one that logs begin at, and one beyond. */
export const KEPT = 2;
/** Between two looks at what other servers have saved (milliseconds). */
const LIST_MS = 15_000;
/** After a failure (milliseconds). */
const RETRY_MS = 5_000;
/** Between two lists when something is waited for (milliseconds). */
const LIST_SOON_MS = 500;
/**
 * Between two times that all servers are asked for a snapshot: each of them reads its whole state
 * for it (milliseconds).
 */
const ASK_MS = 10_000;
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
/** How long a request waits for a snapshot that counts (milliseconds). */
const WAIT_MS_MAX = 120_000;
/** Requests that wait; the oldest one goes when there are more. */
const WAITING_MAX = 16;

/** A snapshot of this server that does not count yet. */
interface Unconfirmed {
  readonly mark: Index;
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
  confirmAtMs: number;
  untilMs: number;
}

/** The state is to be made again. Without a request it is damaged: until it is whole. */
interface Rebuild {
  readonly request: number | null;
  readonly untilMs: number;
}

export interface SnapshotPlanOptions {
  readonly server: ServerId;
  readonly groups: number;
  readonly limits: SnapshotLimits;
  /** Whether this server can go on from a state with this version in force (T12). */
  readonly hasVersion?: (version: number) => boolean;
  readonly emit: (effect: Effect) => void;
}

export class SnapshotPlan {
  private readonly policy: SnapshotPolicy;
  /** Those that count, oldest first. */
  private known: readonly KnownSnapshot[] = [];
  /**
   * Names of those that could not be read, as far as they are still known: any other one is tried
   * first.
   */
  private damaged: ReadonlySet<string> = new Set();
  private nowMs: number;
  private listAtMs: number;
  private isListing = false;
  private unconfirmed: Unconfirmed[] = [];
  /** Until then none is taken: the last one waits for votes, or has failed. */
  private quietUntilMs = 0;
  private patienceMs = PATIENCE_MS;
  /** Another server is taking one, as far as is known. */
  private elsewhereUntilMs = 0;
  private askAtMs = 0;
  /** What is needed next is in no stream. */
  private isNeeded = false;
  /** What the own log and stream have been told to begin at. */
  private compactedTo: Index = 0;
  private compacting: Index | null = null;
  private compactAtMs = 0;
  /** Requests for an installation: for each group the index that the state must have reached. */
  private readonly installs = new Map<number, readonly Index[]>();
  /** Requests for a snapshot of at least this merged index. */
  private readonly takes = new Map<number, { readonly atLeast: Index; readonly untilMs: number }>();
  private rebuild: Rebuild | null = null;
  /** The list is older than a wish that it is to serve. */
  private isListOld = true;
  /** So is the one that is under way. */
  private isListingOld = false;
  /** False for a server whose state is not trusted: it takes none, and drops nothing. */
  private isTrusted = true;

  constructor(
    private readonly options: SnapshotPlanOptions,
    private applied: Index,
    nowMs: number,
  ) {
    this.policy = new SnapshotPolicy(options.limits, applied, nowMs);
    this.nowMs = nowMs;
    this.listAtMs = nowMs;
  }

  get nextWakeMs(): number {
    return Math.min(
      this.isListing ? Number.POSITIVE_INFINITY : this.listAtMs,
      ...this.unconfirmed.map(({ name, isAgreed, confirmAtMs, untilMs }) => {
        if (name === undefined) return Number.POSITIVE_INFINITY;
        return isAgreed ? Math.min(confirmAtMs, untilMs) : untilMs;
      }),
    );
  }

  get isAtRest(): boolean {
    const isWaiting = this.installs.size > 0 || this.takes.size > 0 || this.rebuild !== null || this.isNeeded;
    return !isWaiting && !this.policy.isDue(this.nowMs) && this.saving === undefined;
  }

  /**
   * This server is to take one. While another one is at it, all of them at once would only cost
   * several times as much.
   */
  get isDue(): boolean {
    return (
      this.isTrusted &&
      this.saving === undefined &&
      this.nowMs >= Math.max(this.elsewhereUntilMs, this.quietUntilMs) &&
      this.policy.isDue(this.nowMs)
    );
  }

  /** `isInstalling`: a snapshot is being made the state, which may take long. */
  advance(nowMs: number, isTrusted: boolean, isInstalling: boolean): void {
    this.nowMs = nowMs;
    this.isTrusted = isTrusted;
    if (nowMs >= this.listAtMs && !this.isListing) this.list();
    this.pursue();
    for (const [request, { untilMs }] of this.takes) {
      if (nowMs >= untilMs || !isTrusted) this.answerTake(request, null);
    }
    if (this.rebuild !== null && nowMs >= this.rebuild.untilMs && !isInstalling) this.answerRebuild(null);
  }

  /** Commands up to `mergedIndex` are applied, whose entries have `bytes`. */
  onApplied(mergedIndex: Index, bytes: number): void {
    this.applied = mergedIndex;
    this.policy.onApplied(mergedIndex, bytes);
    this.compact();
  }

  /** The state is elsewhere. */
  onMoved(mergedIndex: Index): void {
    this.applied = mergedIndex;
    this.policy.onMoved(mergedIndex);
  }

  /**
   * A `craft.verify` is applied, at which `by` is to take a snapshot; true when that is this
   * server, and it does.
   */
  onMark(mark: Index, by: ServerId | undefined): boolean {
    if (by === undefined) return false;
    // Marks that come close together are looked at by fewer servers than a snapshot needs: of two
    // only the first one is taken.
    const isBusy = this.saving !== undefined || this.nowMs < this.elsewhereUntilMs;
    if (by !== this.options.server) {
      if (!isBusy) this.elsewhereUntilMs = this.nowMs + TAKING_MS_MAX;
      return false;
    }
    if (!this.isTrusted || isBusy) return false;
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
  saved(mark: Index, name: string): void {
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
  onAgreed(mark: Index): void {
    const one = this.unconfirmed.find((other) => other.mark === mark && !other.isWithdrawn);
    if (one === undefined) return;
    one.isAgreed = true;
    this.pursue();
  }

  confirmed(name: string): void {
    this.unconfirmed = this.unconfirmed.filter((one) => one.name !== name);
    this.quietUntilMs = 0;
    this.patienceMs = PATIENCE_MS;
    this.listAgain();
  }

  /** `isGone`: it is not in the bucket any more. */
  confirmFailed(name: string, isGone: boolean): void {
    if (isGone) this.unconfirmed = this.unconfirmed.filter((other) => other.name !== name);
    const one = this.unconfirmed.find((other) => other.name === name);
    if (one !== undefined) one.confirmAtMs = this.nowMs + RETRY_MS;
  }

  /** This server differs: what it has saved and is not confirmed is never to count. */
  withdraw(): void {
    this.isTrusted = false;
    const { saving } = this;
    if (this.unconfirmed.length === 0) return;
    // What is still on its way into the bucket is removed when it is there, and no other one is
    // begun before.
    if (saving !== undefined) saving.isWithdrawn = true;
    this.unconfirmed = saving === undefined ? [] : [saving];
    this.options.emit({ type: 'withdraw' });
  }

  /** Another server says whether it is taking one. */
  heard(server: ServerId, isTaking: boolean): void {
    if (server === this.options.server) return;
    this.elsewhereUntilMs = isTaking ? this.nowMs + TAKING_MS_MAX : 0;
    if (!isTaking) this.listAgain();
  }

  /** Some server needs one of everything applied until now. */
  want(): void {
    this.policy.onWanted(this.applied);
    this.quietUntilMs = 0;
  }

  /** Answered by `taken`: a snapshot that counts and has everything applied until now. */
  take(request: number): void {
    for (const oldest of this.takes.keys()) {
      if (this.takes.size < WAITING_MAX) break;
      this.answerTake(oldest, null);
    }
    this.takes.set(request, { atLeast: this.applied, untilMs: this.nowMs + WAIT_MS_MAX });
    this.listAgain();
  }

  /** What is wanted next is in no stream: one that reaches further is to be installed. */
  need(): void {
    this.isNeeded = true;
    this.listSoon();
  }

  /**
   * Answered by `installed` once the state has reached `atLeast`, which it has not now, or it is
   * known that no snapshot does.
   */
  install(request: number, atLeast: readonly Index[]): void {
    for (const oldest of this.installs.keys()) {
      if (this.installs.size < WAITING_MAX) break;
      this.answerInstall(oldest, null);
    }
    this.installs.set(request, atLeast);
    this.listSoon();
  }

  /**
   * The state is to become that of the newest snapshot, also when it is further by itself. Answered
   * by `rebuilt`.
   */
  beginRebuild(request: number): void {
    if (this.rebuild !== null) this.answerRebuild(null);
    this.rebuild = { request, untilMs: this.nowMs + WAIT_MS_MAX };
    this.isListOld = true;
    this.listAgain();
  }

  /**
   * A part of the state is missing: it becomes that of the newest snapshot as soon as there is one.
   */
  repair(): void {
    if (this.rebuild !== null) return;
    this.rebuild = { request: null, untilMs: Number.POSITIVE_INFINITY };
    this.isListOld = true;
    this.listAgain();
  }

  /** The snapshot that is to be installed now, if any. */
  get wanted(): KnownSnapshot | null {
    const isWanted = this.rebuild !== null || this.isNeeded || this.installs.size > 0;
    if (this.isListOld || !isWanted) return null;
    const usable = this.known.filter((one) => this.isUsable(one));
    // What could not be read once may be read later.
    return usable.findLast(({ name }) => !this.damaged.has(name)) ?? usable.pop() ?? null;
  }

  private isUsable({ position: { mergedIndex, positions }, position }: KnownSnapshot): boolean {
    const { hasVersion = () => true } = this.options;
    if (!hasVersion(versionAt(position))) return false;
    if (this.rebuild !== null) return true;
    if (mergedIndex <= this.applied) return false;
    return this.isNeeded || [...this.installs.values()].some((atLeast) => reaches(positions, atLeast));
  }

  installed(position: EnginePosition): void {
    this.isNeeded = false;
    for (const [request, atLeast] of this.installs) {
      this.answerInstall(request, reaches(position.positions, atLeast) ? position : null);
    }
    this.answerRebuild(position);
  }

  /** `damaged`: the name of the snapshot that was to be installed, when it could not be read. */
  installFailed(damaged?: string): void {
    this.isNeeded = false;
    if (damaged !== undefined) this.damaged = new Set([...this.damaged, damaged]);
    for (const request of this.installs.keys()) this.answerInstall(request, null);
    // It may have been replaced by newer ones.
    this.isListOld = true;
    this.listAgain();
  }

  listed(all: readonly KnownSnapshot[]): void {
    this.isListing = false;
    const isWaiting = this.takes.size > 0 || this.rebuild !== null;
    this.listAtMs = this.nowMs + (isWaiting ? LIST_SOON_MS : LIST_MS);
    if (this.isListingOld) this.listAtMs = this.nowMs;
    else this.isListOld = false;
    this.known = all.filter(({ confirmed }) => confirmed);
    this.damaged = new Set(this.known.flatMap(({ name }) => (this.damaged.has(name) ? name : [])));
    if (this.damaged.size === this.known.length) this.damaged = new Set();
    const newest = this.known[this.known.length - 1]?.position.mergedIndex ?? 0;
    this.policy.onNewest(newest, this.nowMs);
    // One that is older than what counts is of no use any more.
    for (const one of this.unconfirmed) if (one.name !== undefined && one.mark < newest) this.giveUp(one);
    for (const [request, { atLeast }] of this.takes) {
      if (newest >= atLeast && newest > 0) this.answerTake(request, this.known[this.known.length - 1] ?? null);
      else this.policy.onWanted(atLeast);
    }
    if (this.wanted === null) this.nothingToInstall();
    this.compact();
  }

  listFailed(): void {
    this.isListing = false;
    this.isListOld ||= this.isListingOld;
    this.listAtMs = this.nowMs + RETRY_MS;
    for (const request of this.installs.keys()) this.answerInstall(request, null);
  }

  compacted(): void {
    if (this.compacting !== null) this.compactedTo = this.compacting;
    this.compacting = null;
  }

  compactFailed(): void {
    this.compacting = null;
    this.compactAtMs = this.nowMs + RETRY_MS;
  }

  private list(): void {
    this.isListing = true;
    this.isListingOld = false;
    this.options.emit({ type: 'list' });
  }

  /** As it is from now on. */
  private listAgain(): void {
    this.listAtMs = this.nowMs;
    this.isListingOld = true;
  }

  private listSoon(): void {
    this.listAtMs = Math.min(this.listAtMs, this.isListOld ? this.nowMs : this.nowMs + LIST_SOON_MS);
  }

  /** No snapshot is of use to what waits for one: the others are asked to take one. */
  private nothingToInstall(): void {
    const isWaiting = this.isNeeded || this.installs.size > 0 || this.rebuild !== null;
    this.isNeeded = false;
    for (const request of this.installs.keys()) this.answerInstall(request, null);
    if (!isWaiting || this.nowMs < this.askAtMs) return;
    this.askAtMs = this.nowMs + ASK_MS;
    this.options.emit({ type: 'ask-snapshot' });
  }

  /** The one that is being saved. */
  private get saving(): Unconfirmed | undefined {
    return this.unconfirmed.find(({ name }) => name === undefined);
  }

  private pursue(): void {
    for (const one of this.unconfirmed) {
      if (one.name === undefined) continue;
      if (this.nowMs >= one.untilMs) this.giveUp(one);
      else if (one.isAgreed && this.nowMs >= one.confirmAtMs) {
        one.confirmAtMs = Number.POSITIVE_INFINITY;
        this.options.emit({ type: 'confirm', name: one.name });
      }
    }
  }

  private giveUp(given: Unconfirmed | undefined): void {
    this.unconfirmed = this.unconfirmed.filter((one) => one !== given);
    if (given?.name !== undefined) this.options.emit({ type: 'remove', name: given.name });
  }

  /** What is covered goes, once the own state has it too. */
  private compact(): void {
    const covered = this.known[this.known.length - KEPT];
    if (covered === undefined || !this.isTrusted || this.compacting !== null || this.nowMs < this.compactAtMs) return;
    const { mergedIndex, positions } = covered.position;
    if (mergedIndex <= this.compactedTo || mergedIndex > this.applied) return;
    this.compacting = mergedIndex;
    this.options.emit({ type: 'compact', mergedIndex, positions: padded(positions, this.options.groups) });
  }

  private answerTake(request: number, snapshot: KnownSnapshot | null): void {
    this.takes.delete(request);
    this.options.emit({ type: 'taken', request, snapshot });
  }

  private answerInstall(request: number, position: EnginePosition | null): void {
    this.installs.delete(request);
    this.options.emit({ type: 'installed', request, position });
  }

  private answerRebuild(position: EnginePosition | null): void {
    const { rebuild } = this;
    this.rebuild = null;
    if (rebuild !== null && rebuild.request !== null)
      this.options.emit({ type: 'rebuilt', request: rebuild.request, position });
  }
}

export function reaches(positions: readonly LogPosition[], atLeast: readonly Index[]): boolean {
  return atLeast.every((index, group) => (positions[group]?.index ?? 0) >= index);
}

/** One position for every group: an engine knows only those that it has had a command of. */
export function padded(positions: readonly LogPosition[], groups: number): LogPosition[] {
  return Array.from({ length: groups }, (_, group) => positions[group] ?? LOG_START);
}
