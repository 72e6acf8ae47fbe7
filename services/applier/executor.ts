/**
 * Drives the applier core in the real world: the one place where its effects are done, and from
 * where it hears what came of them.
 */
import {
  type AppliedBatch,
  abandon,
  type EngineBatch,
  type EnginePosition,
  type EngineSnapshot,
  type OnDatabaseCall,
  type RowsCheck,
  SnapshotFormatError,
  type StorageEngine,
  type TableChecksum,
} from '../../shared/engine/port.js';
import { rowsChecksumOf } from '../../shared/engine/rows-checksum.js';
import type { MergedLogTail } from '../../shared/link/merged-log.js';
import type { WindowAnswer } from '../../shared/merge/window.js';
import { MACHINE_COMMAND } from '../../shared/wire/machine.js';
import type { WorkUnderWay } from './applier-health.js';
import type { ApplierCore } from './core/applier.js';
import type { Effect, KnownSnapshot } from './core/effect.js';
import { Requests } from './requests.js';
import { applyRestoring } from './restoring.js';
import type { Snapshots } from './snapshots.js';
import type { MergedLogReader } from './stream.js';

/** Said of the stream. */
const UNREADABLE = 'the merged-log stream cannot be read';

type Done<T extends Effect['type']> = Extract<Effect, { type: T }>;
type EngineWork = Done<'open' | 'apply' | 'install' | 'begin' | 'mark'>;

