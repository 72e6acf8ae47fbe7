/**
 * Exactly once (T8) in Postgres: which outcomes may be stored for the ids of a batch, and in which
 * form those of its new ids are stored.
 *
 * Ids in the window are remembered (recent-ids.ts), and their outcomes lie in one row for each
 * batch. An id that is not remembered has no outcome that counts, and nothing is asked. While more
 * ids are in the window than are to be remembered, the outcomes of further ones are stored a row
 * each. The database is asked for every id until the last of those has expired. What counts as a
 * duplicate is decided by timestamps (`originsOf`), wherever a result lies.
 *
 * One of these is true of one state: it is loaded from it, and learns of each batch before that is
 * written, and again when it is known to be. It may know ids of batches that never were committed;
 * the database does not have them.
 */
import type { SettledBatch, StoredResult } from '../../../shared/engine/results.js';
import { integerArray, textArray } from '../../../shared/postgres/array.js';
import type { MergedIndex, Timestamp } from '../../../shared/raft/entry.js';
import { RecentIds } from './recent-ids.js';
import {
  LAST_RESULT_BATCH,
  LIST_RESULT_BATCHES,
  PRUNE_RESULT_BATCHES,
  READ_RESULT_BATCHES,
  RESULT_BATCH_PARAMETERS,
  readResultBatches,
  resultBatchParameters,
  storeResultBatch,
} from './result-batches.js';
import {
  LAST_RESULT,
  LOOK_UP_RESULTS,
  PRUNE_RESULTS,
  RESULT_PARAMETERS,
  readResults,
  resultParameters,
  storeResults,
} from './results.js';
import type { Rows, Statement } from './rows.js';

/**
 * Rows read at once while loading: one, and then so many that they are about so many characters.
 */
const ROWS_MAX = 8_192;
const PIECE_LENGTH = 4 * 1024 * 1024;
/** Most expired rows removed at once: those with one outcome, those with many. */
const PRUNE_ROWS_MAX = 4_096;
const PRUNE_BATCHES_MAX = 512;
/**
 * How many rows with one outcome may have come in since the last removal before another one is due.
 */
const PRUNE_EVERY = 2_048;
/** The same of rows with the outcomes of a batch. */
const PRUNE_BATCHES_EVERY = 64;

/** Sends statements together, none of them in need of a transaction. */
export type Send = (...statements: readonly Statement[]) => Promise<Rows[]>;

/**
 * What may be stored for the ids of a batch: the statements that find it, and what their answers
 * say.
 */
export interface LookUp {
  readonly statements: readonly Statement[];
  /** By key, the newest. */
  read(answers: readonly Rows[]): ReadonlyMap<string, StoredResult>;
}

/** How the results of a batch are stored: a part of the statement that writes it. */
export interface Storing {
  /**
   * `moved` is the relation that has a row when the batch may be written; `first` the number of the
   * first parameter.
   */
  readonly text: (moved: string, first: number) => string;
  readonly parameterCount: number;
  readonly parameters: readonly string[];
}

/** A removal of expired rows; `removed` is told how many it has removed. */
export interface Pruning {
  readonly statement: Statement;
  removed(count: number): void;
}

/**
 * Of a state that the removal is right for: the fence's epoch, and a merged index that it has
 * reached.
 */
export interface Reached {
  readonly epoch: number;
  readonly mergedIndex: MergedIndex;
}

const NOTHING: LookUp = { statements: [], read: () => new Map() };

export class ResultStore {
  private readonly ids: RecentIds;
  /** The number of the next row; the same for every try to write it. */
  private nextRow = 1;
  /** A try to write it has been made: some of its ids may be remembered. */
  private isTried = false;
  /** Batches below this row have been removed. */
  private prunedBelow = 0;
  /** Of the newest result that has a row of its own; undefined when there is none. */
  private ownRowsUntilUs: Timestamp | undefined;
  private storedSincePrune = PRUNE_EVERY;

  private constructor(
    private readonly windowUs: number,
    idsMax: number | undefined,
  ) {
    this.ids = new RecentIds(windowUs, idsMax);
  }

  /** Reads what is in the window of a state whose last entry is of `timestampUs`. */
  static async load(
    send: Send,
    timestampUs: Timestamp,
    windowUs: number,
    idsMax: number | undefined,
  ): Promise<ResultStore> {
    const store = new ResultStore(windowUs, idsMax);
    const horizon = String(timestampUs - windowUs);
    const [last, own] = await send([LAST_RESULT_BATCH, []], [LAST_RESULT, []]);
    store.nextRow = Number(last?.[0]?.[0] ?? 0) + 1;
    const newest = own?.[0]?.[0];
    if (newest !== undefined && newest !== null) store.ownRowsUntilUs = Number(newest);
    for (let [after, limit] = [0, 1]; ; ) {
      const [rows = []] = await send([LIST_RESULT_BATCHES, [String(after), horizon, String(limit)]]);
      let length = 1;
      for (const [number, timestamp, ids] of rows) {
        const text = String(ids);
        after = Number(number);
        length += text.length;
        for (const id of JSON.parse(text) as string[]) store.ids.add(id, after, Number(timestamp));
      }
      if (rows.length < limit) return store;
      limit = Math.max(1, Math.min(ROWS_MAX, Math.floor((PIECE_LENGTH / length) * rows.length)));
    }
  }

