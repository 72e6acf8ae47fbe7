/**
 * The applier's decisions: what to apply next, when to go back, when to take, install, confirm or withdraw a snapshot, when to restore, what
 * to compare, what to tell. Pure: events in, effects out, like the replica's core.
 *
 *     runs ──▶ queue ──▶ one effect for the engine at a time ──▶ answers, comparison, snapshots
 *              (core/queue)  open, apply, install, begin, mark     (core/comparison, core/marks, core/snapshots)
 *
 * An engine that cannot work is asked again, for ever: no entry is skipped. A state that differs from that of a majority keeps its verdict
 * until it is rebuilt: the log goes on being applied, but nothing that is read from it leaves this server.
 */

import { OtherClusterError } from '../../../shared/config/other-cluster.js';
import {
  type AppliedBatch,
  DamagedError,
  type EnginePosition,
  FencedError,
  type MergedCommand,
  PositionError,
  ReplacedError,
  SnapshotFormatError,
  versionAt,
} from '../../../shared/engine/port.js';
import { switchOf } from '../../../shared/engine/switch.js';
import type { WindowAnswer } from '../../../shared/merge/window.js';
import { InvariantError } from '../../../shared/raft/assert.js';
import type { Index, ServerId } from '../../../shared/raft/entry.js';
import { MACHINE_COMMAND } from '../../../shared/wire/machine.js';
import { RESERVED_PREFIX } from '../../../shared/wire/restore.js';
import { type CheckpointMessage, Comparison } from './comparison.js';
import type { Effect, EngineEffect, KnownSnapshot } from './effect.js';
import { Marks } from './marks.js';
import { ApplyQueue, type QueueLimits, type TakenBatch } from './queue.js';
import { Reading, type StreamPiece, type StreamPlace } from './reading.js';
import { restoringOf } from './restoring.js';
import type { SnapshotLimits } from './snapshot-policy.js';
import { reaches, SnapshotPlan } from './snapshots.js';

export interface ApplierOptions {
  readonly server: ServerId;
  /** The voters, until `setVoters` says more. */
  readonly servers: readonly ServerId[];
  readonly groups: number;
  /** The state machine, and which of its versions this server has loaded (T12). */
  readonly machine: { readonly name: string; readonly versions: readonly number[] };
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

type Place = Pick<EnginePosition, 'mergedIndex' | 'checksum' | 'resultsChecksum' | 'version'>;

/** A `craft.verify` that has been applied. `save`: this server takes a snapshot there. */
interface Mark extends Place {
  readonly save: boolean;
}

/** Between two tries of the engine (milliseconds): doubles from the first to the second. */
const RETRY_MS = 50;
const RETRY_MS_MAX = 2_000;
/** Between two tries to get past a version that is not loaded (milliseconds). */
const VERSION_MS = 2_000;
/** How long commands that no client and no read waits for here may collect for one transaction (milliseconds). */
const PATIENCE_MS = 10;

export class ApplierCore {
  private readonly queue: ApplyQueue;
  private readonly reading: Reading;
  private readonly comparison: Comparison;
  private readonly marks: Marks;
  private readonly snapshots: SnapshotPlan;
  private effects: Effect[] = [];
  private nowMs: number;
  /** Where the state is, as far as is known. */
  private at: Place;
  /** What the engine is doing. */
  private underWay: EngineEffect | null = null;
  /** What it is to do next, ahead of the queue. */
  private mustOpen = false;
  /** Since when something has been in the queue (milliseconds). */
  private queuedAtMs: number | null = null;
  /** A read waits for the state to get further. */
  private isAwaited = false;
  /** Taken from the queue, and not known to be applied. */
  private batch: TakenBatch | null = null;
  /** Reached, and neither compared nor saved. */
  private mark: Mark | null = null;
  /** The rows at this mark are being added up in the background. `isVoid`: what comes of it says nothing about this state. */
  private verifying: { readonly mark: Mark; isVoid: boolean } | null = null;
  private retryAtMs = 0;
  private retryMs = RETRY_MS;
  private isInTrouble = false;
  /** The verdict, and whether the database has it. */
  private verdict: string | undefined;
  private isVerdictKept = true;
  /** Positions asked for, with what each request wants. */
  private readonly locating = new Map<number, readonly Index[]>();
  /** The refusal that was told last. */
  private told: string | undefined;
  /** What is waited for, as it was told last, and when something is done about it again (T12). */
  private waitingFor: string | undefined;
  private versionAtMs: number;
  private toldVersion: number | undefined;
  private isOver = false;

