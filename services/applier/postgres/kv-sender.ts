/** Sends the statements of the built-in machine in as few messages as is right. */

import type { Connection } from './connection.js';
import type { Rows, Statement } from './rows.js';
import { BEGIN_PLAIN } from './settings.js';
import { mayBeTimeout } from './sqlstate.js';

/** How many more times time-outs are ruled out after something that may have been one. */
const SENDS_WITHOUT_TIMEOUTS = 10_000;

/**
 * Each of these statements is right by itself and depends on nothing that is preset but time-outs.
 * They are ruled out only for a while after something that may have been one: the messages for that
 * cost more than the statements.
 */
export class KvSender {
  private sendsWithoutTimeouts = 0;

  async send(connection: Connection, ...statements: readonly Statement[]): Promise<Rows[]> {
    const isWithout = this.sendsWithoutTimeouts > 0;
    if (isWithout) this.sendsWithoutTimeouts -= 1;
    try {
      return await (isWithout ? connection.together(BEGIN_PLAIN, ...statements) : connection.all(...statements));
    } catch (error) {
      if (mayBeTimeout(error)) this.sendsWithoutTimeouts = SENDS_WITHOUT_TIMEOUTS;
      throw error;
    }
  }

  /** Sends statements that only read; again without time-outs if one may have ended them. */
  async read(connection: Connection, ...statements: readonly Statement[]): Promise<Rows[]> {
    try {
      return await this.send(connection, ...statements);
    } catch (error) {
      if (!mayBeTimeout(error)) throw error;
      return this.send(connection, ...statements);
    }
  }
}
