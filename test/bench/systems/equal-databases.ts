/** Whether three databases hold the same, and all that was acknowledged. */
import postgres from 'postgres';
import { eventually } from '../../harness/index.js';

export interface DatabaseState {
  /** Commands that it has applied. */
  readonly commands: number;
  readonly rows: number;
  /** Over all rows. */
  readonly checksum: string;
}

const WAIT_MS_MAX = 60_000;

/**
 * Resolves with what all of them hold once they are equal and have applied at least `commands`;
 * rejects after a minute. `query` selects one DatabaseState.
 */
export async function untilEqual(urls: readonly string[], commands: number, query: string): Promise<DatabaseState> {
  const connections = urls.map((url) => postgres(url, { max: 1, onnotice: () => undefined }));
  let states: DatabaseState[] = [];
  const areEqual = async (): Promise<DatabaseState | undefined> => {
    const rows = await Promise.all(connections.map((sql) => sql.unsafe<DatabaseState[]>(query)));
    states = rows.flat();
    const [first] = states;
    const isOne = new Set(states.map((state) => JSON.stringify(state))).size === 1;
    return first !== undefined && isOne && first.commands >= commands ? first : undefined;
  };
  try {
    return await eventually('the databases are equal', areEqual, { timeoutMs: WAIT_MS_MAX, everyMs: 200 });
  } catch (error) {
    throw new Error(`at ${commands} acknowledged commands the databases hold ${JSON.stringify(states)}`, {
      cause: error,
    });
  } finally {
    await Promise.all(connections.map((sql) => sql.end()));
  }
}