  constructor(
    private readonly options: ApplierOptions,
    { position, divergence }: OpenedState,
    nowMs: number,
  ) {
    const { server, servers, groups, queue, snapshots, verifyEveryMs, random } = options;
    const emit = (effect: Effect) => void this.effects.push(effect);
    this.nowMs = nowMs;
    // Until the log has been looked at.
    this.versionAtMs = nowMs + VERSION_MS;
    this.at = position;
    this.queue = new ApplyQueue(position, queue, (command) => command.server === server && command.reply !== '');
    this.reading = new Reading(this.queue, emit, (error) => {
      this.trouble(error, false);
      this.snapshots.need();
    });
    const hasVersion = (version: number) => this.hasVersion(version);
    const plan = { server, groups, limits: snapshots, hasVersion, emit };
    this.snapshots = new SnapshotPlan(plan, position.mergedIndex, nowMs);
    this.marks = new Marks(verifyEveryMs, random, emit, position.mergedIndex, nowMs);
    this.comparison = new Comparison(server, servers, {
      tell: (message) => emit({ type: 'tell', message }),
      confirmed: (mergedIndex) => this.snapshots.onAgreed(mergedIndex),
      differs: (reason) => this.diverge(reason),
      undecided: (message) => emit({ type: 'differs', message, isOwn: false }),
      otherDiffers: (message) => emit({ type: 'differs', message, isOwn: false }),
    });
    if (divergence === undefined) this.compareFromHere();
    else this.distrust(divergence, true);
  }

  /** The version of the state machine that executes what comes next (T12). */
  get version(): number {
    return versionAt(this.at);
  }

  /** Why nothing is applied now: a version is missing (T12); undefined when none is. */
  get waiting(): string | undefined {
    return this.waitingFor;
  }

  /** Merged index of the last command applied. */
  get appliedIndex(): Index {
    return this.at.mergedIndex;
  }

  /** What waits to be applied, and how much may. */
  get queueFill(): ApplyQueue['fill'] {
    return this.queue.fill;
  }

  /** Nothing is under way or waited for: without new input, nothing more is asked for or told but positions. */
  get isAtRest(): boolean {
    const { underWay, batch, mark, verifying, queue, comparison, snapshots } = this;
    const isWorking = underWay !== null || batch !== null || mark !== null || verifying !== null || queue.length > 0;
    return !isWorking && !comparison.isInDoubt && snapshots.isAtRest;
  }

  /** Why nothing may be read from this state; undefined when it may. */
  get refusal(): string | undefined {
    if (this.verdict !== undefined) return `the state of this server differs from the others': ${this.verdict}`;
    if (this.comparison.isUndecided) return 'servers differ, and no majority says which one is right';
    return undefined;
  }

  /** This state differs from that of a majority, as it was found once; undefined when it does not. */
  get divergence(): string | undefined {
    return this.verdict;
  }

  /** The mark at which rows are being added up, or are about to be. */
  get verifyingAt(): Index | undefined {
    return (this.mark ?? this.verifying?.mark)?.mergedIndex;
  }

  /** When `advance` and `run` are wanted at the latest, whatever happens (the clock of `advance`, milliseconds). */
  get nextWakeMs(): number {
    const { reading, comparison, marks, snapshots, retryAtMs, nowMs } = this;
    const retry = retryAtMs > nowMs ? retryAtMs : Number.POSITIVE_INFINITY;
    const mark = this.mayAsk ? marks.nextWakeMs : Number.POSITIVE_INFINITY;
    const { queuedAtMs, underWay, waitingFor } = this;
    const isHeld = underWay !== null || waitingFor !== undefined;
    const batch = queuedAtMs === null || isHeld ? Number.POSITIVE_INFINITY : queuedAtMs + PATIENCE_MS;
    // Once a second in any case: ages come due without an event.
    const others = Math.min(reading.nextWakeMs, comparison.nextWakeMs, snapshots.nextWakeMs);
    return Math.min(others, mark, batch, retry, nowMs + 1_000);
  }

