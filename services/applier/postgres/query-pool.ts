/**
 * A few connections for reads, each used by one query at a time; apart from the one that applies,
 * so that reads never hold up the log.
 */
import type { OnDatabaseCall } from '../../../shared/engine/port.js';
import { Connection } from './connection.js';

export class QueryPool {
  private readonly all: readonly Connection[];
  private readonly free: Connection[];
  private readonly waiting: ((connection: Connection) => void)[] = [];

  constructor(url: string, name: string, size: number) {
    this.all = Array.from({ length: size }, () => new Connection({ url, name }));
    this.free = [...this.all];
  }

  /**
   * Waits for a free connection, first come first served. `onCall` hears of what `work` sends on
   * it.
   */
  async use<T>(work: (connection: Connection) => Promise<T>, onCall?: OnDatabaseCall): Promise<T> {
    const connection = this.free.pop() ?? (await new Promise<Connection>((resolve) => this.waiting.push(resolve)));
    connection.onCall = onCall;
    try {
      return await work(connection);
    } finally {
      connection.onCall = undefined;
      const next = this.waiting.shift();
      if (next === undefined) this.free.push(connection);
      else next(connection);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map((connection) => connection.close()));
  }
}
