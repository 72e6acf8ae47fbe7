/**
 * The applier's decisions: what the engine does next, and what each event means for the parts.
 * Pure: events in, effects out, like the replica's core.
 *
 *     reading ──▶ queue ──▶ batching ──▶ engine-work     one effect for the engine at a time
 *                           version-gate                 whether the next command can be executed here
 *                           agreement                    whether the state is that of the others
 *                           snapshots/plan               what is taken, installed, dropped
 *
 * An engine that cannot work is asked again, for ever: no entry is skipped. A state that differs
 * from that of a majority keeps its verdict until it is rebuilt. The log goes on being applied, but
 * nothing that is read from that state leaves this server.
 */
import { OtherClusterError } from '../../../shared/config/other-cluster.js';
import {
  type AppliedBatch,
  DamagedError,
  type EnginePosition,
  FencedError,
  PositionError,
  ReplacedError,
  SnapshotFormatError,
  versionAt,
} from '../../../shared/engine/port.js';
import { toError } from '../../../shared/errors.js';
import { InvariantError } from '../../../shared/raft/assert.js';
import type { LogIndex, MergedIndex, MonotonicMs, ServerId } from '../../../shared/raft/entry.js';
import { Agreement } from './agreement.js';
import { Batching } from './batching.js';
import type { CheckpointMessage } from './comparison.js';
import type { Effect, EngineEffect } from './effect.js';
import { EngineWork } from './engine-work.js';
import type { ApplierOptions, OpenedState, Place } from './options.js';
import { ApplyQueue } from './queue.js';
import { Reading } from './reading.js';
import { restoringOf } from './restoring.js';
import { SnapshotPlan } from './snapshots/plan.js';
import { VersionGate } from './version-gate.js';

export class ApplierCore {
  /** What the stream answers; that it cannot be read is told with `readEnded`. */
  readonly stream: Pick<Reading, 'placed' | 'read' | 'followed'>;
  /** What becomes of effects on the bucket of snapshots, and on what snapshots cover. */
  readonly bucket: Pick<
    SnapshotPlan,
    'saved' | 'saveFailed' | 'confirmed' | 'confirmFailed' | 'listed' | 'listFailed' | 'compacted' | 'compactFailed'
  >;
  private readonly queue: ApplyQueue;
  private readonly reading: Reading;
  private readonly batching: Batching;
  private readonly versions: VersionGate;
  private readonly work: EngineWork;
  private readonly snapshots: SnapshotPlan;
  private readonly agreement: Agreement;
  private effects: Effect[] = [];
  private nowMs: MonotonicMs;
  /** Where the state is, as far as is known. */
  private at: Place;
  /** The database is another one: it is opened again, ahead of all else. */
  private mustOpen = false;
  private isOver = false;

  constructor(options: ApplierOptions, { position, divergence }: OpenedState, nowMs: MonotonicMs) {
    const { server, groups, machine, queue, snapshots, random } = options;
    const { mergedIndex } = position;
    const emit = (effect: Effect) => void this.effects.push(effect);
    this.nowMs = nowMs;
    this.at = position;
    this.queue = new ApplyQueue(position, queue, (command) => command.server === server && command.reply !== '');
    this.batching = new Batching(this.queue, nowMs);
    this.work = new EngineWork(random, emit, nowMs);
    this.reading = new Reading(this.queue, emit, (error) => {
      this.work.trouble(error, null);
      this.snapshots.need();
    });
    this.versions = new VersionGate(machine, emit, () => this.snapshots.need(), nowMs);
    const hasVersion = (version: number) => this.versions.has(version);
    this.snapshots = new SnapshotPlan({ server, groups, limits: snapshots, hasVersion, emit }, mergedIndex, nowMs);
    this.agreement = new Agreement(options, this.snapshots, emit, mergedIndex, nowMs);
    this.stream = this.reading;
    this.bucket = this.snapshots;
    this.agreement.begin(position, divergence);
  }

  /** The version of the state machine that executes what comes next (T12). */
  get version(): number {
    return versionAt(this.at);
  }

  /** Why nothing is applied now: a version is missing (T12); undefined when none is. */
  get waiting(): string | undefined {
    return this.versions.waiting;
  }

  /** Merged index of the last command applied. */
  get appliedIndex(): MergedIndex {
    return this.at.mergedIndex;
  }

  /** What waits to be applied, and how much may. */
  get queueFill(): ApplyQueue['fill'] {
    return this.queue.fill;
  }

  /**
   * Nothing is under way or waited for: without new input, nothing more is asked for or told but
   * positions.
   */
  get isAtRest(): boolean {
    const { work, batching, agreement, snapshots } = this;
    return work.isIdle && batching.isAtRest && agreement.isAtRest && snapshots.isAtRest;
  }

  /** Why nothing may be read from this state; undefined when it may. */
  get refusal(): string | undefined {
    return this.agreement.refusal;
  }

  /** Why this state differs from that of a majority; undefined when it does not. */
  get divergence(): string | undefined {
    return this.agreement.verdict;
  }

  /** The mark at which rows are being added up, or are about to be. */
  get verifyingAt(): MergedIndex | undefined {
    return this.agreement.verifyingAt;
  }

