/**
 * Snapshots of this server's state (T10): what is to be done about them when. Pure.
 *
 *     list        which snapshots count, and when that is looked up
 *     taking      the snapshots of this server: when one is due, when it counts
 *     installing  which one is made the state
 *     compaction  what they allow to drop
 */
import type { EnginePosition } from '../../../../shared/engine/port.js';
import type { LogIndex, MergedIndex, MonotonicMs, ServerId } from '../../../../shared/raft/entry.js';
import type { Effect, KnownSnapshot } from '../effect.js';
import { Compaction } from './compaction.js';
import { SnapshotInstalling } from './installing.js';
import { SnapshotList } from './list.js';
import type { SnapshotLimits } from './policy.js';
import { SnapshotTaking } from './taking.js';
import { WaitingRequests } from './waiting-requests.js';

/** How long a request waits for a snapshot that counts (milliseconds). */
const WAIT_MS_MAX = 120_000;

export interface SnapshotPlanOptions {
  readonly server: ServerId;
  readonly groups: number;
  readonly limits: SnapshotLimits;
  /** Whether this server can go on from a state with this version in force (T12). */
  readonly hasVersion?: (version: number) => boolean;
  readonly emit: (effect: Effect) => void;
}

export class SnapshotPlan {
  private readonly list: SnapshotList;
  private readonly taking: SnapshotTaking;
  private readonly installing: SnapshotInstalling;
  private readonly compaction: Compaction;
  private readonly server: ServerId;
  /** Requests for a snapshot of at least this merged index. */
  private readonly takes: WaitingRequests<
    { readonly atLeast: MergedIndex; readonly untilMs: MonotonicMs },
    KnownSnapshot
  >;
  /** False for a server whose state is not trusted: it takes none, and drops nothing. */
  private isTrusted = true;

  constructor(
    { server, groups, limits, hasVersion = () => true, emit }: SnapshotPlanOptions,
    private applied: MergedIndex,
    private nowMs: MonotonicMs,
  ) {
    this.server = server;
    this.list = new SnapshotList(emit, nowMs);
    this.taking = new SnapshotTaking(limits, emit, applied, nowMs);
    this.installing = new SnapshotInstalling(this.list, hasVersion, emit, nowMs);
    this.compaction = new Compaction(groups, emit);
    this.takes = new WaitingRequests((request, snapshot) => emit({ type: 'taken', request, snapshot }));
  }

  get nextWakeMs(): MonotonicMs {
    return Math.min(this.list.nextWakeMs, this.taking.nextWakeMs);
  }

  get isAtRest(): boolean {
    return !this.installing.isWaiting && this.takes.size === 0 && this.taking.isAtRest;
  }

  /** Commands between two snapshots, as far as can be told. */
  get dueEntries(): number {
    return this.taking.dueEntries;
  }

  /** This server is to take one. */
  get isDue(): boolean {
    return this.isTrusted && this.taking.isDue;
  }

  /** The snapshot that is to be installed now, if any. */
  get wanted(): KnownSnapshot | null {
    return this.installing.wanted(this.applied);
  }

  /** `isInstalling`: a snapshot is being made the state, which may take long. */
  advance(nowMs: MonotonicMs, isTrusted: boolean, isInstalling: boolean): void {
    this.nowMs = nowMs;
    this.isTrusted = isTrusted;
    this.list.advance(nowMs);
    this.taking.advance(nowMs);
    for (const [request, { untilMs }] of this.takes) {
      if (nowMs >= untilMs || !isTrusted) this.takes.answer(request, null);
    }
    this.installing.advance(nowMs, isInstalling);
    this.compaction.advance(nowMs);
  }

  /** Commands up to `mergedIndex` are applied, whose entries have `bytes`. */
  onApplied(mergedIndex: MergedIndex, bytes: number): void {
    this.applied = mergedIndex;
    this.taking.onApplied(mergedIndex, bytes);
    this.compact();
  }

