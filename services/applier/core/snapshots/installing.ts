/**
 * Which snapshot is made the state of this server, and for what (T10). Pure.
 *
 *     needed    what comes next is in no stream          one that reaches further than the state
 *     request   the replica or the merger asks           one that reaches what the request names
 *     rebuild   an operator asks, or a part is missing   the newest one, whatever the state is
 */
import { type EnginePosition, versionAt } from '../../../../shared/engine/port.js';
import type { LogIndex, MergedIndex, MonotonicMs } from '../../../../shared/raft/entry.js';
import type { Effect, KnownSnapshot } from '../effect.js';
import type { SnapshotList } from './list.js';
import { reaches } from './positions.js';
import { WaitingRequests } from './waiting-requests.js';

/**
 * Between two times that all servers are asked for a snapshot: each of them reads its whole state
 * for it (milliseconds).
 */
const ASK_MS = 10_000;
/** How long a rebuild waits for a snapshot that counts (milliseconds). */
const REBUILD_MS_MAX = 120_000;

/** The state is to be made again. Without a request it is damaged: until it is whole. */
interface Rebuild {
  readonly request: number | null;
  readonly untilMs: MonotonicMs;
}

export class SnapshotInstalling {
  /** What is needed next is in no stream. */
  private isNeeded = false;
  /** For each request where the database is asked for first: what the state must have reached. */
  private readonly locating = new Map<number, readonly LogIndex[]>();
  /** For each request for an installation: for each group the index that must have been reached. */
  private readonly requests: WaitingRequests<readonly LogIndex[], EnginePosition>;
  private rebuild: Rebuild | null = null;
  /** Names of those that could not be read, as far as they are known: others are tried first. */
  private damaged: ReadonlySet<string> = new Set();
  private askAtMs: MonotonicMs = 0;

  constructor(
    private readonly list: SnapshotList,
    /** Whether this server can go on from a state with this version in force (T12). */
    private readonly hasVersion: (version: number) => boolean,
    private readonly emit: (effect: Effect) => void,
    private nowMs: MonotonicMs,
  ) {
    this.requests = new WaitingRequests((request, position) => emit({ type: 'installed', request, position }));
  }

  /** Something waits for a snapshot to be installed. */
  get isWaiting(): boolean {
    return this.isNeeded || this.requests.size > 0 || this.isRebuilding;
  }

  get isRebuilding(): boolean {
    return this.rebuild !== null;
  }

  /** `isInstalling`: a snapshot is being made the state, which may take long. */
  advance(nowMs: MonotonicMs, isInstalling: boolean): void {
    this.nowMs = nowMs;
    if (this.rebuild !== null && nowMs >= this.rebuild.untilMs && !isInstalling) this.answerRebuild(null);
  }

  /** What is wanted next is in no stream: one that reaches further is to be installed. */
  need(): void {
    this.isNeeded = true;
    this.list.renewSoon();
  }

  /** Answered by `installed` once the state has reached `atLeast`, or no snapshot does. */
  request(request: number, atLeast: readonly LogIndex[]): void {
    this.locating.set(request, atLeast);
    this.emit({ type: 'locate', request });
  }

  /** Where the database is; null when it does not say, or is not to be trusted. */
  located(request: number, position: EnginePosition | null): void {
    const atLeast = this.locating.get(request);
    if (atLeast === undefined) return;
    this.locating.delete(request);
    if (position === null || reaches(position.positions, atLeast)) {
      this.emit({ type: 'installed', request, position });
      return;
    }
    this.requests.add(request, atLeast);
    this.list.renewSoon();
  }

  /**
   * The state is to become that of the newest snapshot, also when it is further by itself. Answered
   * by `rebuilt`.
   */
  beginRebuild(request: number): void {
    this.answerRebuild(null);
    this.rebuild = { request, untilMs: this.nowMs + REBUILD_MS_MAX };
    this.list.discard();
  }

  /**
   * A part of the state is missing: it becomes that of the newest snapshot as soon as there is one.
   */
  repair(): void {
    if (this.isRebuilding) return;
    this.rebuild = { request: null, untilMs: Number.POSITIVE_INFINITY };
    this.list.discard();
  }

  /** The snapshot that is to be installed now, if any. The state is at `applied`. */
  wanted(applied: MergedIndex): KnownSnapshot | null {
    if (!this.list.isCurrent || !this.isWaiting) return null;
    const usable = this.list.known.filter((one) => this.isUsable(one, applied));
    // What could not be read once may be read later.
    return usable.findLast(({ name }) => !this.damaged.has(name)) ?? usable.pop() ?? null;
  }

  installed(position: EnginePosition): void {
    this.isNeeded = false;
    for (const [request, atLeast] of this.requests) {
      this.requests.answer(request, reaches(position.positions, atLeast) ? position : null);
    }
    this.answerRebuild(position);
  }

  /** `damaged`: the name of the snapshot that was to be installed, when it could not be read. */
  failed(damaged?: string): void {
    this.isNeeded = false;
    if (damaged !== undefined) this.damaged = new Set([...this.damaged, damaged]);
    this.requests.refuseAll();
    // It may have been replaced by newer ones.
    this.list.discard();
  }

  listed(applied: MergedIndex): void {
    const { known } = this.list;
    this.damaged = new Set(known.flatMap(({ name }) => (this.damaged.has(name) ? name : [])));
    if (this.damaged.size === known.length) this.damaged = new Set();
    if (this.wanted(applied) === null) this.nothingToInstall();
  }

  listFailed(): void {
    this.requests.refuseAll();
  }

  private isUsable({ position: { mergedIndex, positions }, position }: KnownSnapshot, applied: MergedIndex): boolean {
    if (!this.hasVersion(versionAt(position))) return false;
    if (this.isRebuilding) return true;
    if (mergedIndex <= applied) return false;
    return this.isNeeded || [...this.requests].some(([, atLeast]) => reaches(positions, atLeast));
  }

  /** No snapshot is of use to what waits for one: the others are asked to take one. */
  private nothingToInstall(): void {
    const { isWaiting } = this;
    this.isNeeded = false;
    this.requests.refuseAll();
    if (!isWaiting || this.nowMs < this.askAtMs) return;
    this.askAtMs = this.nowMs + ASK_MS;
    this.emit({ type: 'ask-snapshot' });
  }

  private answerRebuild(position: EnginePosition | null): void {
    const request = this.rebuild?.request ?? null;
    this.rebuild = null;
    if (request !== null) this.emit({ type: 'rebuilt', request, position });
  }
}
