/**
 * Drives the applier core in the real world: the one place where its effects are done, and from
 * where it hears what came of them.
 */
import { type EnginePosition, SnapshotFormatError, type StorageEngine } from '../../shared/engine/port.js';
import { toError } from '../../shared/errors.js';
import type { MergedLogTail } from '../../shared/link/merged-log.js';
import type { WindowAnswer } from '../../shared/merge/window.js';
import type { WorkUnderWay } from './applier-health.js';
import type { ApplierCore } from './core/applier.js';
import type { Effect, KnownSnapshot } from './core/effect.js';
import { type During, type EffectOf, type EngineOutside, EngineWorker } from './engine-worker.js';
import { Requests } from './requests.js';
import type { Snapshots } from './snapshots.js';
import type { MergedLogReader } from './stream.js';

/** Said of the stream. */
const UNREADABLE = 'the merged-log stream cannot be read';

/** What the executor leaves to the service: telling clients, servers and operators. */
export interface Outside extends EngineOutside {
  /** These effects, as they come. */
  tell(
    effect: EffectOf<
      | 'moved'
      | 'answer'
      | 'tell'
      | 'ask-verify'
      | 'ask-snapshot'
      | 'restart-log'
      | 'refusal'
      | 'trouble'
      | 'recovered'
      | 'differs'
      | 'waiting'
      | 'version'
      | 'ask-machine'
    >,
  ): void;
  /** These runs of the merged log have come, from its end or from the stream. */
  onArrived(found: WindowAnswer): void;
  /** A batch is committed: when its transaction began (microseconds since the Unix epoch). */
  onApplied(effect: EffectOf<'answer'>, startUs: number): void;
  /** Something has happened to the core: once a second at least. */
  onTurn(): void;
  /** The service cannot go on. */
  onFatal(error: Error): void;
}

export interface Adapters {
  readonly engine: StorageEngine;
  readonly reader: MergedLogReader;
  readonly tail: MergedLogTail;
  readonly snapshots: Snapshots;
}

export class Executor {
  /** Requests that the core answers. */
  readonly locates = new Requests<EnginePosition | null>();
  readonly takes = new Requests<KnownSnapshot | null>();
  readonly rebuilds = new Requests<EnginePosition | null>();
  private waker: NodeJS.Timeout | undefined;
  private isStopping = false;
  private isStopped = false;
  private readonly worker: EngineWorker;
  /** Since when the newest look waits for the database (milliseconds, monotonic). */
  private lookSinceMs: number | undefined;

  constructor(
    readonly core: ApplierCore,
    private readonly adapters: Adapters,
    private readonly outside: Outside,
  ) {
    const { engine, snapshots } = adapters;
    this.worker = new EngineWorker(engine, snapshots, outside, (event) => this.dispatch(event), this.during);
  }

  /** Gives the core something that has happened, and does what it wants done. */
  dispatch(event: (core: ApplierCore) => void): void {
    if (this.isStopped) return;
    this.outside.onTurn();
    try {
      this.core.advance(performance.now());
      event(this.core);
      for (const effect of this.core.run()) this.execute(effect);
    } catch (error) {
      // A broken invariant of the core: what it would decide from here on is worth nothing.
      this.outside.onFatal(toError(error));
      return;
    }
    this.wakeLater();
  }

  /** What is asked of the database and not answered. */
  get underWay(): { readonly engine: WorkUnderWay | undefined; readonly lookSinceMs: number | undefined } {
    return { engine: this.worker.underWay, lookSinceMs: this.lookSinceMs };
  }

  /**
   * Reads no more; resolves when what has been read is applied and answered, or the engine does not
   * take it.
   */
  async stop(): Promise<void> {
    this.isStopping = true;
    clearTimeout(this.waker);
    this.adapters.tail.close();
    this.adapters.snapshots.stop();
    await this.worker.settled();
    this.isStopped = true;
  }

  private wakeLater(): void {
    clearTimeout(this.waker);
    if (this.isStopping) return;
    const ms = Math.max(1, this.core.nextWakeMs - performance.now());
    this.waker = setTimeout(() => this.dispatch(() => undefined), ms);
    this.waker.unref();
  }