  /** Time has passed: before every event, and when `nextWakeMs` is over (milliseconds, never goes back). */
  advance(nowMs: number): void {
    if (this.isOver) return;
    this.nowMs = nowMs;
    this.reading.advance(nowMs);
    this.comparison.advance(nowMs);
    const isTrusted = this.refusal === undefined;
    this.snapshots.advance(nowMs, isTrusted, this.underWay?.type === 'install');
    if (this.mayAsk) {
      const { isUndecided } = this.comparison;
      // Others leave a snapshot to the server that offers it: one that does not come to its own mark would only hold them up.
      const save = this.snapshots.isDue && !this.isInTrouble;
      this.marks.advance(nowMs, this.at.mergedIndex, { save, isUndecided });
    }
  }

  /** What is to be done now. Call it after each event. */
  run(): Effect[] {
    this.next();
    if (!this.isOver) this.reading.ask();
    this.tellVersion();
    const { refusal } = this;
    if (refusal !== this.told) {
      this.told = refusal;
      this.effects.push({ type: 'refusal', reason: refusal });
    }
    const { effects } = this;
    this.effects = [];
    return effects;
  }

  /** The voters of the cluster (T11). */
  setVoters(voters: readonly ServerId[]): void {
    this.comparison.setVoters(voters);
  }

  // The stream.

  placed(id: number, place: StreamPlace | undefined): void {
    this.reading.placed(id, place);
  }

  /** The next piece of the stream. */
  read(id: number, piece: StreamPiece): void {
    this.reading.read(id, piece);
  }

  /** The newest runs of the merged log. */
  followed(id: number, answer: WindowAnswer): void {
    this.reading.followed(id, answer);
  }

  readEnded(id: number, error?: unknown): void {
    if (error instanceof OtherClusterError) this.end(error);
    this.reading.ended(id);
  }

  /** The connection is another one: what was read may not be all there is. */
  reconnected(): void {
    this.reading.again();
  }

  /** What a look has found. */
  looked(id: number, hasMore: boolean, position: EnginePosition): void {
    // What was applied meanwhile is not what the look has seen.
    if (!this.reading.looked(id, hasMore) || this.underWay !== null) return;
    if (this.batch !== null) {
      // It may be committed, and the engine has its answers: it is tried again now that the database is there.
      this.retryAtMs = this.nowMs;
    } else if (position.mergedIndex === this.at.mergedIndex) this.recovered();
    else this.goTo(position);
  }

  lookFailed(id: number, error: unknown): void {
    if (!this.reading.looked(id, false) || this.underWay !== null || this.isFinal(error)) return;
    if (error instanceof DamagedError) this.snapshots.repair();
    this.trouble(error, false);
  }

  /** Whether some read waits for commands that are not applied. */
  setAwaited(isAwaited: boolean): void {
    this.isAwaited = isAwaited;
  }

  /** A read has found the state at another place than it was thought to be. */
  foundAt(position: EnginePosition): void {
    if (this.underWay === null && position.mergedIndex < this.at.mergedIndex) this.goTo(position);
  }

  /** A read has failed: perhaps since the database is another one, or a part of it is gone. */
  readFailed(error: unknown): void {
    if (this.underWay === null && error instanceof ReplacedError) this.isFinal(error);
    if (error instanceof DamagedError) this.snapshots.repair();
  }

  // The engine.

  opened({ position, divergence }: OpenedState): void {
    this.ended();
    this.mustOpen = false;
    this.toldVersion = undefined;
    this.trust();
    this.goTo(position);
    if (divergence === undefined) this.compareFromHere();
    else this.distrust(divergence, true);
  }

  applied(done: AppliedBatch): void {
    const { batch } = this;
    this.ended();
    if (batch === null) return;
    this.batch = null;
    this.reading.news();
    const { commands, checksum } = batch.batch;
    const isRestored = restoringOf(batch.batch) !== undefined;
    // Whatever the state was before: it is that of the file now.
    if (isRestored) this.trust();
    const mergedIndex = commands[commands.length - 1]?.mergedIndex ?? this.at.mergedIndex;
    const { resultsChecksum } = done;
    this.at = { mergedIndex, checksum, resultsChecksum, version: done.version ?? this.at.version };
    for (const checkpoint of batch.checkpoints) {
      const own = done.checkpoints.find((one) => one.mergedIndex === checkpoint.mergedIndex);
      if (own !== undefined) this.comparison.reached(own.mergedIndex, checkpoint.checksum, own.resultsChecksum);
    }
    this.comparison.ended(mergedIndex, checksum, resultsChecksum);
    // After the comparison: the others' values may be there already.
    this.effects.push({ type: 'answer', commands, done, isTrusted: this.refusal === undefined });
    this.snapshots.onApplied(mergedIndex, batch.bytes);
    // A server that comes after this begins with a snapshot of this cluster, and needs no file.
    // The same after a switch: who has not got the version before needs one of after it (T12).
    if (isRestored || done.version !== undefined) this.snapshots.want();
    if (batch.mark !== undefined) this.reachMark(batch.mark.snapshotBy);
  }

