/**
 * One connection to Postgres, with statements in order, and with transactions that end with the
 * connection that they began on.
 *
 * The driver's own `begin` is not used. A statement sent after the connection broke in
 * mid-transaction makes it throw out of a timer. Statements that wait inside the driver would be
 * run outside the transaction after it reconnects. Here a transaction sends one message at a time,
 * and nothing more once anything has gone wrong with the connection. A client whose connection
 * failed is thrown away, not used again.
 */
import { drizzle } from 'drizzle-orm/postgres-js';
import postgres, { type Sql } from 'postgres';
import type { OnDatabaseCall } from '../../../shared/engine/port.js';
import { databaseAddress } from '../../../shared/postgres/address.js';
import { spanTimeUs } from '../../../shared/telemetry/time.js';
import type { Rows, Statement } from './rows.js';
import { CONNECTION_LOST, endsSession } from './sqlstate.js';
import { Transaction } from './transaction.js';

/** The connection failed, or was given up; what was under way may or may not have happened. */
export class ConnectionLostError extends Error {
  readonly code = CONNECTION_LOST;
  constructor(cause?: unknown) {
    super(`connection to Postgres lost${cause instanceof Error ? `: ${cause.message}` : ''}`, { cause });
    this.name = 'ConnectionLostError';
  }
}

export interface ConnectionOptions {
  readonly url: string;
  /** Shown in pg_stat_activity. */
  readonly name: string;
  /** No answer for so long (milliseconds): the connection is given up. */
  readonly stuckMsMax?: number;
}

const CONNECT_SECONDS_MAX = 10;
const STUCK_MS_MAX = 120_000;
/** Between two looks whether an answer is overdue (milliseconds). */
const WATCH_MS = 1_000;

export class Connection {
  private client: Sql | undefined;
  /** Of the answers that are waited for, since when (milliseconds of the process's clock). */
  private waitingSince: number | undefined;
  private waiting = 0;
  /** Runs while there is a client. */
  private watchdog: NodeJS.Timeout | undefined;
  private isClosed = false;
  /** Hears of everything that is sent from now on; undefined: nothing is measured. */
  onCall: OnDatabaseCall | undefined;

  constructor(private readonly options: ConnectionOptions) {}

  /**
   * Runs one statement, prepared on first use, as a transaction of its own. Statements given
   * without waiting are sent at once and run in order. @throws PostgresError as the server says,
   * ConnectionLostError.
   */
  run(text: string, parameters: readonly string[]): Promise<Rows> {
    return this.watched(text, (client) => client.unsafe(text, [...parameters], { prepare: true }).values());
  }

  /** Runs statements, sent together, each as a transaction of its own. */
  async all(...statements: readonly Statement[]): Promise<Rows[]> {
    const answers = statements.map(([text, parameters]) => this.run(text, parameters));
    // All of them are over before anything else is sent, whichever fails.
    await Promise.allSettled(answers);
    return Promise.all(answers);
  }

  /**
   * Runs statements, sent together, between `begin` (SQL text, may be several statements) and
   * commit. Each of them must be right outside of that transaction, too: when it cannot begin they
   * are run by themselves, though this rejects. @throws what the first to fail says.
   */
  async together(begin: string, ...statements: readonly Statement[]): Promise<Rows[]> {
    const beginning = this.watched(begin, (client) => client.unsafe(begin));
    const answers = statements.map(([text, parameters]) => this.run(text, parameters));
    const ending = this.watched('commit', (client) => client.unsafe('commit'));
    // All of them are over before anything else is sent, whichever fails.
    await Promise.allSettled([beginning, ...answers, ending]);
    await beginning;
    const rows = await Promise.all(answers);
    await ending;
    return rows;
  }

  /**
   * Runs `body` between `begin` (SQL text, may be several statements) and commit; rolls back when
   * it throws. Nothing else may run on this connection meanwhile.
   */
  async transaction<T>(begin: string, body: (transaction: Transaction) => Promise<T>): Promise<T> {
    const transaction = await this.begin(begin);
    try {
      const result = await body(transaction);
      await transaction.commit();
      return result;
    } catch (error) {
      await transaction.rollback().catch(() => this.giveUp());
      throw error;
    }
  }

