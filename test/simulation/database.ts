/**
 * The database of a simulated server: the key-value machine in memory. A crash may take back its
 * last transactions. Its rows may come to differ from the other servers' unnoticed.
 */
import { positionRestored, restoredBy } from '../../services/applier/restoring.js';
import type { KvOverlay } from '../../shared/engine/kv/execute.js';
import {
  type AppliedBatch,
  type EngineBatch,
  type EnginePosition,
  type MergedCommand,
  ReplacedError,
  versionAt,
} from '../../shared/engine/port.js';
import { rowsChecksumOf } from '../../shared/engine/rows-checksum.js';
import type { CommandOutcome } from '../../shared/engine/state-machine.js';
import { FIRST_VERSION } from '../../shared/engine/switch.js';
import { LOG_START, type LogPosition } from '../../shared/raft/entry.js';
import { RESERVED_PREFIX } from '../../shared/wire/restore.js';
import { MemoryEngine, type MemorySnapshot } from '../memory/engine.js';
import { placeOf } from './world.js';

/** Longer than any run: ids are not forgotten within one. */
const RESULT_WINDOW_MS = 4 * 3_600_000;
/** A command whose handler fails. */
export const FAILING_COMMAND = 'kv.fail';

/** A state as bytes, and what the simulator knows of it. */
export interface SavedState extends MemorySnapshot {
  readonly place: number;
  /** It is of a server that differed. */
  readonly isTainted: boolean;
}

interface Restored {
  readonly file: SavedState;
  readonly digest: string;
}

type Transaction =
  | { readonly batch: EngineBatch; readonly restored: Restored | null }
  /** Rows are changed by hand: `rows` of them, and with it perhaps the outcomes to come. */
  | { readonly taint: number };

/**
 * Every version that there ever is: which ones a server has loaded holds up its applier, not its
 * database.
 */
export const VERSIONS: readonly number[] = [1, 2, 3];

/**
 * Versions leave traces: a row of the last command that each has executed, and one of each
 * migration. A migration may fail.
 */
export class Machine extends MemoryEngine {
  /** Whose code has executed the last command. */
  executedBy = FIRST_VERSION;

  constructor() {
    super({ resultWindowMs: RESULT_WINDOW_MS, versions: VERSIONS });
  }

  protected override execute(command: MergedCommand, overlay: KvOverlay): CommandOutcome {
    if (!command.name.startsWith(RESERVED_PREFIX)) this.executedBy = this.code();
    if (command.name === FAILING_COMMAND) return { ok: false, message: 'a defect of the handler', failed: true };
    const outcome = super.execute(command, overlay);
    if (command.name.startsWith(RESERVED_PREFIX)) return outcome;
    const { mergedIndex, timestamp } = command;
    if (this.executedBy > FIRST_VERSION && outcome.ok) {
      const row = { version: mergedIndex, json: 'null', mergedIndex, timestamp };
      overlay.writes.set(`executed by ${this.executedBy}`, row);
    }
    return outcome;
  }

  /** The version whose code executes what comes next. */
  protected code(): number {
    return this.machine.version;
  }

  /** It depends on all rows, so one at another place is another one. */
  protected override migrate(version: number): CommandOutcome {
    const { size } = this.rows;
    if (size % 4 === 3) return { ok: false, message: 'a row does not fit', failed: true };
    this.rows.set(`migrated to ${version}`, { version: size + 1, json: 'null', mergedIndex: 0, timestamp: 0 });
    return super.migrate(version);
  }

  positionNow(): EnginePosition {
    return this.position;
  }
}

export class SimulatedDatabase {
  engine = new Machine();
  /** What survives every crash, and what was committed since. */
  private base: SavedState;
  private since: Transaction[] = [];
  /** Place in the merged order of the last command applied. */
  place = 0;
  isTainted = false;
  /** Raised whenever the database is another one: who has opened the one before is told. */
  private generation = 1;
  /** Committed, and the client of the database has not heard of it. */
  private unheard: { readonly batch: EngineBatch; readonly done: AppliedBatch } | null = null;

  constructor(private readonly groups: number) {
    this.base = this.save();
  }

  get mergedIndex(): number {
    return this.position().mergedIndex;
  }