/** What the executor leaves to the service: telling clients, servers and operators. */
export interface Outside {
  /** These effects, as they come. */
  tell(
    effect: Done<
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
  /**
   * A try of a batch begins; what is returned hears of what is sent to the database. For tracing.
   */
  onApply?(batch: EngineBatch): OnDatabaseCall | undefined;
  /** A batch is committed: when its transaction began (microseconds since the Unix epoch). */
  startUs(): number;
  onApplied(effect: Done<'answer'>, startUs: number): void;
  /** The rows were added up at this position. */
  onVerified(position: EnginePosition, tables: readonly TableChecksum[]): void;
  /** A snapshot could not be made the state. */
  onInstallFailed(): void;
  /** A snapshot, or a file, is the state now. */
  onInstalled(name: string, position: EnginePosition): void;
  onRestored(batch: Done<'apply'>): void;
  warn(text: string, error: unknown): void;
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
  readonly installs = new Requests<EnginePosition | null>();
  readonly takes = new Requests<KnownSnapshot | null>();
  readonly rebuilds = new Requests<EnginePosition | null>();
  private waker: NodeJS.Timeout | undefined;
  private isStopping = false;
  private isStopped = false;
  /** What the engine is doing. */
  private working: Promise<void> = Promise.resolve();
  private startUs = 0;
  private engineWorks: { readonly effect: EngineWork; readonly sinceMs: number } | undefined;
  /** Since when the newest look waits for the database (milliseconds, monotonic). */
  private lookSinceMs: number | undefined;

  constructor(
    readonly core: ApplierCore,
    private readonly adapters: Adapters,
    private readonly outside: Outside,
  ) {}

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
      this.outside.onFatal(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    this.wakeLater();
  }

  /** What is asked of the database and not answered. */
  get underWay(): { readonly engine: WorkUnderWay | undefined; readonly lookSinceMs: number | undefined } {
    const { engineWorks } = this;
    const engine = engineWorks && { ...describe(engineWorks.effect), sinceMs: engineWorks.sinceMs };
    return { engine, lookSinceMs: this.lookSinceMs };
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
    let last: Promise<void>;
    do {
      last = this.working;
      await last;
    } while (last !== this.working);
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
        this.working = this.engineWork(effect);
        return;
      case 'answer':
        this.outside.onApplied(effect, this.startUs);
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
        this.installs.answer(effect.request, effect.position);
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

  private during<T>(
    what: string,
    work: Promise<T>,
    done: (value: T) => (core: ApplierCore) => void,
    failed: (core: ApplierCore, error: unknown) => void,
  ): void {
    work.then(
      (value) => this.dispatch(done(value)),
      (error: unknown) => {
        if (!this.isStopping) this.outside.warn(what, error);
        this.dispatch((core) => failed(core, error));
      },
    );
  }

  private async look({ id, wanted }: Done<'look'>): Promise<void> {
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

  private async engineWork(effect: EngineWork): Promise<void> {
    let told: (core: ApplierCore) => void;
    this.engineWorks = { effect, sinceMs: performance.now() };
    try {
      told = await this.workOf(effect);
    } catch (error) {
      if (effect.type === 'install') this.outside.onInstallFailed();
      told = (core) => core.engineFailed(error);
    }
    this.engineWorks = undefined;
    this.dispatch(told);
  }

  private async workOf(effect: EngineWork): Promise<(core: ApplierCore) => void> {
    const { engine, snapshots } = this.adapters;
    switch (effect.type) {
      case 'open': {
        const position = await engine.open();
        return (core) => core.opened({ position, divergence: engine.divergence });
      }
      case 'apply': {
        this.startUs = this.outside.startUs();
        const done = await this.apply(effect);
        return (core) => core.applied(done);
      }
      case 'install': {
        const { name } = effect.snapshot;
        const position = await engine.restore(await snapshots.open(name));
        this.outside.onInstalled(name, position);
        return (core) => core.installed(position);
      }
      case 'begin':
        return this.begin(effect);
      case 'mark':
        await engine.markDiverged(effect.reason);
        return (core) => core.marked();
    }
  }

  private async apply({ batch, restoring, type }: Done<'apply'>): Promise<AppliedBatch> {
    const { engine, snapshots } = this.adapters;
    if (restoring === undefined) return engine.apply(batch, this.outside.onApply?.(batch));
    const done = await applyRestoring(engine, (object) => snapshots.openFile(object), batch, restoring);
    this.outside.onRestored({ type, batch, restoring });
    return done;
  }

  /** Both are of the state as it is now; nothing is applied until both have begun. */
  private async begin({ mark, save }: Done<'begin'>): Promise<(core: ApplierCore) => void> {
    const { engine } = this.adapters;
    const check = await engine.checkRows();
    void this.finishCheck(check);
    const { position } = check;
    if (!save || position.mergedIndex !== mark) return (core) => core.begun(position);
    try {
      const snapshot = await engine.snapshot();
      if (snapshot.position.mergedIndex === mark) this.save(snapshot);
      else await abandon(snapshot);
      return (core) => core.begun(snapshot.position);
    } catch (error) {
      this.outside.warn('no snapshot could be begun', error);
      return (core) => {
        core.begun(position);
        core.bucket.saveFailed();
      };
    }
  }

  private save(snapshot: EngineSnapshot): void {
    this.during(
      'a snapshot could not be saved',
      this.adapters.snapshots.save(snapshot),
      ({ name, position }) =>
        (core) =>
          core.bucket.saved(position.mergedIndex, name),
      (core) => core.bucket.saveFailed(),
    );
  }

  private async finishCheck({ position, tables }: RowsCheck): Promise<void> {
    let told: (core: ApplierCore) => void;
    try {
      const found = await tables;
      this.outside.onVerified(position, found);
      told = (core) => core.verified(position.mergedIndex, rowsChecksumOf(found));
    } catch (error) {
      if (!this.isStopping) this.outside.warn('the checksum of the rows could not be computed', error);
      told = (core) => core.verifyFailed(error);
    }
    this.dispatch(told);
  }
}

/** For people, when it takes long. */
function describe(effect: EngineWork): Pick<WorkUnderWay, 'what' | 'mayLast'> {
  if (effect.type === 'begin') return { what: 'a look at all rows', mayLast: false };
  if (effect.type === 'mark') return { what: 'keeping the verdict', mayLast: false };
  if (effect.type !== 'apply') return { what: effect.type, mayLast: true };
  const { batch, restoring } = effect;
  // Migrations and files take what they need.
  const mayLast = restoring !== undefined || batch.commands[0]?.name === MACHINE_COMMAND;
  return { what: `the batch of ${placeOf(batch)}`, mayLast };
}

/** For the log: which batch failed, and why. */
export function batchFailure(batch: EngineBatch, cause: unknown): Error {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new Error(`applying ${placeOf(batch)} failed: ${why}`, { cause });
}

/** For example `merged index 15 to 19 (kv.put)`, with the name of the first command. */
function placeOf({ commands }: EngineBatch): string {
  const [first] = commands;
  const last = commands[commands.length - 1];
  const range = first === last ? `${first?.mergedIndex}` : `${first?.mergedIndex} to ${last?.mergedIndex}`;
  return `merged index ${range} (${first?.name})`;
}