  /**
   * When `advance` and `run` are wanted at the latest, whatever happens (the clock of `advance`,
   * milliseconds).
   */
  get nextWakeMs(): MonotonicMs {
    const { reading, agreement, snapshots, work, batching, versions, nowMs } = this;
    const isHeld = !work.isReady || versions.waiting !== undefined;
    return Math.min(
      reading.nextWakeMs,
      agreement.nextWakeMs,
      snapshots.nextWakeMs,
      work.nextWakeMs,
      isHeld ? Number.POSITIVE_INFINITY : batching.nextWakeMs,
      // Once a second in any case: ages come due without an event.
      nowMs + 1_000,
    );
  }

  /**
   * Time has passed: before every event, and when `nextWakeMs` is over (milliseconds, never goes
   * back).
   */
  advance(nowMs: MonotonicMs): void {
    if (this.isOver) return;
    this.nowMs = nowMs;
    this.work.advance(nowMs);
    this.batching.advance(nowMs);
    this.versions.advance(nowMs);
    this.reading.advance(nowMs);
    this.agreement.advance(nowMs);
    this.snapshots.advance(nowMs, this.refusal === undefined, this.work.underWay?.type === 'install');
    this.agreement.maybeAskForMark(this.at.mergedIndex, this.work.isInTrouble);
  }

  /** Commands between two snapshots, as far as can be told. */
  get snapshotDueEntries(): number {
    return this.snapshots.dueEntries;
  }

  /** What is to be done now. Call it after each event. */
  run(): Effect[] {
    this.next();
    if (!this.isOver) this.reading.ask();
    this.versions.tell(this.at, this.queue.length === 0 && this.work.isIdle);
    this.agreement.tell();
    const { effects } = this;
    this.effects = [];
    return effects;
  }

  /** The voters of the cluster (T11). */
  setVoters(voters: readonly ServerId[]): void {
    this.agreement.setVoters(voters);
  }