  /** For each group its last command applied. */
  get positions(): readonly LogPosition[] {
    const { positions } = this.position();
    return Array.from({ length: this.groups }, (_, group) => positions[group] ?? LOG_START);
  }

  position(): EnginePosition {
    return this.engine.positionNow();
  }

  open(): number {
    this.unheard = null;
    return this.generation;
  }

  /** It is still the database that was opened. */
  isOpenAs(generation: number): boolean {
    return generation === this.generation;
  }

  /** @throws ReplacedError when it is not. */
  require(generation: number): void {
    if (!this.isOpenAs(generation)) throw new ReplacedError('the database is another one');
  }

  /** `isHeard`: the answer arrives; else it is given when the same batch comes again. */
  apply(batch: EngineBatch, restored: Restored | null, isHeard: boolean): AppliedBatch {
    const { unheard } = this;
    this.unheard = null;
    const isSame = unheard !== null && unheard.batch === batch && this.mergedIndex === lastOf(batch).mergedIndex;
    const done = isSame ? unheard.done : this.commit(batch, restored);
    if (!isSame) this.since.push({ batch, restored });
    if (!isHeard) this.unheard = { batch, done };
    return done;
  }

  rowsChecksum(): string {
    return rowsChecksumOf([this.engine.checkRowsNow().rows]);
  }

  /** Some rows are not any more what the log says. */
  taint(changed: number): void {
    this.since.push({ taint: changed });
    this.change(changed);
  }

  markDiverged(reason: string): void {
    this.engine.divergence = reason;
    this.flush();
  }

  /** Forgets the last `count` transactions. */
  loseTail(count: number): void {
    const { base, divergence } = { base: this.base, divergence: this.engine.divergence };
    const kept = this.since.slice(0, Math.max(0, this.since.length - count));
    if (kept.length === this.since.length) return;
    this.load(base);
    this.engine.divergence = divergence;
    this.since = [];
    for (const transaction of kept) {
      if ('taint' in transaction) this.change(transaction.taint);
      else this.commit(transaction.batch, transaction.restored);
      this.since.push(transaction);
    }
  }

  /** What is here now survives every crash: before logs that it was made from go (T10). */
  flush(): void {
    this.base = this.save();
    this.since = [];
  }

  save(): SavedState {
    const { place, isTainted } = this;
    return { ...this.engine.snapshotNow(), place, isTainted };
  }

  restore(state: SavedState): void {
    this.load(state);
    this.base = state;
    this.since = [];
  }

  /** It is another one, and empty. */
  lose(): void {
    this.generation += 1;
    this.engine = new Machine();
    this.place = 0;
    this.isTainted = false;
    this.flush();
  }

  private commit(batch: EngineBatch, restored: Restored | null): AppliedBatch {
    const done = restored === null ? this.engine.applyNow(batch) : this.commitRestored(batch, restored);
    const { timestamp, group } = lastOf(batch);
    this.place = placeOf(timestamp, group);
    return done;
  }

  private commitRestored(batch: EngineBatch, { file, digest }: Restored): AppliedBatch {
    const done = restoredBy(batch, digest);
    const restored = this.engine.restoreNow(file, (before) => positionRestored(before, batch, done.resultsChecksum));
    this.isTainted = file.isTainted;
    return { ...done, version: versionAt(restored) };
  }

  private load(state: SavedState): void {
    this.unheard = null;
    this.engine = new Machine();
    this.engine.restoreNow(state);
    this.place = state.place;
    this.isTainted = state.isTainted;
  }

  /**
   * One row more, which no client ever touches, and another version in some of the rows that they
   * do.
   */
  private change(changed: number): void {
    this.isTainted = true;
    const { rows } = this.engine;
    const [first] = rows.values();
    rows.set('by hand', {
      ...(first ?? { json: 'null', version: 1, mergedIndex: 0, timestamp: 0 }),
      json: '"by hand"',
    });
    for (const [key, row] of [...rows].slice(0, changed)) rows.set(key, { ...row, version: row.version + 1_000 });
  }
}

function lastOf({ commands }: EngineBatch): MergedCommand {
  const last = commands[commands.length - 1];
  if (last === undefined) throw new Error('an empty batch');
  return last;
}
