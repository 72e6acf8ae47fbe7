/**
 * Statements of one transaction: one at a time, in the order given, and none after something went
 * wrong that is not the statement's own doing. So no statement can end up outside the transaction,
 * and no handler can take a fault of the server for an answer.
 */
import type { Sql } from 'postgres';
import { CopyIn, CopyOut } from './copy.js';
import type { Rows } from './rows.js';
import { isAborted, isEnvironment, isMissingTable } from './sqlstate.js';
import { checkStatement, mayChangeTables } from './statement.js';

/**
 * Sends something on the transaction's connection and waits for the answer. `text`: what it is, for
 * tracing.
 */
export type Send = <T>(text: string, send: (client: Sql) => PromiseLike<T>) => Promise<T>;

/** What goes with the end of a savepoint, in the same message: nothing when it is empty. */
export interface SavepointEnd {
  /** A query that is sent when all is well, still within the savepoint; `take` hears its rows. */
  readonly reading: string;
  take(rows: readonly Readonly<Record<string, unknown>>[]): void;
  /** What is sent when it was undone. */
  undoing(): string;
}

/**
 * Something used the transaction after it had ended, as a handler that has not awaited all it sent.
 */
class TransactionOverError extends Error {
  readonly code = 'TRANSACTION_OVER';
  constructor() {
    super('the transaction is over');
    this.name = 'TransactionOverError';
  }
}

export class Transaction {
  private tail: Promise<unknown> = Promise.resolve();
  /** The first fault of the environment: the transaction can only be rolled back. */
  private failure: unknown;
  /** The first other error in the innermost savepoint: it can only be undone. */
  private refusal: unknown;
  private isOver = false;
  private savepoints = 0;
  private changesTables = false;
  private missesTable = false;

  constructor(private readonly send: Send) {}

  /** Statements without parameters; several, separated by semicolons, in one round trip. */
  execute(text: string): Promise<unknown> {
    return this.enqueue(text, (client) => client.unsafe(text));
  }

  /** One statement, prepared on first use. */
  run(text: string, parameters: readonly string[]): Promise<Rows> {
    return this.enqueue(text, (client) => client.unsafe(text, [...parameters], { prepare: true }).values());
  }

  /** Whether a handler's statement may have created or dropped a table. */
  get mayHaveChangedTables(): boolean {
    return this.changesTables;
  }

  /** Whether a statement did not find its table, though no handler has dropped one. */
  get missedTable(): boolean {
    return this.missesTable && !this.changesTables;
  }

  /** One statement as Drizzle gives it. */
  query(text: string, parameters: unknown[], options: object, asArrays: boolean): Promise<unknown> {
    this.changesTables ||= mayChangeTables(text);
    const send = (client: Sql) => {
      // Never the simple protocol: it would take several statements at once, `commit` among them.
      const query = client.unsafe(text, parameters as string[], { ...options, simple: false } as object);
      return asArrays ? query.values() : query;
    };
    // Before it is sent: what the driver throws while it sends would count as a broken connection.
    return this.enqueue(text, send, () => checkStatement(text, parameters));
  }

  /** `copy … to stdout`, to its end; the pieces are read with `step`. Nothing else until then. */
  copyOut(text: string): Promise<CopyOut> {
    return this.enqueue(text, (client) => CopyOut.begin(client, text));
  }

  /**
   * `copy … from stdin`, until its `end` or `abort`; each of its steps goes through `step`. Nothing
   * else until then.
   */
  copyIn(text: string): Promise<CopyIn> {
    return this.enqueue(text, (client) => CopyIn.begin(client, text));
  }

  /** A step of a copy: its failure is the transaction's. */
  step<T>(take: () => Promise<T>): Promise<T> {
    return this.enqueue('copy', take);
  }

  /**
   * Runs `body` in a savepoint: when it throws, or any statement in it failed, its effects are
   * undone and the error is thrown.
   */
  async savepoint<T>(body: () => Promise<T>, end?: SavepointEnd): Promise<T> {
    this.savepoints += 1;
    const name = `craft_${this.savepoints}`;
    const outer = this.refusal;
    await this.execute(`savepoint ${name}`);
    try {
      const result = await body();
      // What the body did not wait for counts too.
      await this.tail;
      if (this.refusal !== outer) throw this.refusal;
      const reading = end?.reading ?? '';
      if (reading === '') await this.execute(`release savepoint ${name}`);
      else {
        // One answer: the driver begins another one only with another statement that gives rows.
        const rows = await this.execute(`${reading}; release savepoint ${name}`);
        end?.take(rows as readonly Readonly<Record<string, unknown>>[]);
      }
      return result;
    } catch (error) {
      await this.tail;
      if (this.failure !== undefined) throw this.failure;
      const refusal = this.refusal;
      this.refusal = outer;
      const undoing = end?.undoing() ?? '';
      await this.execute(
        `rollback to savepoint ${name}; release savepoint ${name}${undoing === '' ? '' : `; ${undoing}`}`,
      );
      throw isAborted(error) ? refusal : error;
    }
  }

  async commit(): Promise<void> {
    await this.tail;
    const error = this.failure ?? this.refusal;
    if (error !== undefined) throw error;
    await this.execute('commit');
    this.isOver = true;
  }

  /** Rejects when the connection is gone, and the transaction with it. */
  async rollback(): Promise<void> {
    await this.tail;
    if (this.isOver) return;
    this.isOver = true;
    await this.send('rollback', (client) => client.unsafe('rollback'));
  }

  private enqueue<T>(
    text: string,
    send: (client: Sql) => PromiseLike<T>,
    check: () => void = () => undefined,
  ): Promise<T> {
    const answer = this.tail.then(() => {
      if (this.failure !== undefined) throw this.failure;
      if (this.isOver) throw new TransactionOverError();
      check();
      return this.send(text, send);
    });
    this.tail = answer.catch((error: unknown) => {
      this.missesTable ||= isMissingTable(error);
      if (isEnvironment(error)) this.failure ??= error;
      else if (!isAborted(error)) this.refusal ??= error;
    });
    return answer;
  }
}