  // The stream, and reads of the state.

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
    if (!this.reading.looked(id, hasMore) || !this.work.isIdle) return;
    // It may be committed, and the engine has its answers: it is tried again now that the database
    // is there.
    if (this.batching.isUncertain) this.work.retryNow();
    else if (position.mergedIndex === this.at.mergedIndex) this.work.recovered();
    else this.goTo(position);
  }

  lookFailed(id: number, error: unknown): void {
    if (!this.reading.looked(id, false) || !this.work.isIdle || this.isFinal(error)) return;
    if (error instanceof DamagedError) this.snapshots.repair();
    this.work.trouble(error, null);
  }

  /** Whether some read waits for commands that are not applied. */
  setAwaited(isAwaited: boolean): void {
    this.batching.setAwaited(isAwaited);
  }

  /** A read has found the state at another place than it was thought to be. */
  foundAt(position: EnginePosition): void {
    if (this.work.isIdle && position.mergedIndex < this.at.mergedIndex) this.goTo(position);
  }

  /** A read has failed: perhaps since the database is another one, or a part of it is gone. */
  readFailed(error: unknown): void {
    if (this.work.isIdle && error instanceof ReplacedError) this.isFinal(error);
    if (error instanceof DamagedError) this.snapshots.repair();
  }

  // The engine.

  opened({ position, divergence }: OpenedState): void {
    this.work.done();
    this.mustOpen = false;
    this.versions.onOpened();
    this.agreement.forget();
    this.goTo(position);
    this.agreement.begin(position, divergence);
  }

  applied(done: AppliedBatch): void {
    this.work.done();
    const batch = this.batching.applied();
    if (batch === null) return;
    this.reading.news();
    const { commands, checksum } = batch.batch;
    const isRestored = restoringOf(batch.batch) !== undefined;
    // Whatever the state was before: it is that of the file now.
    if (isRestored) this.agreement.forget();
    const mergedIndex = commands[commands.length - 1]?.mergedIndex ?? this.at.mergedIndex;
    const { resultsChecksum } = done;
    this.at = { mergedIndex, checksum, resultsChecksum, version: done.version ?? this.at.version };
    this.agreement.onApplied(batch, done, this.at);
    // After the comparison: the others' values may be there already.
    this.effects.push({ type: 'answer', commands, done, isTrusted: this.refusal === undefined });
    this.snapshots.onApplied(mergedIndex, batch.bytes);
    // A server that comes after this begins with a snapshot of this cluster, and needs no file.
    // The same after a switch: without the version before, a server needs one of after it (T12).
    if (isRestored || done.version !== undefined) this.snapshots.want();
    if (batch.mark !== undefined) this.agreement.onMark(this.at, batch.mark.snapshotBy);
  }

  installed(state: EnginePosition): void {
    this.work.done();
    this.agreement.forget();
    this.goTo(state);
    this.snapshots.installed(state);
    this.agreement.begin(state);
  }

  /** Rows are being added up, and a snapshot is being saved, of the state at this position. */
  begun(position: EnginePosition): void {
    const done = this.work.done();
    if (done?.type !== 'begin' || position.mergedIndex === done.mark) return;
    // The state had gone back: what was begun is of another place.
    this.agreement.begunElsewhere();
    if (done.save) this.snapshots.saveFailed();
    this.goTo(position);
  }

  /** The verdict is in the database. */
  marked(): void {
    this.work.done();
    this.agreement.kept();
  }

  /** The effect that is under way has failed: nothing is known to have been done. */
  engineFailed(error: unknown): void {
    const failed = this.work.failed();
    const isFormat = error instanceof SnapshotFormatError;
    if (failed?.type === 'begin') {
      this.agreement.verifyFailed();
      if (failed.save) this.snapshots.saveFailed();
    }
    if (failed?.type === 'install') this.snapshots.installFailed(isFormat ? failed.snapshot.name : undefined);
    if (this.isFinal(error)) return;
    if (error instanceof PositionError) {
      this.work.trouble(error, null);
      this.goTo(error.position);
      return;
    }
    // What is missing of the state is in a snapshot.
    if (error instanceof DamagedError) this.snapshots.repair();
    // The file that is to be restored is gone, or of no use here: only a snapshot leads past it.
    const isFileGone = isFormat && failed?.type === 'apply';
    if (isFileGone) this.snapshots.need();
    this.work.trouble(error, failed?.type === 'apply' ? failed.batch : null);
    this.work.retryLater(isFileGone);
  }

  /** The checksum of the rows as they were at this merged index. */
  verified(mergedIndex: MergedIndex, rowsChecksum: string): void {
    this.agreement.verified(mergedIndex, rowsChecksum);
  }

  /** Nothing is said of the rows at this mark: this server has no vote there. */
  verifyFailed(error: unknown): void {
    this.agreement.verifyFailed();
    if (this.work.isIdle) this.isFinal(error);
  }

  // Other servers and operators.

  heard(message: CheckpointMessage): void {
    this.agreement.heard(message);
  }

  /** Another server says whether it is taking a snapshot. */
  heardTaking(server: ServerId, isTaking: boolean): void {
    this.snapshots.heard(server, isTaking);
  }

  /** Some server needs a snapshot of everything applied until now. */
  wantSnapshot(): void {
    this.snapshots.want();
    this.agreement.hurry();
  }

  /** Wanted is a snapshot that counts, of everything applied until now; answered by `taken`. */
  takeSnapshot(request: number): void {
    if (this.refusal !== undefined) this.effects.push({ type: 'taken', request, snapshot: null });
    else this.snapshots.takeSnapshot(request);
  }

  /**
   * The replica or the merger needs a state that has reached `atLeast`; answered by `installed`.
   * Also while no majority says which server is right: without its log this one would never get to
   * a place that ends the doubt.
   */
  install(request: number, atLeast: readonly LogIndex[]): void {
    if (this.divergence !== undefined) this.effects.push({ type: 'installed', request, position: null });
    else this.snapshots.install(request, atLeast);
  }

  /** Where the database is; null when it does not say. */
  located(request: number, position: EnginePosition | null): void {
    this.snapshots.located(request, this.divergence === undefined ? position : null);
  }

  /**
   * An operator wants this state to be made again from a snapshot that counts; answered by
   * `rebuilt`.
   */
  rebuild(request: number): void {
    this.snapshots.beginRebuild(request);
  }

  /** What the engine does next. */
  private next(): void {
    if (this.isOver || !this.work.isReady) return;
    const effect = this.nextForEngine();
    if (effect !== null) this.work.begin(effect);
  }

  private nextForEngine(): EngineEffect | null {
    if (this.mustOpen) return { type: 'open' };
    const snapshot = this.snapshots.wanted;
    if (snapshot !== null) return { type: 'install', snapshot };
    return this.agreement.next() ?? this.nextBatch();
  }

  private nextBatch(): EngineEffect | null {
    const { batching, versions, queue, at } = this;
    if (!batching.isUncertain && (!batching.isDue() || versions.mustWait(queue.next, at))) return null;
    try {
      const taken = batching.take(!versions.has(versionAt(at)));
      return taken === null ? null : { type: 'apply', batch: taken.batch, restoring: restoringOf(taken.batch) };
    } catch (error) {
      this.end(toError(error));
      return null;
    }
  }

  /** The state is at another place than it was thought to be: the log is applied from there. */
  private goTo(position: EnginePosition): void {
    this.at = position;
    this.agreement.onMoved(position);
    this.work.retryNow();
    this.batching.reset(position);
    this.versions.onMoved();
    this.snapshots.onMoved(position.mergedIndex);
    this.reading.again();
    this.effects.push({ type: 'moved', position });
  }

  /** True when it ends this state's life: for good, or until the database is opened again. */
  private isFinal(error: unknown): boolean {
    if (error instanceof FencedError || error instanceof OtherClusterError || error instanceof InvariantError) {
      this.end(error);
      return true;
    }
    if (!(error instanceof ReplacedError)) return false;
    this.mustOpen = true;
    this.work.trouble(error, null);
    return true;
  }

  private end(error: Error): void {
    this.isOver = true;
    this.effects.push({ type: 'fatal', error });
  }
}