  /**
   * For a transaction that outlives a call: the caller that begins it commits it, rolls it back, or
   * closes the connection.
   */
  async begin(text: string): Promise<Transaction> {
    const client = this.current();
    const transaction = new Transaction((text, send) => {
      // On another client it would be another connection.
      if (this.client !== client) throw new ConnectionLostError();
      return this.watched(text, send);
    });
    try {
      await transaction.execute(text);
      return transaction;
    } catch (error) {
      await transaction.rollback().catch(() => this.giveUp());
      throw error;
    }
  }

  /**
   * Gives the session up: the next statement gets a new one, with the settings that role and
   * database have by then.
   */
  renew(): void {
    this.giveUp();
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.unwatch();
    const { client } = this;
    this.client = undefined;
    await client?.end({ timeout: 1 });
  }

  private watched<T>(text: string, send: (client: Sql) => PromiseLike<T>): Promise<T> {
    const { onCall } = this;
    return onCall === undefined ? this.sent(send) : measured(text, () => this.sent(send), onCall);
  }

  private async sent<T>(send: (client: Sql) => PromiseLike<T>): Promise<T> {
    if (this.isClosed) throw new ConnectionLostError();
    const client = this.currentOrLost();
    this.waiting += 1;
    this.waitingSince ??= performance.now();
    try {
      const answer = await send(client);
      this.waitingSince = performance.now();
      return answer;
    } catch (error) {
      if (error instanceof postgres.PostgresError && !endsSession(error)) throw error;
      if (this.client === client) this.giveUp();
      throw new ConnectionLostError(error);
    } finally {
      this.waiting -= 1;
      if (this.waiting === 0) this.waitingSince = undefined;
    }
  }

  /** A file that cannot be read now may be there later. */
  private currentOrLost(): Sql {
    try {
      return this.current();
    } catch (error) {
      throw new ConnectionLostError(error);
    }
  }

  private current(): Sql {
    if (this.client !== undefined) return this.client;
    const { url, ssl } = databaseAddress(this.options.url);
    const client = postgres(url, {
      ...(ssl !== undefined && { ssl }),
      max: 1,
      idle_timeout: 0,
      max_lifetime: null,
      connect_timeout: CONNECT_SECONDS_MAX,
      keep_alive: 10,
      // Retrying is up to the caller, on a new client.
      backoff: () => 0,
      onnotice: () => undefined,
      // It would connect again for the next statement, which may belong to a transaction that went
      // with the old connection.
      onclose: () => {
        if (this.client === client) this.giveUp();
      },
      // A query of the driver's own at every connect, which nobody could catch if the connection
      // broke during it; arrays go as text both ways.
      fetch_types: false,
      connection: { application_name: this.options.name },
    });
    // Tells the client to leave dates and JSON as text: Drizzle converts them itself, by column.
    drizzle(client);
    this.client = client;
    this.watchdog ??= setInterval(() => this.watch(), WATCH_MS).unref();
    return client;
  }

  private watch(): void {
    const { waitingSince, options } = this;
    if (waitingSince === undefined) return;
    if (performance.now() - waitingSince > (options.stuckMsMax ?? STUCK_MS_MAX)) this.giveUp();
  }

  /** Whatever is under way is rejected; the next statement connects anew. */
  private giveUp(): void {
    this.unwatch();
    const { client } = this;
    this.client = undefined;
    client?.end({ timeout: 0 }).catch(() => undefined);
  }

  private unwatch(): void {
    clearInterval(this.watchdog);
    this.watchdog = undefined;
  }
}

/** The first statement of a session includes what it takes to connect. */
async function measured<T>(text: string, send: () => Promise<T>, onCall: OnDatabaseCall): Promise<T> {
  const startUs = spanTimeUs();
  try {
    const result = await send();
    onCall({ text, startUs, endUs: spanTimeUs() });
    return result;
  } catch (error) {
    onCall({ text, startUs, endUs: spanTimeUs(), error: codeOf(error) });
    throw error;
  }
}

/** SQLSTATE, or what else says which failure it is. */
function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : 'UNKNOWN';
}
