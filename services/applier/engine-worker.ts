/**
 * Does the work of the engine, one thing at a time, and tells the core what came of it. The work is
 * opening, applying a batch, installing a snapshot, looking at the rows, and keeping a verdict.
 */
import {
  type AppliedBatch,
  abandon,
  type EngineBatch,
  type EnginePosition,
  type EngineSnapshot,
  type OnDatabaseCall,
  type RowsCheck,
  type StorageEngine,
  type TableChecksum,
} from '../../shared/engine/port.js';
import { rowsChecksumOf } from '../../shared/engine/rows-checksum.js';
import { messageOf } from '../../shared/errors.js';
import { itemAt, lastOf } from '../../shared/raft/lists.js';
import { MACHINE_COMMAND } from '../../shared/wire/machine.js';
import type { WorkUnderWay } from './applier-health.js';
import type { ApplierCore } from './core/applier.js';
import type { Effect } from './core/effect.js';
import { applyRestoring } from './restoring.js';
import type { Snapshots } from './snapshots.js';

/** The effect of that type. */
export type EffectOf<T extends Effect['type']> = Extract<Effect, { readonly type: T }>;
export type EngineEffect = EffectOf<'open' | 'apply' | 'install' | 'begin' | 'mark'>;

/** What there is to say of the engine's work. */
export interface EngineOutside {
  /**
   * A try of a batch begins; what is returned hears of what is sent to the database. For tracing.
   */
  onApply?(batch: EngineBatch): OnDatabaseCall | undefined;
  /** When that is (microseconds since the Unix epoch). */
  startUs(): number;
  /** The rows were added up at this position. */
  onVerified(position: EnginePosition, tables: readonly TableChecksum[]): void;
  /** A snapshot could not be made the state. */
  onInstallFailed(): void;
  /** A snapshot, or a file, is the state now. */
  onInstalled(name: string, position: EnginePosition): void;
  onRestored(batch: EffectOf<'apply'>): void;
  warn(text: string, error: unknown): void;
}

/** What the core is to hear. */
type Event = (core: ApplierCore) => void;

/**
 * The core hears of the end of `work`, one way or the other. `what`: said when it fails, unless the
 * service stops.
 */
export type During = <T>(
  what: string,
  work: Promise<T>,
  done: (value: T) => Event,
  failed: (core: ApplierCore, error: unknown) => void,
) => void;

export class EngineWorker {
  /** When the last try of a batch began. */
  startUs = 0;
  private working: Promise<void> = Promise.resolve();
  private current: { readonly effect: EngineEffect; readonly sinceMs: number } | undefined;

  constructor(
    private readonly engine: StorageEngine,
    private readonly snapshots: Pick<Snapshots, 'open' | 'openFile' | 'save'>,
    private readonly outside: EngineOutside,
    private readonly dispatch: (event: Event) => void,
    private readonly during: During,
  ) {}

  /** What is asked of the database and not answered. */
  get underWay(): WorkUnderWay | undefined {
    return this.current && { ...describe(this.current.effect), sinceMs: this.current.sinceMs };
  }

  start(effect: EngineEffect): void {
    this.working = this.run(effect);
  }

  /** Resolves when nothing is under way, and nothing has begun because of what was. */
  async settled(): Promise<void> {
    let last: Promise<void>;
    do {
      last = this.working;
      await last;
    } while (last !== this.working);
  }

  private async run(effect: EngineEffect): Promise<void> {
    let told: Event;
    this.current = { effect, sinceMs: performance.now() };
    try {
      told = await this.workOf(effect);
    } catch (error) {
      if (effect.type === 'install') this.outside.onInstallFailed();
      told = (core) => core.engineFailed(error);
    }
    this.current = undefined;
    this.dispatch(told);
  }

  private async workOf(effect: EngineEffect): Promise<Event> {
    const { engine, snapshots } = this;
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

  private async apply({ batch, restoring, type }: EffectOf<'apply'>): Promise<AppliedBatch> {
    const { engine, snapshots } = this;
    if (restoring === undefined) return engine.apply(batch, this.outside.onApply?.(batch));
    const done = await applyRestoring(engine, (object) => snapshots.openFile(object), batch, restoring);
    this.outside.onRestored({ type, batch, restoring });
    return done;
  }

  /** Both are of the state as it is now; nothing is applied until both have begun. */
  private async begin({ mark, save }: EffectOf<'begin'>): Promise<Event> {
    const { engine } = this;
    const check = await engine.checkRows();
    this.finishCheck(check);
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
      this.snapshots.save(snapshot),
      ({ name, position }) =>
        (core) =>
          core.bucket.saved(position.mergedIndex, name),
      (core) => core.bucket.saveFailed(),
    );
  }

  private finishCheck({ position, tables }: RowsCheck): void {
    const added = tables.then((found) => {
      this.outside.onVerified(position, found);
      return rowsChecksumOf(found);
    });
    this.during(
      'the checksum of the rows could not be computed',
      added,
      (checksum) => (core) => core.verified(position.mergedIndex, checksum),
      (core, error) => core.verifyFailed(error),
    );
  }
}

/** For people, when it takes long. */
function describe(effect: EngineEffect): Pick<WorkUnderWay, 'what' | 'mayLast'> {
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
  const why = messageOf(cause);
  return new Error(`applying ${placeOf(batch)} failed: ${why}`, { cause });
}

/** For example `merged index 15 to 19 (kv.put)`, with the name of the first command. */
function placeOf({ commands }: EngineBatch): string {
  const first = itemAt(commands, 0);
  const last = lastOf(commands);
  const range = first === last ? `${first.mergedIndex}` : `${first.mergedIndex} to ${last.mergedIndex}`;
  return `merged index ${range} (${first.name})`;
}
