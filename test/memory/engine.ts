/**
 * The key-value machine without a database: same port, same outcomes, everything in one Map.
 * Synchronous inside, so that it can stand where time is simulated. It forgets everything with the
 * process.
 */

import { kvContract } from '../../shared/engine/kv/contract.js';
import { KvOverlay, type KvRow, readKvCommand } from '../../shared/engine/kv/execute.js';
import type { GetInput, ListInput } from '../../shared/engine/kv/schema.js';
import {
  type AppliedBatch,
  abandon,
  type EngineBatch,
  type EnginePosition,
  type EngineSnapshot,
  type KeptOutcomes,
  type MergedCommand,
  PositionError,
  positionsAfter,
  type RowsCheck,
  type StorageEngine,
  type TableChecksum,
  VersionMissingError,
  versionAt,
  versionField,
} from '../../shared/engine/port.js';
import { validateQuery } from '../../shared/engine/registry.js';
import { originsOf, type StoredResult, settle } from '../../shared/engine/results.js';
import { EMPTY_RESULTS_CHECKSUM } from '../../shared/engine/results-checksum.js';
import { checksumText, rowDigest } from '../../shared/engine/rows-checksum.js';
import { wrongFormat } from '../../shared/engine/snapshot-frames.js';
import type { CommandOutcome, MachineVersion } from '../../shared/engine/state-machine.js';
import { FIRST_VERSION, switched, switchOf } from '../../shared/engine/switch.js';
import { EMPTY_CHECKSUM } from '../../shared/merge/checksum.js';
import type { MergedIndex } from '../../shared/raft/entry.js';
import { MACHINE_COMMAND } from '../../shared/wire/machine.js';
import { RESERVED_PREFIX } from '../../shared/wire/restore.js';
import { encodeState, MEMORY_FORMAT, StateDecoder } from './snapshot.js';

/** A snapshot whose bytes are there at once. */
export interface MemorySnapshot extends Omit<EngineSnapshot, 'data'> {
  readonly bytes: Uint8Array;
}

export class MemoryEngine implements StorageEngine {
  readonly rows = new Map<string, KvRow>();
  /** In order of age, so that the oldest are found first. */
  private readonly results = new Map<string, StoredResult>();
  private isBeingRead = false;
  private isBeingChecked = false;
  divergence: string | undefined;
  protected position: EnginePosition = {
    mergedIndex: 0,
    checksum: EMPTY_CHECKSUM,
    timestamp: 0,
    resultsChecksum: EMPTY_RESULTS_CHECKSUM,
    positions: [],
  };

  constructor(
    private readonly options: {
      readonly resultWindowMs: number;
      /**
       * Versions that are loaded; the first one unless given. They differ in what `migrate` and
       * `execute` are made to do.
       */
      readonly versions?: readonly number[];
    },
  ) {}

  get machine(): MachineVersion {
    return { name: kvContract.name, version: versionAt(this.position) };
  }

  open(): Promise<EnginePosition> {
    return Promise.resolve(this.position);
  }