  installed(state: EnginePosition): void {
    this.ended();
    this.trust();
    this.goTo(state);
    this.snapshots.installed(state);
    this.compareFromHere();
  }

  /** Rows are being added up, and a snapshot is being saved, of the state at this position. */
  begun(position: EnginePosition): void {
    const { underWay } = this;
    this.ended();
    if (underWay?.type !== 'begin') return;
    if (position.mergedIndex === underWay.mark) return;
    // The state had gone back: what was begun is of another place.
    this.voidCheck();
    if (underWay.save) this.snapshots.saveFailed();
    this.goTo(position);
  }

  /** The verdict is in the database. */
  marked(): void {
    this.ended();
    this.isVerdictKept = true;
  }

  /** The effect that is under way has failed: nothing is known to have been done. */
  engineFailed(error: unknown): void {
    const { underWay } = this;
    this.underWay = null;
    if (underWay?.type === 'begin') {
      this.verifying = null;
      if (underWay.save) this.snapshots.saveFailed();
    }
    if (underWay?.type === 'install') {
      this.snapshots.installFailed(error instanceof SnapshotFormatError ? underWay.snapshot.name : undefined);
    }
    if (this.isFinal(error)) return;
    if (error instanceof PositionError) {
      this.trouble(error, false);
      this.goTo(error.position);
      return;
    }
    // What is missing of the state is in a snapshot.
    if (error instanceof DamagedError) this.snapshots.repair();
    // The file that is to be restored is gone, or of no use here: only a snapshot leads past it.
    if (error instanceof SnapshotFormatError && underWay?.type === 'apply') {
      this.retryMs = RETRY_MS_MAX;
      this.snapshots.need();
    }
    this.trouble(error, underWay?.type === 'apply');
    this.retryAtMs = this.nowMs + this.retryMs * (0.5 + this.options.random() / 2);
    this.retryMs = Math.min(2 * this.retryMs, RETRY_MS_MAX);
  }

  /** The checksum of the rows as they were at this merged index. */
  verified(mergedIndex: Index, rowsChecksum: string): void {
    const { verifying } = this;
    this.verifying = null;
    if (verifying === null || verifying.isVoid || verifying.mark.mergedIndex !== mergedIndex) return;
    const { checksum, resultsChecksum } = verifying.mark;
    this.comparison.verified(mergedIndex, checksum, resultsChecksum, rowsChecksum);
  }

  /** Nothing is said of the rows at this mark: this server has no vote there. */
  verifyFailed(error: unknown): void {
    this.verifying = null;
    if (this.underWay === null) this.isFinal(error);
  }

  // Comparison and snapshots.

  heard(message: CheckpointMessage): void {
    this.comparison.heard(message);
  }

  /** The snapshot of the state at this mark is in the bucket. */
  saved(mark: Index, name: string): void {
    this.snapshots.saved(mark, name);
  }

  saveFailed(): void {
    this.snapshots.saveFailed();
  }

  confirmed(name: string): void {
    this.snapshots.confirmed(name);
  }

  /** `isGone`: there is no such snapshot any more. */
  confirmFailed(name: string, isGone: boolean): void {
    this.snapshots.confirmFailed(name, isGone);
  }

  listed(all: readonly KnownSnapshot[]): void {
    this.snapshots.listed(all);
  }

  listFailed(): void {
    this.snapshots.listFailed();
  }

  compacted(): void {
    this.snapshots.compacted();
  }

  compactFailed(): void {
    this.snapshots.compactFailed();
  }

  /** Another server says whether it is taking a snapshot. */
  heardTaking(server: ServerId, isTaking: boolean): void {
    this.snapshots.heard(server, isTaking);
  }

  /** Some server needs a snapshot of everything applied until now. */
  wantSnapshot(): void {
    this.snapshots.want();
    this.marks.hurry(this.nowMs);
  }