  /** How many ids are remembered. */
  get size(): number {
    return this.ids.size;
  }

  /**
   * `keys`: of the ids of a batch, in their order, an empty one for a command without an id.
   * `firstUs`: of its first entry.
   */
  lookUp(keys: readonly string[], firstUs: Timestamp): LookUp {
    this.ids.expire(firstUs - this.windowUs);
    const wanted = new Set<string>();
    const rows = new Set<number>();
    for (const key of keys) {
      const found = key === '' ? undefined : this.ids.rowsOf(key);
      if (found === undefined) continue;
      wanted.add(key);
      for (const row of found) rows.add(row);
    }
    const given = this.mayHaveOwnRow(firstUs) ? keys.filter((key) => key !== '') : [];
    if (rows.size === 0 && given.length === 0) return NOTHING;
    const inBatches: Statement[] = rows.size === 0 ? [] : [[READ_RESULT_BATCHES, [integerArray([...rows])]]];
    const inOwnRows: Statement[] = given.length === 0 ? [] : [[LOOK_UP_RESULTS, [textArray(given)]]];
    return {
      statements: [...inBatches, ...inOwnRows],
      read: (answers) => {
        const results = readResultBatches(rows.size === 0 ? [] : (answers[0] ?? []), wanted);
        const own = readResults(given.length === 0 ? [] : (answers[inBatches.length] ?? []));
        for (const [key, result] of own) {
          const other = results.get(key);
          if (other === undefined || other.timestamp < result.timestamp) results.set(key, result);
        }
        return results;
      },
    };
  }

  /**
   * The results are about to be written: from now on they may be there. Undefined when there are
   * none.
   */
  storing({ results }: SettledBatch): Storing | undefined {
    if (results.size === 0) return undefined;
    if (!this.ids.hasRoomFor(results.size)) return this.storingRows(results);
    const row = this.nextRow;
    for (const [key, { timestamp }] of results) {
      if (!this.isTried || this.ids.rowsOf(key)?.includes(row) !== true) this.ids.add(key, row, timestamp);
    }
    this.isTried = true;
    return {
      text: storeResultBatch,
      parameterCount: RESULT_BATCH_PARAMETERS,
      parameters: resultBatchParameters(row, results),
    };
  }

  /** The results that were last given to `storing` are written. */
  stored(): void {
    if (this.isTried) this.nextRow += 1;
    this.isTried = false;
  }

  /**
   * What is due to be removed from a state whose last entry is of `timestampUs`; at most one at a
   * time.
   */
  pruning(timestampUs: Timestamp, { epoch, mergedIndex }: Reached): Pruning | undefined {
    const horizonUs = timestampUs - this.windowUs;
    if (horizonUs <= 0) return undefined;
    this.ids.expire(horizonUs);
    const below = this.ids.firstRow ?? this.nextRow;
    if (below - this.prunedBelow >= PRUNE_BATCHES_EVERY) {
      const limits = [epoch, mergedIndex, this.prunedBelow, below, horizonUs, PRUNE_BATCHES_MAX];
      return {
        statement: [PRUNE_RESULT_BATCHES, limits.map(String)],
        removed: (count) => {
          if (count < PRUNE_BATCHES_MAX) this.prunedBelow = below;
        },
      };
    }
    const { ownRowsUntilUs } = this;
    if (ownRowsUntilUs === undefined) return undefined;
    if (this.storedSincePrune < PRUNE_EVERY && ownRowsUntilUs >= horizonUs) return undefined;
    return {
      statement: [PRUNE_RESULTS, [epoch, mergedIndex, horizonUs, PRUNE_ROWS_MAX].map(String)],
      removed: (count) => {
        // As many as were asked for: there are more.
        if (count === PRUNE_ROWS_MAX) return;
        this.storedSincePrune = 0;
        if (this.ownRowsUntilUs === ownRowsUntilUs && ownRowsUntilUs < horizonUs) this.ownRowsUntilUs = undefined;
      },
    };
  }

  private mayHaveOwnRow(firstUs: Timestamp): boolean {
    return this.ownRowsUntilUs !== undefined && this.ownRowsUntilUs >= firstUs - this.windowUs;
  }

  private storingRows(results: ReadonlyMap<string, StoredResult>): Storing {
    for (const { timestamp } of results.values()) {
      if (timestamp > (this.ownRowsUntilUs ?? Number.NEGATIVE_INFINITY)) this.ownRowsUntilUs = timestamp;
    }
    this.storedSincePrune += results.size;
    return { text: storeResults, parameterCount: RESULT_PARAMETERS, parameters: resultParameters(results) };
  }
}