  /** The state is elsewhere. */
  onMoved(mergedIndex: MergedIndex): void {
    this.applied = mergedIndex;
    this.taking.onMoved(mergedIndex);
  }

  /** Which snapshots there are. */
  listed(all: readonly KnownSnapshot[]): void {
    const { list, taking, takes, installing } = this;
    list.listed(all, takes.size > 0 || installing.isRebuilding);
    const { newest, newestIndex } = list;
    taking.onNewest(newestIndex, newest?.bytes ?? 0);
    for (const [request, { atLeast }] of takes) {
      if (newest !== undefined && newestIndex > 0 && newestIndex >= atLeast) takes.answer(request, newest);
      else taking.onAwaited(atLeast);
    }
    installing.listed(this.applied);
    this.compact();
  }

  listFailed(): void {
    this.list.failed();
    this.installing.listFailed();
  }

  // Taking.

  /**
   * A `craft.verify` is applied, at which `by` is to take a snapshot; true when that is this
   * server, and it does.
   */
  onMark(mark: MergedIndex, by: ServerId | undefined): boolean {
    if (by === undefined) return false;
    if (by === this.server) return this.isTrusted && this.taking.begin(mark);
    this.taking.onOthersMark();
    return false;
  }

  /** The snapshot that was begun at this mark is in the bucket. */
  saved(mark: MergedIndex, name: string): void {
    this.taking.saved(mark, name);
  }

  /** It could not be saved, or was of another place. */
  saveFailed(): void {
    this.taking.saveFailed();
  }

  /** A majority has what this server has at this mark. */
  onAgreed(mark: MergedIndex): void {
    this.taking.onAgreed(mark);
  }

  confirmed(name: string): void {
    this.taking.confirmed(name);
    this.list.renew();
  }

  /** `isGone`: it is not in the bucket any more. */
  confirmFailed(name: string, isGone: boolean): void {
    this.taking.confirmFailed(name, isGone);
  }

  /** This server differs: what it has saved and is not confirmed is never to count. */
  withdraw(): void {
    this.isTrusted = false;
    this.taking.withdraw();
  }

  /** Another server says whether it is taking one. */
  heard(server: ServerId, isTaking: boolean): void {
    if (server === this.server) return;
    this.taking.heard(isTaking);
    if (!isTaking) this.list.renew();
  }

  /** Some server needs one of everything applied until now. */
  want(): void {
    this.taking.want(this.applied);
  }

  /** Answered by `taken`: a snapshot that counts and has everything applied until now. */
  takeSnapshot(request: number): void {
    this.takes.add(request, { atLeast: this.applied, untilMs: this.nowMs + WAIT_MS_MAX });
    this.list.renew();
  }

  // Installing.

  /** What is wanted next is in no stream: one that reaches further is to be installed. */
  need(): void {
    this.installing.need();
  }

  /** Answered by `installed` once the state has reached `atLeast`, or no snapshot does. */
  install(request: number, atLeast: readonly LogIndex[]): void {
    this.installing.request(request, atLeast);
  }

  /** Where the database is; null when it does not say, or is not to be trusted. */
  located(request: number, position: EnginePosition | null): void {
    this.installing.located(request, position);
  }

  /**
   * The state is to become that of the newest snapshot, also when it is further by itself. Answered
   * by `rebuilt`.
   */
  beginRebuild(request: number): void {
    this.installing.beginRebuild(request);
  }

  /** A part of the state is missing: it becomes that of the newest snapshot. */
  repair(): void {
    this.installing.repair();
  }

  installed(position: EnginePosition): void {
    this.installing.installed(position);
  }

  /** `damaged`: the name of the snapshot that was to be installed, when it could not be read. */
  installFailed(damaged?: string): void {
    this.installing.failed(damaged);
  }

  // Compaction.

  compacted(): void {
    this.compaction.done();
  }

  compactFailed(): void {
    this.compaction.failed();
  }

  private compact(): void {
    if (this.isTrusted) this.compaction.maybeBegin(this.list.known, this.applied);
  }
}