  apply(batch: EngineBatch): Promise<AppliedBatch> {
    try {
      return Promise.resolve(this.applyNow(batch));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  applyNow({ commands, checksum }: EngineBatch): AppliedBatch {
    const first = commands[0];
    const last = commands[commands.length - 1];
    if (first === undefined || last === undefined)
      return { applied: [], checkpoints: [], resultsChecksum: this.position.resultsChecksum };
    if (first.mergedIndex !== this.position.mergedIndex + 1) {
      throw new PositionError(`applied up to ${this.position.mergedIndex}, given ${first.mergedIndex}`, this.position);
    }
    const windowUs = this.options.resultWindowMs * 1_000;
    const origins = originsOf(commands, windowUs, (key) => this.results.get(key));
    const { version } = this.machine;
    const target = this.switchTarget(first, origins[0] === 'new');
    const overlay = new KvOverlay((key) => this.rows.get(key)?.version ?? 0);
    const outcomes: CommandOutcome[] = [];
    for (let at = 0; at < commands.length; at++) {
      const command = commands[at];
      if (command === undefined || origins[at] !== 'new') continue;
      outcomes.push(target === undefined ? this.execute(command, overlay) : this.migrate(target));
    }
    // A migration that fails leaves everything as it was.
    const after = target !== undefined && outcomes[0]?.ok === true ? target : version;
    const settled = settle(commands, origins, outcomes, this.position.resultsChecksum);
    for (const [key, row] of overlay.writes) {
      if (row === null) this.rows.delete(key);
      else this.rows.set(key, row);
    }
    for (const [key, result] of settled.results) {
      this.results.delete(key);
      this.results.set(key, result);
    }
    this.position = {
      mergedIndex: last.mergedIndex,
      checksum,
      timestamp: last.timestamp,
      resultsChecksum: settled.resultsChecksum,
      positions: positionsAfter(this.position.positions, commands),
      ...versionField(after),
    };
    this.prune(last.timestamp - windowUs);
    const { applied, checkpoints, resultsChecksum } = settled;
    return { applied, checkpoints, resultsChecksum, ...(after === version ? {} : { version: after }) };
  }

  /**
   * The version that a batch switches to (T12). @throws VersionMissingError when it, or the one
   * that the batch needs, is not loaded.
   */
  private switchTarget({ name, payload, mergedIndex }: MergedCommand, isNew: boolean): number | undefined {
    const { machine } = this;
    const decided = name === MACHINE_COMMAND ? switchOf(payload, machine, mergedIndex) : undefined;
    const target = decided !== undefined && isNew && 'to' in decided ? decided.to : undefined;
    const needed = target ?? (name.startsWith(RESERVED_PREFIX) ? undefined : machine.version);
    const { versions = [FIRST_VERSION] } = this.options;
    if (needed !== undefined && !versions.includes(needed)) throw new VersionMissingError(machine.name, needed);
    return target;
  }

  /** Brings the rows to this version; the outcome of the switch. */
  protected migrate(version: number): CommandOutcome {
    return switched({ name: kvContract.name, version });
  }

  protected execute(command: MergedCommand, overlay: KvOverlay): CommandOutcome {
    if (command.name === MACHINE_COMMAND) {
      const decided = switchOf(command.payload, this.machine, command.mergedIndex);
      if ('outcome' in decided) return decided.outcome;
    }
    const read = readKvCommand(command);
    return typeof read === 'string' ? { ok: false, message: read } : overlay.execute(read);
  }

  query(name: string, input: unknown): Promise<unknown> {
    try {
      return Promise.resolve(this.queryNow(name, input));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  locate(): Promise<EnginePosition> {
    return Promise.resolve(this.position);
  }

  outcomes(from: MergedIndex, to: MergedIndex): Promise<KeptOutcomes> {
    const outcomes = [...this.results.values()].filter(({ mergedIndex }) => mergedIndex >= from && mergedIndex <= to);
    return Promise.resolve({ appliedIndex: this.position.mergedIndex, outcomes });
  }

  snapshot(): Promise<EngineSnapshot> {
    if (this.isBeingRead) return Promise.reject(new Error('a snapshot of this engine is being taken already'));
    this.isBeingRead = true;
    const { position } = this;
    const bytes = encodeState({ position, rows: new Map(this.rows), results: new Map(this.results) });
    const isOver = () => {
      this.isBeingRead = false;
    };
    const iterator: AsyncIterator<Uint8Array> = {
      next: () => {
        const next = bytes.next();
        if (next.done === true) isOver();
        return Promise.resolve(next);
      },
      return: () => {
        bytes.return(undefined);
        isOver();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
    return Promise.resolve({ position, format: MEMORY_FORMAT, data: { [Symbol.asyncIterator]: () => iterator } });
  }

  snapshotNow(): MemorySnapshot {
    const { position, rows, results } = this;
    return { position, format: MEMORY_FORMAT, bytes: Buffer.concat([...encodeState({ position, rows, results })]) };
  }

  markDiverged(reason: string): Promise<void> {
    this.divergence = reason;
    return Promise.resolve();
  }

  checkRows(): Promise<RowsCheck> {
    if (this.isBeingChecked) return Promise.reject(new Error('the rows of this engine are being checked already'));
    this.isBeingChecked = true;
    const { position, rows } = this.checkRowsNow();
    const tables = Promise.resolve([rows]).finally(() => {
      this.isBeingChecked = false;
    });
    return Promise.resolve({ position, tables });
  }

  checkRowsNow(): { readonly position: EnginePosition; readonly rows: TableChecksum } {
    let sum = 0n;
    for (const row of this.rows) sum += rowDigest(JSON.stringify(row));
    return { position: this.position, rows: { name: 'kv', rows: this.rows.size, checksum: checksumText(sum) } };
  }

  async verify({ format, position, data }: EngineSnapshot): Promise<void> {
    if (format !== MEMORY_FORMAT) throw wrongFormat(format, MEMORY_FORMAT);
    const decoder = new StateDecoder(position);
    for await (const chunk of data) decoder.push(chunk);
    decoder.finish();
  }

  async restore(
    { format, position, data }: EngineSnapshot,
    as?: (before: EnginePosition) => EnginePosition,
  ): Promise<EnginePosition> {
    try {
      if (format !== MEMORY_FORMAT) throw wrongFormat(format, MEMORY_FORMAT);
      const decoder = new StateDecoder(position);
      for await (const chunk of data) decoder.push(chunk);
      return this.takeOverAs(decoder, position, as);
    } finally {
      await abandon({ data });
    }
  }

  restoreNow(
    { format, position, bytes }: MemorySnapshot,
    as?: (before: EnginePosition) => EnginePosition,
  ): EnginePosition {
    if (format !== MEMORY_FORMAT) throw wrongFormat(format, MEMORY_FORMAT);
    const decoder = new StateDecoder(position);
    decoder.push(bytes);
    return this.takeOverAs(decoder, position, as);
  }

  /** The version that the snapshot was taken with is in force (T12). */
  private takeOverAs(
    decoder: StateDecoder,
    of: EnginePosition,
    as: ((before: EnginePosition) => EnginePosition) | undefined,
  ): EnginePosition {
    const counted = as?.(this.position);
    const restored = this.takeOver(decoder);
    this.position = { ...(counted ?? restored), ...versionField(versionAt(of)) };
    return this.position;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  private queryNow(name: string, given: unknown): unknown {
    const input = validateQuery(kvContract, name, given);
    if (name === 'kv.get') {
      const row = this.rows.get((input as GetInput).key);
      return row === undefined ? null : { value: JSON.parse(row.json), version: row.version };
    }
    const { prefix = '', after = '', limit } = input as ListInput;
    return [...this.rows]
      .filter(([key]) => key.startsWith(prefix) && (after === '' || compareBytes(key, after) > 0))
      .sort(([a], [b]) => compareBytes(a, b))
      .slice(0, limit)
      .map(([key, row]) => ({ key, value: JSON.parse(row.json), version: row.version }));
  }

  /** All of the snapshot has been read and found to be right. */
  private takeOver(decoder: StateDecoder): EnginePosition {
    const { position, rows, results } = decoder.finish();
    this.rows.clear();
    this.results.clear();
    for (const [key, row] of rows) this.rows.set(key, row);
    for (const [key, result] of results) this.results.set(key, result);
    this.position = position;
    this.divergence = undefined;
    return position;
  }

  private prune(horizon: number): void {
    for (const [key, result] of this.results) {
      if (result.timestamp >= horizon) return;
      this.results.delete(key);
    }
  }
}

/** The order of the bytes in UTF-8, which is not that of JavaScript strings above U+FFFF. */
function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
