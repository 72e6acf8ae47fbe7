/**
 * The tables of one server's database. `kv` is the state of the built-in machine, for every user to
 * query; what the engine needs for itself lies in the schema `craft`. Text columns compare by
 * bytes, so that order is the same on every server, whatever its locale.
 */
import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  check,
  customType,
  index,
  integer,
  jsonb,
  pgSchema,
  pgTable,
  text,
  timestamp,
} from 'drizzle-orm/pg-core';

const bytewiseText = customType<{ data: string }>({ dataType: () => 'text COLLATE "C"' });

export const kv = pgTable('kv', {
  key: bytewiseText('key').primaryKey(),
  /** Any JSON value; JSON null is jsonb 'null'. */
  value: jsonb('value').notNull(),
  /** 1 when the key is created, one more with every put. */
  version: bigint('version', { mode: 'number' }).notNull(),
  /** Place in the merged log of the command that wrote the row last, and that entry's timestamp. */
  mergedIndex: bigint('merged_index', { mode: 'number' }).notNull(),
  updatedAt: timestamp('updated_at', { withTimezone: true, mode: 'string' }).notNull(),
});

export const craft = pgSchema('craft');

/**
 * One row: how far the state is, and who may move it on. Written in the transaction of every batch.
 */
export const position = craft.table(
  'position',
  {
    id: integer('id').primaryKey(),
    mergedIndex: bigint('merged_index', { mode: 'number' }).notNull(),
    /** Running checksums over the merged log and over the outcomes, 16 hexadecimal digits each. */
    checksum: text('checksum').notNull(),
    resultsChecksum: text('results_checksum').notNull(),
    /** Timestamp of the last entry applied, microseconds since the Unix epoch. */
    timestamp: bigint('timestamp', { mode: 'number' }).notNull(),
    /**
     * For each group the index, in its log, of its last command applied: what a read barrier waits
     * for.
     */
    positions: bigint('positions', { mode: 'number' }).array().notNull(),
    /**
     * Terms and timestamps of the same commands: where a log that begins behind this state goes on.
     */
    terms: bigint('terms', { mode: 'number' }).array().notNull(),
    timestamps: bigint('timestamps', { mode: 'number' }).array().notNull(),
    /**
     * The fence: raised by every applier that opens the database; only the one that raised it last
     * may write.
     */
    epoch: bigint('epoch', { mode: 'number' }).notNull(),
    /** Whose state this is. */
    server: text('server').notNull(),
    /** Why this state counts as different from the other servers'. */
    divergence: text('divergence'),
    /**
     * The tables that are the state's, by their names in SQL: what is missing of them was not
     * dropped by a command.
     */
    tables: text('tables').array(),
    /**
     * Where tables of the state may lie, the default schema first: what role and database preset
     * adds to it, and takes nothing away.
     */
    schemas: text('schemas').array(),
    /**
     * The state machine whose state this is, and which of its versions executes what comes next.
     */
    machine: text('machine'),
    version: integer('version'),
    /** The cluster whose merged log it is. */
    cluster: text('cluster'),
  },
  (table) => [check('position_is_one_row', sql`${table.id} = 1`)],
);

/**
 * The sequences of a user's machine, as the last command left them: Postgres itself takes back no
 * number, whatever becomes of the transaction. Before a batch the sequences are set to this.
 */
export const sequences = craft.table('sequences', {
  /** Its name in SQL. */
  name: bytewiseText('name').primaryKey(),
  lastValue: bigint('last_value', { mode: 'bigint' }).notNull(),
  /** False when `last_value` itself is the next number. */
  isCalled: boolean('is_called').notNull(),
});

/**
 * Outcomes of commands that carry an id (T8), a row for those of one batch. What is in a row
 * depends on the borders of the batches, so it is not the same on every server; the outcomes are.
 * Rows older than the window count as absent and are removed in time.
 */
export const resultBatches = craft.table('result_batches', {
  /** Counts up. */
  number: bigint('number', { mode: 'number' }).primaryKey(),
  /**
   * Merged index of the first outcome, and the largest timestamp of an entry (microseconds since
   * the Unix epoch).
   */
  mergedIndex: bigint('merged_index', { mode: 'number' }).notNull(),
  timestamp: bigint('timestamp', { mode: 'number' }).notNull(),
  /**
   * JSON text, so that neither is parsed when it is stored: an array of ids, and for each of them
   * four elements (result-batches.ts).
   */
  ids: text('ids').notNull(),
  outcomes: text('outcomes').notNull(),
});

/** The same, a row for each, of ids that the engine had no room for in memory. */
export const results = craft.table(
  'results',
  {
    id: bytewiseText('id').primaryKey(),
    mergedIndex: bigint('merged_index', { mode: 'number' }).notNull(),
    group: integer('group').notNull(),
    /** Of the entry, microseconds since the Unix epoch. */
    timestamp: bigint('timestamp', { mode: 'number' }).notNull(),
    ok: boolean('ok').notNull(),
    /** JSON text of the result, or of the message when it was rejected. */
    outcome: text('outcome').notNull(),
  },
  (table) => [index('results_timestamp').on(table.timestamp)],
);