  /** Wanted is a snapshot that counts, of everything applied until now; answered by `taken`. */
  takeSnapshot(request: number): void {
    if (this.refusal !== undefined) this.effects.push({ type: 'taken', request, snapshot: null });
    else this.snapshots.take(request);
  }

  /**
   * The replica or the merger needs a state that has reached `atLeast`; answered by `installed`. Also while no majority says which server is
   * right: without its log this one would never get to a place that ends the doubt.
   */
  install(request: number, atLeast: readonly Index[]): void {
    if (this.verdict !== undefined) {
      this.effects.push({ type: 'installed', request, position: null });
      return;
    }
    this.locating.set(request, atLeast);
    this.effects.push({ type: 'locate', request });
  }

  /** Where the database is; null when it does not say. */
  located(request: number, position: EnginePosition | null): void {
    const atLeast = this.locating.get(request);
    if (atLeast === undefined) return;
    this.locating.delete(request);
    if (position === null || this.verdict !== undefined)
      this.effects.push({ type: 'installed', request, position: null });
    else if (reaches(position.positions, atLeast)) this.effects.push({ type: 'installed', request, position });
    else this.snapshots.install(request, atLeast);
  }

  /** An operator wants this state to be made again from a snapshot that counts; answered by `rebuilt`. */
  rebuild(request: number): void {
    this.snapshots.beginRebuild(request);
  }

  /** A mark that a server asks for which differs, or is no voter, would be for nothing. */
  private get mayAsk(): boolean {
    return this.verdict === undefined && this.comparison.isVoter;
  }

  /** What the engine does next. */
  private next(): void {
    if (this.underWay !== null || this.isOver || this.nowMs < this.retryAtMs) return;
    const effect = this.nextForEngine();
    if (effect === null) return;
    this.underWay = effect;
    this.effects.push(effect);
  }

  private nextForEngine(): EngineEffect | null {
    if (this.mustOpen) return { type: 'open' };
    const snapshot = this.snapshots.wanted;
    if (snapshot !== null) return { type: 'install', snapshot };
    if (this.verdict !== undefined && !this.isVerdictKept) return { type: 'mark', reason: this.verdict };
    if (this.mark !== null) return this.begin(this.mark);
    if (this.batch === null && (!this.isBatchDue || this.mustWait())) return null;
    try {
      this.batch ??= this.queue.take(!this.hasVersion(this.version));
      this.queuedAtMs = this.queue.length === 0 ? null : this.nowMs;
    } catch (error) {
      this.end(error instanceof Error ? error : new Error(String(error)));
      return null;
    }
    if (this.batch === null) return null;
    const { batch } = this.batch;
    return { type: 'apply', batch, restoring: restoringOf(batch) };
  }

  private hasVersion(version: number): boolean {
    return this.options.machine.versions.includes(version);
  }

  /** T12: what needs a version that this server has not is not applied, and neither is what comes after it. */
  private mustWait(): boolean {
    const { next } = this.queue;
    const missing = next === undefined ? undefined : this.missingVersion(next);
    const { mergedIndex } = this.at;
    const reason =
      missing === undefined
        ? undefined
        : `waiting at merged index ${mergedIndex + 1} for version ${missing} of the state machine, which this server has not loaded: ` +
          'start it with a module that has this version';
    if (reason !== this.waitingFor) this.effects.push({ type: 'waiting', reason });
    this.waitingFor = reason;
    // A snapshot of after the switch leads past what the version before would have to execute.
    if (missing === this.version && this.nowMs >= this.versionAtMs) {
      this.versionAtMs = this.nowMs + VERSION_MS;
      this.snapshots.need();
    }
    return missing !== undefined;
  }

  /** The version that is needed for this command and is not loaded. */
  private missingVersion({ name, payload, mergedIndex }: MergedCommand): number | undefined {
    if (name === MACHINE_COMMAND) {
      const decided = switchOf(payload, { name: this.options.machine.name, version: this.version }, mergedIndex);
      return 'to' in decided && !this.hasVersion(decided.to) ? decided.to : undefined;
    }
    return this.hasVersion(this.version) || name.startsWith(RESERVED_PREFIX) ? undefined : this.version;
  }