  private execute(effect: Effect): void {
    const { reader, tail, snapshots } = this.adapters;
    // On its way out it begins nothing but what clients wait for.
    if (this.isStopping && effect.type !== 'apply' && effect.type !== 'answer') return;
    switch (effect.type) {
      case 'open':
      case 'apply':
      case 'install':
      case 'begin':
      case 'mark':
        this.worker.start(effect);
        return;
      case 'answer':
        this.outside.onApplied(effect, this.worker.startUs);
        this.outside.tell(effect);
        return;
      case 'moved':
      case 'tell':
      case 'ask-verify':
      case 'ask-snapshot':
      case 'restart-log':
      case 'refusal':
      case 'trouble':
      case 'recovered':
      case 'differs':
      case 'waiting':
      case 'version':
      case 'ask-machine':
        this.outside.tell(effect);
        return;
      case 'seek':
        this.during(
          UNREADABLE,
          reader.seek(effect.wanted),
          (place) => (core) => core.stream.placed(effect.id, place),
          (core, error) => core.readEnded(effect.id, error),
        );
        return;
      case 'read':
        this.during(
          UNREADABLE,
          reader.read(),
          (piece) => {
            this.outside.onArrived(piece.runs);
            return (core) => core.stream.read(effect.id, piece);
          },
          (core, error) => core.readEnded(effect.id, error),
        );
        return;
      case 'follow':
        tail.next(effect.wanted, (found) => {
          this.outside.onArrived(found);
          // Not within the event that asked.
          queueMicrotask(() => this.dispatch((core) => core.stream.followed(effect.id, found)));
        });
        return;
      case 'look':
        void this.look(effect);
        return;
      case 'list':
        this.during(
          'the snapshots cannot be listed',
          snapshots.list(),
          (all) => (core) => core.bucket.listed(all),
          (core) => core.bucket.listFailed(),
        );
        return;
      case 'confirm':
        this.during(
          'a snapshot could not be confirmed',
          snapshots.confirm(effect.name),
          () => (core) => core.bucket.confirmed(effect.name),
          (core, error) => core.bucket.confirmFailed(effect.name, error instanceof SnapshotFormatError),
        );
        return;
      case 'remove':
        this.during(
          'a snapshot could not be removed',
          snapshots.remove(effect.name),
          () => () => undefined,
          () => undefined,
        );
        return;
      case 'withdraw':
        this.during(
          'snapshots of this server could not be removed',
          snapshots.withdraw(),
          () => () => undefined,
          () => undefined,
        );
        return;
      case 'compact':
        this.during(
          'the log before the snapshots could not be dropped',
          snapshots.compact(effect.mergedIndex, effect.positions),
          () => (core) => core.bucket.compacted(),
          (core) => core.bucket.compactFailed(),
        );
        return;
      case 'locate':
        this.during(
          'the position of the database could not be read',
          this.adapters.engine.locate([]),
          (position) => (core) => core.located(effect.request, position),
          (core) => core.located(effect.request, null),
        );
        return;
      case 'installed':
        this.locates.answer(effect.request, effect.position);
        return;
      case 'taken':
        this.takes.answer(effect.request, effect.snapshot);
        return;
      case 'rebuilt':
        this.rebuilds.answer(effect.request, effect.position);
        return;
      case 'fatal':
        this.outside.onFatal(effect.error);
        return;
    }
  }

  private readonly during: During = (what, work, done, failed) => {
    work.then(
      (value) => this.dispatch(done(value)),
      (error: unknown) => {
        if (!this.isStopping) this.outside.warn(what, error);
        this.dispatch((core) => failed(core, error));
      },
    );
  };

  private async look({ id, wanted }: EffectOf<'look'>): Promise<void> {
    const { engine, reader } = this.adapters;
    this.lookSinceMs ??= performance.now();
    const locating = engine.locate([]).finally(() => {
      this.lookSinceMs = undefined;
    });
    try {
      const [hasMore, position] = await Promise.all([reader.reaches(wanted), locating]);
      this.dispatch((core) => core.looked(id, hasMore, position));
    } catch (error) {
      this.dispatch((core) => core.lookFailed(id, error));
    }
  }
}