  private tellVersion(): void {
    const { version } = this;
    if (version !== this.toldVersion) this.effects.push({ type: 'version', version });
    this.toldVersion = version;
    // A new cluster whose machine has no first version any more begins with the newest one.
    const isStuck = this.at.mergedIndex === 0 && !this.hasVersion(version);
    if (!isStuck || this.queue.length > 0 || this.nowMs < this.versionAtMs || this.underWay !== null) return;
    this.versionAtMs = this.nowMs + VERSION_MS;
    this.effects.push({ type: 'ask-machine', version: Math.max(...this.options.machine.versions) });
  }

  /**
   * A transaction costs the same for one command and for ten. It begins at once when a client or a read waits for it
   * here. Else it begins a moment later, with the commands that have come by then.
   */
  private get isBatchDue(): boolean {
    if (this.queue.length === 0) return false;
    this.queuedAtMs ??= this.nowMs;
    return this.queue.isUrgent || this.isAwaited || this.nowMs - this.queuedAtMs >= PATIENCE_MS;
  }

  private begin(mark: Mark): EngineEffect | null {
    this.mark = null;
    const { mergedIndex, save } = mark;
    // One that is under way is of an earlier mark, and takes longer than marks are apart: this server has no vote at this one.
    if (this.verifying === null) {
      this.verifying = { mark, isVoid: false };
      return { type: 'begin', mark: mergedIndex, save };
    }
    // A snapshot that this server itself has no vote for would never count.
    if (save) this.snapshots.saveFailed();
    return this.nextForEngine();
  }

  private reachMark(by: ServerId | undefined): void {
    const { mergedIndex } = this.at;
    this.marks.onMark(mergedIndex, this.nowMs);
    if (this.verdict === undefined) this.mark = { ...this.at, save: this.snapshots.onMark(mergedIndex, by) };
  }

  /** Nothing is begun at the mark that was reached. */
  private forgetMark(): void {
    if (this.mark?.save === true) this.snapshots.saveFailed();
    this.mark = null;
  }

  /** Rows that are being added up are not those of this state. */
  private voidCheck(): void {
    if (this.verifying !== null) this.verifying.isVoid = true;
  }

  private ended(): void {
    this.underWay = null;
    this.retryMs = RETRY_MS;
    this.retryAtMs = 0;
    this.recovered();
  }

  /** The state is at another place than it was thought to be: the log is applied from there. */
  private goTo(position: EnginePosition): void {
    this.at = position;
    this.batch = null;
    this.forgetMark();
    this.retryAtMs = 0;
    this.queue.reset(position);
    this.queuedAtMs = null;
    if (this.waitingFor !== undefined) this.effects.push({ type: 'waiting', reason: undefined });
    this.waitingFor = undefined;
    this.snapshots.onMoved(position.mergedIndex);
    this.marks.onMoved(position.mergedIndex);
    this.reading.again();
    this.effects.push({ type: 'moved', position });
  }

  private compareFromHere(): void {
    const { mergedIndex, checksum, resultsChecksum } = this.at;
    if (mergedIndex > 0) this.comparison.ended(mergedIndex, checksum, resultsChecksum);
  }

  private diverge(reason: string): void {
    this.effects.push({ type: 'differs', message: reason, isOwn: true });
    this.distrust(reason, false);
    this.snapshots.withdraw();
  }

  /** The state is another one than that which was compared until now. */
  private trust(): void {
    this.verdict = undefined;
    this.isVerdictKept = true;
    this.comparison.begin();
    this.voidCheck();
    this.snapshots.withdraw();
  }

  private distrust(reason: string, isKept: boolean): void {
    this.verdict = reason;
    this.isVerdictKept = isKept;
    this.forgetMark();
    this.voidCheck();
    this.comparison.end();
  }

  /** True when it ends this state's life: for good, or until the database is opened again. */
  private isFinal(error: unknown): boolean {
    if (error instanceof FencedError || error instanceof OtherClusterError || error instanceof InvariantError) {
      this.end(error);
      return true;
    }
    if (!(error instanceof ReplacedError)) return false;
    this.mustOpen = true;
    this.trouble(error, false);
    return true;
  }

  private end(error: Error): void {
    this.isOver = true;
    this.effects.push({ type: 'fatal', error });
  }

  private trouble(error: unknown, isRetry: boolean): void {
    this.isInTrouble = true;
    this.effects.push({ type: 'trouble', error, isRetry });
  }

  private recovered(): void {
    if (!this.isInTrouble) return;
    this.isInTrouble = false;
    this.effects.push({ type: 'recovered' });
  }
}
